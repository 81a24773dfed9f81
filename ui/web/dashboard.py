"""Builds the Gradio page: a tab for each of our elements, which ui/web/static/ defines. No logic.

Gradio provides the page, its tabs and its theme. The elements use the API only, like any other
client, so no Python function can be called through Gradio.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # sends no request to other machines

import gradio as gr
from fastapi import FastAPI

TABS = (
    ("Live", "aw-live"),
    ("Timeline", "aw-timeline"),
    ("Events", "aw-events"),
    ("Tuning", "aw-tuning"),
    ("Try it", "aw-try"),
    ("Health", "aw-health"),
    ("Configuration", "aw-configuration"),
)
_FOLDERS = [element.removeprefix("aw-") for _, element in TABS]
_HEAD = (
    '<link rel="stylesheet" href="ui/base.css">'
    + "".join(f'<link rel="stylesheet" href="ui/{name}/{name}.css">' for name in _FOLDERS)
    + '<script type="module" src="ui/app.js"></script>'
)


def mount(app: FastAPI) -> FastAPI:
    """Mount the page at the root of `app`."""
    return gr.mount_gradio_app(
        app,
        _page(),
        path="/",
        head=_HEAD,
        # System fonts: nothing is downloaded.
        theme=gr.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
    )


def _page() -> gr.Blocks:
    with gr.Blocks(title="Actionwatch", analytics_enabled=False, fill_width=True) as page:
        _add_element("aw-heading")
        with gr.Tabs():
            for label, element in TABS:
                with gr.Tab(label):
                    _add_element(element)
    return page


def _add_element(element: str) -> None:
    # Not gr.HTML: its templates need `eval`, which the page does not allow.
    gr.Markdown(f"<div><{element}></{element}></div>", sanitize_html=False, elem_classes="aw-part")
