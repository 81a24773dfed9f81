"""The web server: the live route and the Gradio page, in a thread of its own.

The thread owns the event loop. Gradio is imported there, so cameras don't wait for it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading

import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from stream.dashboard_config import DashboardConfig
from stream.event_log import EventLog
from stream.pipeline import Pipeline
from ui.live import serve_live
from ui.status import routes

_log = logging.getLogger(__name__)
_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]


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
        self._thread.join(2.0)
        if self._thread.is_alive():
            _log.warning("the dashboard did not stop in time")

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:  # the watch goes on without its page
            _log.exception("the dashboard died")

    def _serve(self) -> None:
        from ui.dashboard import mount

        async def live(websocket: WebSocket) -> None:
            await serve_live(websocket, self._pipeline)

        host, port = self._listener.getsockname()[:2]
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.router.routes.append(WebSocketRoute("/live/{camera}", live))
        app.router.routes.extend(routes(self._pipeline))
        if ipaddress.ip_address(host).is_loopback:
            # A page of another site may give its own name to this address; here it ends.
            app.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK)
        else:
            _log.warning("everybody who reaches %s can watch: there is no password yet", host)
        with EventLog.open(self._pipeline.config.data) as log:
            app = mount(app, self._pipeline, log)
            self._uvicorn = uvicorn.Server(
                uvicorn.Config(
                    app,
                    log_level="warning",
                    ws="websockets-sansio",
                    ws_per_message_deflate=False,  # JPEGs don't compress; it takes time for nothing
                    timeout_graceful_shutdown=1,  # an open page must not hold up the exit
                )
            )
            if not self._stopping.is_set():
                _log.info("dashboard: http://%s:%s", host, port)
                self._uvicorn.run(sockets=[self._listener])
