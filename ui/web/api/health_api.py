"""The API of the Health tab: how the run is doing, what is bad about it first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from fastapi import APIRouter
from pydantic import BaseModel

from stream.sinks.event_log.rows import iso
from ui.web.api.counter_descriptions import GOOD, in_words
from ui.web.api.run_status import CameraCondition, Condition, Disk, versions

_BEHIND = 0.5  # of the wanted predictions: with less it is said that the model is too slow
_STATES = {
    "connecting": "is being opened",
    "live": "is live",
    "stalled": "stands still",
    "offline": "is offline",
    "ended": "has ended",
    "failed": "has failed",
}


class Finding(BaseModel):
    """Something that is not as it should be."""

    grave: bool  # else it is only good to know
    text: str
    since: str | None  # UTC


class Counted(BaseModel):
    """How often something happened."""

    name: str  # as in /metrics
    words: str
    count: int


class CameraHealth(BaseModel):
    """A camera."""

    name: str
    state: str
    reason: str
    since: str
    frames_per_s: float
    predictions_per_s: float
    wanted_per_s: float
    age_s: float | None  # of the newest prediction
    counted: list[Counted]


class StageHealth(BaseModel):
    """How long something took of late: half of the times, and in 95 of 100 cases, at most."""

    name: str
    p50_s: float
    p95_s: float


class DiskHealth(BaseModel):
    """The disk of the data folder, in bytes."""

    free: int
    size: int
    keep_free: int
    used: dict[str, int]


class LatestTrouble(BaseModel):
    """A warning or an error of the log."""

    at: str
    level: str
    text: str


class Health(BaseModel):
    """All of it; the numbers are those of /metrics."""

    findings: list[Finding]  # grave ones first; nothing where all is well
    cameras: list[CameraHealth]
    counted: list[Counted]  # of no camera
    workers: int
    model: str | None
    stages: list[StageHealth]
    queues: dict[str, int]
    disk: DiskHealth | None
    events: int  # since the start
    waiting: int  # entries of the event log that are not written yet
    up_s: float
    versions: dict[str, str]
    troubles: list[LatestTrouble]  # newest first


def router(condition: Condition) -> APIRouter:
    """/api/health."""
    api = APIRouter(prefix="/api")
    known = versions()

    @api.get("/health")
    def health() -> Health:
        """How the run is doing."""
        pipeline = condition.pipeline
        cameras, disk = condition.cameras(), condition.disk()
        findings = sorted(_findings(condition, cameras, disk), key=lambda one: not one.grave)
        return Health(
            findings=findings,
            cameras=[_camera(camera) for camera in cameras],
            counted=_counted(
                {
                    name: count
                    for (name, camera), count in pipeline.metrics.counts().items()
                    if not camera
                }
            ),
            workers=pipeline.workers,
            model=pipeline.spec.model if pipeline.spec else None,
            stages=[
                StageHealth(name=name, p50_s=stage.p50_s, p95_s=stage.p95_s)
                for name, stage in condition.stages().items()
            ],
            queues=dict(pipeline.queues),
            disk=_disk(disk),
            events=pipeline.metrics.total("events"),
            waiting=pipeline.queues.get("events", 0),
            up_s=round(condition.up_s, 1),
            versions=known,
            troubles=[
                LatestTrouble(at=iso(one.at), level=one.level, text=one.text)
                for one in reversed(pipeline.last_errors)
            ],
        )

    return api


def _findings(
    condition: Condition, cameras: list[CameraCondition], disk: Disk | None
) -> Iterator[Finding]:
    pipeline = condition.pipeline
    if pipeline.failure:
        yield _grave(f"The watch has failed: {pipeline.failure}")
    for part in pipeline.stuck:
        yield _grave(f"A part of the watch stands still: {part}. Start Actionwatch again.")
    if pipeline.log_away:
        yield _grave(
            f"The event log can't be written: {pipeline.log_away}. Events are kept in the "
            "journal until it can."
        )
    if pipeline.spec is None:
        yield _grave("The model is not ready yet, so nothing is recognised.")
    elif not pipeline.workers:
        yield _grave("No worker runs the model now, so nothing is recognised.")
    for camera in cameras:
        yield from _of_camera(camera, has_model=pipeline.workers > 0)
    if disk is None:
        yield _grave("The disk of the data folder can't be reached.")
    elif disk.free < disk.keep_free:
        yield _grave(
            f"The disk is nearly full: {disk.free / 1e9:.1f} GB are free, and "
            f"{disk.keep_free / 1e9:.1f} GB are to stay free, so no clips are recorded."
        )


def _of_camera(camera: CameraCondition, *, has_model: bool) -> Iterator[Finding]:
    if not camera.well:
        reason = f": {camera.reason}" if camera.reason else ""
        yield Finding(
            grave=camera.state != "connecting",
            text=f"Camera {camera.name} {_STATES.get(camera.state, camera.state)}{reason}.",
            since=_since(camera),
        )
    elif camera.state == "live" and camera.reason:  # black, frozen or undecoded pictures
        yield Finding(
            grave=True, text=f"Camera {camera.name}: {camera.reason}.", since=_since(camera)
        )
    is_behind = camera.predictions_per_s < _BEHIND * camera.wanted_per_s
    if has_model and camera.state == "live" and camera.ages_s and is_behind:
        yield Finding(
            grave=False,
            text=f"The model looks at camera {camera.name} {camera.predictions_per_s:.1f} times a "
            f"second; {camera.wanted_per_s:.1f} were wanted.",
            since=None,
        )


def _grave(text: str) -> Finding:
    return Finding(grave=True, text=text, since=None)


def _since(camera: CameraCondition) -> str:
    return iso(datetime.now(timezone.utc) - timedelta(seconds=camera.for_s))


def _camera(camera: CameraCondition) -> CameraHealth:
    return CameraHealth(
        name=camera.name,
        state=camera.state,
        reason=camera.reason,
        since=_since(camera),
        frames_per_s=round(camera.frames_per_s, 1),
        predictions_per_s=round(camera.predictions_per_s, 1),
        wanted_per_s=round(camera.wanted_per_s, 1),
        age_s=round(min(camera.ages_s.values()), 3) if camera.ages_s else None,
        counted=_counted(camera.counts),
    )


def _counted(counts: dict[str, int]) -> list[Counted]:
    return [
        Counted(name=name, words=in_words(name), count=count)
        for name, count in counts.items()
        if count and name not in GOOD
    ]


def _disk(disk: Disk | None) -> DiskHealth | None:
    if disk is None:
        return None
    return DiskHealth(free=disk.free, size=disk.size, keep_free=disk.keep_free, used=disk.used)
