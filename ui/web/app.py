"""The web application: Guard around the API, media, live video and the page."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from stream.pipeline import Pipeline
from stream.replay.policy_preview import PolicyPreview
from stream.sinks.event_log.event_log import EventLog
from ui.config_reload import ConfigReloader
from ui.web.api import (
    cameras_api,
    configuration_api,
    health_api,
    live,
    monitoring,
    try_it,
    tuning_api,
)
from ui.web.api.event_parts import add_events
from ui.web.api.run_status import RunStatus
from ui.web.dashboard import mount
from ui.web.security.access import Access
from ui.web.security.guard import Guard
from ui.web.security.login import login_routes

_STATIC = Path(__file__).parent / "static"


def build(
    pipeline: Pipeline,
    log: EventLog,
    access: Access,
    reload: ConfigReloader,
    *,
    host: str,
    port: int,
) -> ASGIApp:
    """All routes, guarded. `log` reads the run's events."""
    dashboard, status = pipeline.config.dashboard, RunStatus(pipeline)
    reload.attach_access(access, host)
    app = FastAPI(
        title="Actionwatch",
        docs_url=None,  # it loads scripts from another site
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses={  # of Guard
            401: {"description": "log in, or send a token"},
            403: {"description": "operators only; no cross-site requests"},
            413: {"description": "the request is too large"},
        },
    )
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.router.routes.extend(login_routes(access))
    app.router.routes.extend(monitoring.routes(status))
    app.router.routes.extend(live.routes(pipeline))
    app.include_router(cameras_api.router(pipeline, access))
    add_events(app, pipeline, log)
    app.include_router(try_it.router(pipeline))
    app.include_router(
        tuning_api.router(pipeline, PolicyPreview(pipeline.config.data, log), reload)
    )
    app.include_router(health_api.router(status))
    app.include_router(configuration_api.router(reload))
    app.mount("/ui", StaticFiles(directory=_STATIC))
    mount(app)
    return Guard(app, access, host=host, port=port, https=dashboard.certificate is not None)


async def invalid_request(_: Request, error: Exception) -> Response:
    """The problem without the input: FastAPI's own handler echoes it, and fails on surrogates."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
