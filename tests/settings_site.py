"""A real pipeline with the API for settings, without a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from stream.config.dashboard import Role
from stream.config.load import load_config
from stream.messages import ClipSpec
from stream.pipeline import Pipeline
from stream.replay.policy_preview import PolicyPreview
from stream.sinks.event_log.event_log import EventLog
from tests.web import serving
from ui.config_reload import ConfigReloader
from ui.web.api import configuration_api, health_api, monitoring, tuning_api
from ui.web.api.errors import add_error_handlers
from ui.web.api.run_status import RunStatus
from ui.web.security.access import Access, Identity

SPEC = ClipSpec("small", ("still", "jump", "run"), frozenset({"still"}), 4, 0.4, 8, 8)
TEXT = """\
# My cameras.
cameras:
  door: {source: "demo:1"}      # the front one
worker: {local: false, endpoint: "ipc://SOCKET"}
events:
  threshold: 0.6                # not too low
data: DATA
"""


class FakeGuard:
    """Replaces Guard; the header `role` selects the role of anna."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role: Role = "viewer" if (b"role", b"viewer") in scope.get("headers", []) else "operator"
        await self._app({**scope, "state": {"identity": Identity("anna", role)}}, receive, send)


@dataclass(frozen=True)
class Settings:
    """The client, and the objects behind the API."""

    client: httpx.Client
    pipeline: Pipeline
    access: Access
    file: Path


@contextmanager
def serve_settings(folder: Path, *, with_file: bool = True) -> Iterator[Settings]:
    """Serve the configuration TEXT; without a file, as if its keys were flags."""
    file = folder / "config.yaml"
    text = TEXT.replace("SOCKET", str(folder / "s")).replace("DATA", str(folder / "data"))
    file.write_text(text)
    file.chmod(0o640)
    flags = {"dashboard": {"port": 7861}}
    config = load_config(file, flags)
    with Pipeline(config) as pipeline, EventLog.open(config.data) as log:
        pipeline.spec = SPEC  # as announced by a worker
        access = Access(config.dashboard, b"")
        reload = ConfigReloader(pipeline, file if with_file else None, flags)
        reload.attach_access(access, "127.0.0.1")
        status = RunStatus(pipeline)
        app = FastAPI()
        add_error_handlers(app)
        app.include_router(tuning_api.router(pipeline, PolicyPreview(config.data, log), reload))
        app.include_router(configuration_api.router(reload))
        app.include_router(health_api.router(status))
        app.router.routes.extend(monitoring.routes(status))
        with (
            serving(FakeGuard(app)) as address,
            httpx.Client(base_url=address, timeout=180) as client,
        ):
            yield Settings(client, pipeline, access, file)
