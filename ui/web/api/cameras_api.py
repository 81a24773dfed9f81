"""The API of the live state: cameras, predictions and the current user."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel

from stream.capture.camera import Camera
from stream.events.processor import CameraView
from stream.pipeline import Pipeline
from ui.web.api.run_status import utc_ago
from ui.web.security.access import Access

Top = Annotated[int, Query(ge=1, le=1000, description="labels of each prediction")]
_NO_FRAME = "no camera of that name has a frame yet"


class CurrentUser(BaseModel):
    """The current user, and the running version."""

    name: str
    role: str
    may_change: bool
    login_required: bool
    model: str
    version: str


class ZoneOutline(BaseModel):
    """The corners of a zone: x and y from 0 to 1, from the upper left."""

    name: str
    points: list[tuple[float, float]]


class CameraState(BaseModel):
    """The current state of a camera."""

    name: str
    source: str  # without credentials
    state: str  # connecting, live, stalled, offline, ended or failed
    reason: str
    since: str  # UTC, start of this state
    zones: list[ZoneOutline]


class LabelProbability(BaseModel):
    """A label with its probability."""

    label: str
    probability: float


class LatestPrediction(BaseModel):
    """The newest prediction of a camera, or of one of its zones."""

    camera: str
    zone: str  # "" for the whole frame
    age_s: float  # of its newest frame
    labels: list[LabelProbability]  # best first
    events: list[str]  # labels of open events


def router(pipeline: Pipeline, access: Access) -> APIRouter:
    """/api/me, /api/cameras, /api/predictions."""
    api = APIRouter(prefix="/api")

    @api.get("/me")
    def me(request: Request) -> CurrentUser:
        """The current user."""
        who = request.state.identity
        return CurrentUser(
            name=who.name,
            role=who.role,
            may_change=who.may_change,
            login_required=not access.open_to_all,
            model=pipeline.config.model,
            version=importlib.metadata.version("actionwatch"),
        )

    @api.get("/cameras")
    def cameras() -> list[CameraState]:
        """All cameras, in the order of the configuration."""
        return [_state(camera) for camera in pipeline.cameras.values()]

    @api.get(
        "/cameras/{name}/snapshot",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 404: {"description": _NO_FRAME}},
    )
    def snapshot(name: str) -> Response:
        """The newest frame of a camera, as JPEG."""
        camera = pipeline.cameras.get(name)
        newest = camera.latest_frame.jpeg() if camera is not None else None
        if newest is None:
            raise HTTPException(404, _NO_FRAME)
        return Response(newest[1], media_type="image/jpeg")

    @api.get("/predictions", responses={404: {"description": "there is no such camera"}})
    def predictions(camera: str | None = None, top: Top = 5) -> list[LatestPrediction]:
        """The newest predictions of all cameras or of one."""
        cameras = pipeline.cameras
        if camera is not None and camera not in cameras:
            raise HTTPException(404, f"there is no camera {camera}")
        names = [camera] if camera is not None else list(cameras)
        return [
            _latest(name, zone, view, top)
            for name in names
            for zone, view in pipeline.processor.views(name).items()
            if view.prediction is not None
        ]

    return api


def _state(camera: Camera) -> CameraState:
    return CameraState(
        name=camera.name,
        source=camera.source,
        state=camera.state,
        reason=camera.reason or camera.fault,
        since=utc_ago(time.monotonic() - camera.since_at),
        zones=zone_outlines(camera),
    )


def zone_outlines(camera: Camera) -> list[ZoneOutline]:
    """The zones of a camera."""
    return [
        ZoneOutline(name=stream.name.partition("/")[2], points=list(stream.zone.points))
        for stream in camera.streams
        if stream.zone is not None
    ]


def _latest(camera: str, zone: str, view: CameraView, top: int) -> LatestPrediction:
    prediction = view.prediction
    assert prediction is not None
    return LatestPrediction(
        camera=camera,
        zone=zone,
        age_s=round(time.monotonic() - prediction.newest_at, 3),
        labels=[
            LabelProbability(label=label, probability=round(probability, 4))
            for label, probability in prediction.top(top)
        ],
        events=[event.label for event in view.open_events],
    )
