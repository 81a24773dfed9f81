"""Builds the Gradio page: a tab for each of our elements, which ui/web/static/ defines. No logic.

Gradio gives the page, its tabs and its theme. What happens in them goes through the API alone, as
for any other program; so no Python function can be called through Gradio.
"""

from __future__ import annotations

import os
from html import escape

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # no request may leave the machine

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
_STYLES = (
    "base",
    *(f"{tab}/{tab}" for tab in ("live", "timeline", "events", "tuning", "try", "health")),
    "configuration/configuration",
)
_HEAD = (
    "".join(f'<link rel="stylesheet" href="ui/{escape(name)}.css">' for name in _STYLES)
    + '<script type="module" src="ui/app.js"></script>'
)


def mount(app: FastAPI) -> FastAPI:
    """`app` with the page at its root."""
    return gr.mount_gradio_app(
        app,
        _page(),
        path="/",
        head=_HEAD,
        # The system's own fonts: nothing is fetched for them.
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
        _put("aw-heading")
        with gr.Tabs():
            for label, element in TABS:
                with gr.Tab(label):
                    _put(element)
    return page


def _put(element: str) -> None:
    # Not gr.HTML: that runs templates, for which the page would have to allow `eval`.
    gr.Markdown(f"<div><{element}></{element}></div>", sanitize_html=False, elem_classes="aw-part")
