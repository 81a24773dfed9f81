"""A real watch with its settings' API, served as the dashboard serves it, but without a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from stream.config.dashboard import Role
from stream.config.load import load_config
from stream.messages import ClipSpec
from stream.pipeline import Pipeline
from stream.replay.policy_preview import Trials
from stream.sinks.event_log.event_log import EventLog
from tests.web import serving
from ui.config_reload import Reload
from ui.web.api import configuration_api, health_api, invalid, monitoring, tuning_api
from ui.web.api.run_status import Condition
from ui.web.security.access import Access, Identity

SPEC = ClipSpec("small", ("still", "jump", "run"), frozenset({"still"}), 4, 0.4, 8, 8)
TEXT = """\
# My watch.
cameras:
  door: {source: "demo:1"}      # the front one
worker: {local: false, endpoint: "ipc://SOCKET"}
events:
  enter: 0.6                    # not too low
data: DATA
"""


class Somebody:
    """Stands where the guard stands; the header `role` says who comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role: Role = "viewer" if (b"role", b"viewer") in scope.get("headers", []) else "operator"
        await self._app({**scope, "state": {"who": Identity("anna", role)}}, receive, send)


@dataclass(frozen=True)
class Settings:
    """What is served, and what is behind it."""

    client: httpx.Client
    pipeline: Pipeline
    access: Access
    file: Path


@contextmanager
def serve_settings(folder: Path, *, with_file: bool = True) -> Iterator[Settings]:
    """The watch of TEXT; with `with_file` false, as if its keys had been flags."""
    file = folder / "watch.yaml"
    text = TEXT.replace("SOCKET", str(folder / "s")).replace("DATA", str(folder / "data"))
    file.write_text(text)
    file.chmod(0o640)
    flags = {"dashboard": {"port": 7861}}
    config = load_config(file, flags)
    with Pipeline(config) as pipeline, EventLog.open(config.data) as log:
        pipeline.spec = SPEC  # as a worker says it
        access = Access(config.dashboard, b"")
        reload = Reload(pipeline, file if with_file else None, flags)
        reload.include(access, "127.0.0.1")
        condition = Condition(pipeline)
        app = FastAPI()
        app.add_exception_handler(RequestValidationError, invalid.refuse)
        app.include_router(tuning_api.router(pipeline, Trials(config.data, log), reload))
        app.include_router(configuration_api.router(reload))
        app.include_router(health_api.router(condition))
        app.router.routes.extend(monitoring.routes(condition))
        with (
            serving(Somebody(app)) as address,
            httpx.Client(base_url=address, timeout=30) as client,
        ):
            yield Settings(client, pipeline, access, file)
