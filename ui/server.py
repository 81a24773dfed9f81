"""The web server: the live route and the Gradio page, in a thread of its own.

The thread owns the event loop. Gradio is imported there, so cameras don't wait for it.
"""

from __future__ import annotations

import logging
import socket
import threading

import uvicorn
from fastapi import FastAPI
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from stream.config import DashboardConfig
from stream.pipeline import Pipeline
from ui.live import serve_live

_log = logging.getLogger(__name__)


class ServerError(Exception):
    """An address that can't be listened on. The message is one line for a person."""


def reserve(config: DashboardConfig) -> socket.socket:
    """Take the address before anything else starts. Raises ServerError where it is taken."""
    try:
        return socket.create_server((config.host, config.port))
    except OSError as error:
        raise ServerError(
            f"dashboard address {config.host}:{config.port} can't be used: {error.strerror}; "
            "give another one with --host and --port, or go without by --no-ui"
        ) from error


class Server:
    """Serves the dashboard of a pipeline on a listening socket between enter and exit."""

    def __init__(self, pipeline: Pipeline, listener: socket.socket) -> None:
        self._pipeline = pipeline
        self._listener = listener
        self._uvicorn: uvicorn.Server | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        self._thread.join(2.5)
        if self._thread.is_alive():
            _log.warning("the dashboard did not stop in time")

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:  # the watch goes on without its page
            _log.exception("the dashboard died")

    def _serve(self) -> None:
        from gradio import mount_gradio_app

        from ui.dashboard import CSS, build

        async def live(websocket: WebSocket) -> None:
            await serve_live(websocket, self._pipeline)

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.router.routes.append(WebSocketRoute("/live/{camera}", live))
        app = mount_gradio_app(
            app,
            build(self._pipeline),
            path="/",
            css=CSS,
            run_history=False,
            footer_links=[],
            ssr_mode=False,
        )
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # JPEGs don't compress; it costs a third of the time
                timeout_graceful_shutdown=1,  # an open page must not hold up the exit
            )
        )
        host, port = self._listener.getsockname()[:2]
        if not self._stopping.is_set():
            _log.info("dashboard: http://%s:%s", host, port)
            self._uvicorn.run(sockets=[self._listener])
