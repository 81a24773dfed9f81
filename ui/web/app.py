"""The web application of a run: the guard round the API, the media, the live video and the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from stream.pipeline import Pipeline
from stream.replay.policy_preview import Trials
from stream.sinks.event_log.event_log import EventLog
from ui.config_reload import Reload
from ui.web.api import (
    cameras_api,
    configuration_api,
    health_api,
    invalid,
    live,
    monitoring,
    try_it,
    tuning_api,
)
from ui.web.api.event_parts import add_events
from ui.web.api.run_status import Condition
from ui.web.dashboard import mount
from ui.web.security.access import Access
from ui.web.security.guard import Guard
from ui.web.security.login import login_routes

_STATIC = Path(__file__).parent / "static"


def build(
    pipeline: Pipeline, log: EventLog, access: Access, reload: Reload, *, host: str, port: int
) -> ASGIApp:
    """Everything that a browser or another program may ask for. `log` reads the run's events."""
    dashboard, condition = pipeline.config.dashboard, Condition(pipeline)
    reload.include(access, host)
    app = FastAPI(
        title="Actionwatch",
        docs_url=None,  # their scripts come from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses={  # of the guard
            401: {"description": "log in, or send a token"},
            403: {"description": "only operators may, and no pages of other sites"},
            413: {"description": "too much at once"},
        },
    )
    app.add_exception_handler(RequestValidationError, invalid.refuse)
    app.router.routes.extend(login_routes(access))
    app.router.routes.extend(monitoring.routes(condition))
    app.router.routes.extend(live.routes(pipeline))
    app.include_router(cameras_api.router(pipeline, access))
    add_events(app, pipeline, log)
    app.include_router(try_it.router(pipeline))
    app.include_router(tuning_api.router(pipeline, Trials(pipeline.config.data, log), reload))
    app.include_router(health_api.router(condition))
    app.include_router(configuration_api.router(reload))
    app.mount("/ui", StaticFiles(directory=_STATIC))
    mount(app)
    return Guard(app, access, host=host, port=port, https=dashboard.certificate is not None)
