"""The web server. Its thread owns the event loop."""

from __future__ import annotations

import logging
import socket
import ssl

import uvicorn

from stream.config.dashboard import DashboardConfig
from stream.pipeline import Pipeline
from stream.runtime.errors import UserError, reason_of
from stream.runtime.service import ServiceThread
from stream.sinks.event_log.event_log import EventLog
from ui.config_reload import ConfigReloader
from ui.web.security.access import Access, exposure_problem, load_secret
from ui.web.security.addresses import is_loopback

_log = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 2**20  # of a WebSocket: one JPEG


class ServerError(UserError):
    """The server can't listen on its address. The message is one line for the user."""


def open_listener(config: DashboardConfig) -> socket.socket:
    """Bind the dashboard's address before anything else starts.

    Raises ServerError if the address is in use, if serving it is insecure, or if the certificate
    can't be used.
    """
    if problem := exposure_problem(config, config.host) or _certificate_problem(config):
        raise ServerError(problem)
    if config.users and config.certificate is None and not is_loopback(config.host):
        _log.warning(
            "the dashboard has no certificate: passwords are sent unencrypted; see docs/access.md"
        )
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family)
        # Accepted connections inherit it. asyncio sets it only if the protocol is named; without
        # it, a response in two parts waits 40 ms for an acknowledgment.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ServerError(
            f"dashboard address {config.host}:{config.port} can't be used: {reason_of(error)}; "
            "give another one with --host and --port, or run without the dashboard (--no-ui)"
        ) from error


def _certificate_problem(config: DashboardConfig) -> str:
    if config.certificate is None or config.key is None:
        return ""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            config.certificate, config.key, password=lambda: ""
        )
    except OSError as error:  # also if the content is invalid
        reason = reason_of(error)
        return (
            f"dashboard.certificate {config.certificate} with dashboard.key {config.key} can't be "
            f"used: {reason}; give PEM files that match, the key without a password"
        )
    return ""


class Server:
    """Serves the dashboard of a pipeline on a listening socket, as a context manager.

    The run continues if it crashes.
    """

    def __init__(self, pipeline: Pipeline, listener: socket.socket, reload: ConfigReloader) -> None:
        self._pipeline = pipeline
        self._reload = reload
        self._listener = listener
        self._uvicorn: uvicorn.Server | None = None
        self._thread = ServiceThread("dashboard", self._serve, metrics=pipeline.metrics)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.request_stop()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if not self._thread.join(2.0):
            _log.warning("the dashboard did not stop in time")

    def _serve(self) -> None:
        from ui.web.app import build  # importing Gradio needs seconds; cameras don't wait

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
                    ws_per_message_deflate=False,  # JPEGs don't compress
                    ws_max_size=_MAX_MESSAGE_BYTES,
                    ssl_certfile=tls.certificate,
                    ssl_keyfile=tls.key,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=1,  # an open page must not delay the exit
                )
            )
            if not self._thread.stopping.is_set():
                scheme = "https" if tls.certificate else "http"
                address = f"[{host}]" if ":" in host else host
                _log.info("dashboard: %s://%s:%s", scheme, address, port)
                self._uvicorn.run(sockets=[self._listener])
