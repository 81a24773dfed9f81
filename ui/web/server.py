"""The web server, in a thread of its own, which owns the event loop."""

from __future__ import annotations

import logging
import socket
import ssl
import threading

import uvicorn

from stream.config.dashboard import DashboardConfig
from stream.pipeline import Pipeline
from stream.sinks.event_log.event_log import EventLog
from ui.config_reload import Reload
from ui.web.security.access import Access, load_secret
from ui.web.security.addresses import is_loopback

_log = logging.getLogger(__name__)
_LARGEST_MESSAGE = 2**20  # bytes that a WebSocket may send us at once: a picture, at most


class ServerError(Exception):
    """An address that can't be listened on. The message is one line for a person."""


def reserve(config: DashboardConfig) -> socket.socket:
    """Take the address before anything else starts.

    Raises ServerError where it is taken, where whoever reaches it could come in, and where the
    certificate is of no use.
    """
    if problem := Access(config, b"").problem(config.host) or _problem_of_certificate(config):
        raise ServerError(problem)
    if config.users and config.certificate is None and not is_loopback(config.host):
        _log.warning(
            "the dashboard has no certificate: passwords cross the network in the clear; "
            "see docs/access.md"
        )
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family)
        # What it accepts has this too. asyncio sets it only where the protocol is named; without
        # it, what is sent in two parts waits 40 ms for the other side.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ServerError(
            f"dashboard address {config.host}:{config.port} can't be used: {error.strerror}; "
            "give another one with --host and --port, or go without by --no-ui"
        ) from error


def _problem_of_certificate(config: DashboardConfig) -> str:
    if config.certificate is None or config.key is None:
        return ""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            config.certificate, config.key, password=lambda: ""
        )
    except OSError as error:  # also of what is in them
        reason = error.strerror or str(error)
        return (
            f"dashboard.certificate {config.certificate} with dashboard.key {config.key} can't be "
            f"used: {reason}; give PEM files that belong together, the key without a password"
        )
    return ""


class Server:
    """Serves the dashboard of a pipeline on a listening socket between enter and exit."""

    def __init__(self, pipeline: Pipeline, listener: socket.socket, reload: Reload) -> None:
        self._pipeline = pipeline
        self._reload = reload
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
        from ui.web.app import build  # Gradio takes seconds; cameras don't wait for it

        config = self._pipeline.config
        host, port = self._listener.getsockname()[:2]
        access = Access(config.dashboard, load_secret(config.data))
        with EventLog.open(config.data) as log:
            tls = config.dashboard
            self._uvicorn = uvicorn.Server(
                uvicorn.Config(
                    build(self._pipeline, log, access, self._reload, host=host, port=port),
                    log_level="warning",
                    ws="websockets-sansio",
                    ws_per_message_deflate=False,  # JPEGs don't compress; it takes time for nothing
                    ws_max_size=_LARGEST_MESSAGE,
                    ssl_certfile=tls.certificate,
                    ssl_keyfile=tls.key,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=1,  # an open page must not hold up the exit
                )
            )
            if not self._stopping.is_set():
                scheme = "https" if tls.certificate else "http"
                place = f"[{host}]" if ":" in host else host
                _log.info("dashboard: %s://%s:%s", scheme, place, port)
                self._uvicorn.run(sockets=[self._listener])
