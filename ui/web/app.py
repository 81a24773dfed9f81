"""The web application: Guard around the API, media, live video and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from stream.pipeline import Pipeline
from stream.replay.policy_preview import PolicyPreview
from stream.sinks.event_log.event_log import EventLog
from ui.config_reload import ConfigReloader
from ui.web.api import (
    cameras_api,
    configuration_api,
    event_feed,
    event_files,
    events_api,
    health_api,
    live,
    monitoring,
    timeline_api,
    try_it,
    tuning_api,
)
from ui.web.api.errors import add_error_handlers
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
    config, status = pipeline.config, RunStatus(pipeline)
    feed = event_feed.EventFeed(pipeline.subscribe, pipeline.over)
    reload.attach_access(access, host)

    def streams() -> list[str]:
        return [name for camera in pipeline.cameras.values() for name in camera.stream_names]

    def labels() -> Sequence[str]:
        return pipeline.spec.labels if pipeline.spec is not None else ()

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
    add_error_handlers(app)
    for routes in (
        login_routes(access),
        monitoring.routes(status),
        live.routes(pipeline),
        event_files.media_routes(log, config.data),
        event_feed.routes(feed),
    ):
        app.router.routes.extend(routes)
    for router in (
        cameras_api.router(pipeline, access),
        event_files.export_router(log),
        events_api.router(log, config.data, lambda: pipeline.cameras, labels, publish=feed.publish),
        timeline_api.router(log, streams),
        try_it.router(pipeline),
        tuning_api.router(pipeline, PolicyPreview(config.data, log), reload),
        health_api.router(status),
        configuration_api.router(reload),
    ):
        app.include_router(router)
    app.mount("/ui", StaticFiles(directory=_STATIC))
    mount(app)
    return Guard(app, access, host=host, port=port, https=access.https)
