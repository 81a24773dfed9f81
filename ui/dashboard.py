"""Builds the Gradio page: the cameras, and the table of the latest events. No logic."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # no request may leave the machine

import gradio as gr
from fastapi import FastAPI

from stream.event_log import EventLog
from stream.pipeline import Pipeline
from ui.views import EVENT_HEADERS, event_rows

_HERE = Path(__file__).parent
_CSS = (_HERE / "dashboard.css").read_text(encoding="utf-8")
_LATEST = 20
_CAMERA = """<div class="aw-camera" data-camera="${camera}">
<div class="aw-name">${camera}</div>
<canvas width="640" height="360"></canvas>
<div class="aw-labels" role="status" aria-live="off"></div>
<div class="aw-status">connecting</div>
</div>"""


def mount(app: FastAPI, pipeline: Pipeline, log: EventLog) -> FastAPI:
    """`app` with the page of a running pipeline at its root; `log` reads the pipeline's events."""
    return gr.mount_gradio_app(
        app,
        _page(pipeline, log),
        path="/",
        css=_CSS,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
    )


def _page(pipeline: Pipeline, log: EventLog) -> gr.Blocks:
    script = (_HERE / "live.js").read_text(encoding="utf-8")

    def latest() -> list[list[str]]:
        return event_rows(log.rows(latest=_LATEST))

    with gr.Blocks(title="Actionwatch", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(f"# Actionwatch\nmodel **{pipeline.config.model}**")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320), gr.Row():
                for name in pipeline.cameras:
                    gr.HTML(html_template=_CAMERA, js_on_load=script, camera=name, min_width=320)
            with gr.Column(scale=1, min_width=320):
                table = gr.Dataframe(
                    latest,
                    headers=list(EVENT_HEADERS),
                    label="Latest events",
                    interactive=False,
                    column_widths=["140px", "85px", "205px", "100px", "65px"],
                )
        gr.Timer(1.0).tick(latest, outputs=table, show_progress="hidden", queue=False)
    return page
