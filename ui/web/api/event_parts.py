"""Adds the routes of events to the web application of a run."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from stream.pipeline import Pipeline
from stream.sinks.event_log.event_log import EventLog
from ui.web.api import event_export, event_feed, events_api, media, timeline_api


def add_events(app: FastAPI, pipeline: Pipeline, log: EventLog) -> None:
    """Add the API, the WebSocket and the media files of a run's events."""
    data = pipeline.config.data
    feed = event_feed.EventFeed(pipeline.subscribe, pipeline.over)

    def streams() -> list[str]:
        return [name for camera in pipeline.cameras.values() for name in camera.stream_names]

    def labels() -> Sequence[str]:
        return pipeline.spec.labels if pipeline.spec is not None else ()

    app.router.routes.extend(media.routes(log, data))
    app.router.routes.extend(event_feed.routes(feed))
    app.include_router(event_export.router(log))
    app.include_router(
        events_api.router(log, data, lambda: pipeline.cameras, labels, publish=feed.publish)
    )
    app.include_router(timeline_api.router(log, streams))
