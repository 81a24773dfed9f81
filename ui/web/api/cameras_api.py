"""The API about what is watched now: cameras, predictions, health, and who asks."""

from __future__ import annotations

import importlib.metadata
import time
from datetime import datetime, timedelta, timezone
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel

from stream.capture.camera import Camera
from stream.events.processor import View
from stream.pipeline import Pipeline
from stream.sinks.event_log.rows import iso
from ui.web.security.access import Access

Top = Annotated[int, Query(ge=1, le=1000, description="labels of each")]
_NO_PICTURE = "no camera of that name has a picture yet"


class Me(BaseModel):
    """Who asks, and of which program."""

    name: str
    role: str
    may_change: bool
    login: bool  # whether there is something to log out of
    model: str
    version: str


class ZonePicture(BaseModel):
    """A zone as it is drawn: corners from 0 to 1, from the upper left."""

    name: str
    points: list[tuple[float, float]]


class CameraState(BaseModel):
    """A camera as it is now."""

    name: str
    source: str  # without user and password
    state: str  # connecting, live, stalled, offline, ended or failed
    reason: str
    since: str  # UTC, when it came into this state
    zones: list[ZonePicture]


class LabelShare(BaseModel):
    """A label with its probability."""

    label: str
    probability: float


class Latest(BaseModel):
    """The newest prediction of a camera, or of one of its zones."""

    camera: str
    zone: str  # "" for the whole picture
    age_s: float  # since the newest picture that it saw
    labels: list[LabelShare]  # best first
    events: list[str]  # labels of events that go on


def router(pipeline: Pipeline, access: Access) -> APIRouter:
    """/api/me, /api/cameras, /api/predictions."""
    api = APIRouter(prefix="/api")

    @api.get("/me")
    def me(request: Request) -> Me:
        """Who asks."""
        who = request.state.who
        return Me(
            name=who.name,
            role=who.role,
            may_change=who.may_change,
            login=not access.open_to_all,
            model=pipeline.config.model,
            version=importlib.metadata.version("actionwatch"),
        )

    @api.get("/cameras")
    def cameras() -> list[CameraState]:
        """All cameras, in the order of the configuration."""
        return [_state(camera) for camera in pipeline.cameras.values()]

    @api.get(
        "/cameras/{name}/picture",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 404: {"description": _NO_PICTURE}},
    )
    def picture(name: str) -> Response:
        """The newest picture of a camera, as JPEG."""
        camera = pipeline.cameras.get(name)
        newest = camera.picture.jpeg() if camera is not None else None
        if newest is None:
            raise HTTPException(404, _NO_PICTURE)
        return Response(newest[1], media_type="image/jpeg")

    @api.get("/predictions", responses={404: {"description": "there is no such camera"}})
    def predictions(camera: str | None = None, top: Top = 5) -> list[Latest]:
        """The newest predictions, of all cameras or of one."""
        cameras = pipeline.cameras
        if camera is not None and camera not in cameras:
            raise HTTPException(404, f"there is no camera {camera}")
        names = [camera] if camera is not None else list(cameras)
        return [
            _latest(name, zone, view, top)
            for name in names
            for zone, view in pipeline.views(name).items()
            if view.prediction is not None
        ]

    return api


def _state(camera: Camera) -> CameraState:
    since = datetime.now(timezone.utc) - timedelta(seconds=time.monotonic() - camera.since_at)
    return CameraState(
        name=camera.name,
        source=camera.source,
        state=camera.state,
        reason=camera.reason or camera.fault,
        since=iso(since),
        zones=[
            ZonePicture(name=stream.name.partition("/")[2], points=list(stream.zone.points))
            for stream in camera.streams
            if stream.zone is not None
        ],
    )


def _latest(camera: str, zone: str, view: View, top: int) -> Latest:
    prediction = view.prediction
    assert prediction is not None
    return Latest(
        camera=camera,
        zone=zone,
        age_s=round(time.monotonic() - prediction.newest_at, 3),
        labels=[
            LabelShare(label=label, probability=round(share, 4))
            for label, share in prediction.top(top)
        ],
        events=[event.label for event in view.open_events],
    )
