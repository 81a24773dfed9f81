"""The API of the Health tab: the status of the run, problems first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from stream.sinks.event_log.rows import iso
from ui.web.api.run_status import (
    STATES,
    CameraStatus,
    DiskHealth,
    RunStatus,
    StageHealth,
    utc_ago,
    versions,
)

_MIN_RATE = 0.5  # of the target rate; below this the Health tab reports a slow model

# Counters of normal operation: the Health tab does not list them.
NORMAL = frozenset({"frames", "windows", "events", "clips", "alerts", "unused_frames", "sessions"})
DESCRIPTIONS = {
    "hung_reads": "camera reads that hung; the camera was reopened",
    "alert_crashes": "crashes of the alert dispatcher",
    "clock_jumps": "jumps of a camera's clock",
    "damaged_frames": "corrupted frames",
    "untrusted_timestamps": "untrusted camera timestamps",
    "stale_frames_dropped": "stale frames dropped to catch up",
    "dropped_alerts": "alerts dropped because the queue was full",
    "dropped_clips": "event clips dropped because the queue was full",
    "dropped_publications": "published messages dropped because a subscriber was too slow",
    "gaps": "gaps in a camera's stream",
    "wall_clock_steps": "steps of this computer's clock",
    "subprocess_captures": "cameras reopened in a subprocess",
    "journaled_events": "event updates written to the journal while the event log was unavailable",
    "late_results": "inference results that arrived too late",
    "late_frames": "frames that arrived too late",
    "log_crashes": "crashes of the event log writer",
    "log_retries": "retries of event log writes",
    "lost_events": "event updates lost",
    "lost_windows": "inferences lost with a worker",
    "low_disk": "low disk space warnings",
    "malformed_messages": "malformed messages",
    "misordered_frames": "out-of-order frames",
    "motion_gated_windows": "windows skipped because nothing moved",
    "out_of_order_predictions": "out-of-order predictions discarded",
    "publisher_crashes": "crashes of the publisher",
    "reconnect_attempts": "reconnection attempts",
    "recorder_crashes": "crashes of the clip recorder",
    "rejected_alerts": "alerts rejected by the receiver",
    "rejected_sessions": "browser sessions rejected because the limit was reached",
    "rejected_workers": "workers rejected for a wrong key",
    "repeated_frames": "duplicate frames",
    "resent_windows": "inferences retried",
    "sink_errors": "errors of event sinks",
    "skipped_windows": "windows skipped because the model was busy",
    "stalls": "camera stalls",
    "thread_crashes": "crashes of other threads",
    "unanswered_windows": "inferences not completed",
    "subscriber_overflow_events": "events dropped because a subscriber was too slow",
    "dropped_predictions": "predictions dropped because the queue was full",
    "scores_not_stored": "scores not stored",
    "orphaned_results": "orphaned inference results discarded",
    "orphaned_predictions": "predictions of removed cameras discarded",
    "recorder_dropped_events": "events without a clip",
    "recorder_dropped_frames": "frames missing from clips",
    "worker_failures": "worker failures",
    "worker_restarts": "worker restarts",
}


class HealthIssue(BaseModel):
    """A problem of the run."""

    severity: Literal["error", "warning"]
    text: str
    since: str | None  # UTC


class CounterValue(BaseModel):
    """A counter that is not 0."""

    name: str  # as in /metrics
    description: str
    count: int


class CameraHealth(BaseModel):
    """The status of a camera."""

    name: str
    state: str
    reason: str
    since: str
    frames_per_s: float
    predictions_per_s: float
    target_predictions_per_s: float
    age_s: float | None  # of the newest prediction
    counters: list[CounterValue]


class LogMessage(BaseModel):
    """A recent warning or error of the log."""

    at: str
    level: str
    text: str


class Health(BaseModel):
    """The status of the run; the numbers are those of /metrics."""

    issues: list[HealthIssue]  # errors first; empty if the run is healthy
    cameras: list[CameraHealth]
    counters: list[CounterValue]  # that belong to no camera
    workers: int
    model: str | None
    stages: list[StageHealth]
    queues: dict[str, int]
    disk: DiskHealth | None
    events: int  # since the start
    pending_writes: int  # event updates that are not in the log yet
    uptime_s: float
    versions: dict[str, str]
    recent_logs: list[LogMessage]  # newest first


def router(status: RunStatus) -> APIRouter:
    """/api/health."""
    api = APIRouter(prefix="/api")
    installed = versions()

    @api.get("/health")
    def health() -> Health:
        """The status of the run."""
        pipeline = status.pipeline
        cameras, disk, queues = status.cameras(), status.disk(), status.queues()
        issues = sorted(_issues(status, cameras, disk), key=lambda issue: issue.severity != "error")
        return Health(
            issues=issues,
            cameras=[_camera(camera) for camera in cameras],
            counters=_counters(pipeline.metrics.totals("")),
            workers=pipeline.scheduler.workers,
            model=pipeline.spec.model if pipeline.spec else None,
            stages=status.stages(),
            queues=queues,
            disk=disk,
            events=pipeline.metrics.total("events"),
            pending_writes=queues.get("events", 0),
            uptime_s=round(status.uptime_s, 1),
            versions=installed,
            recent_logs=[
                LogMessage(at=iso(entry.at), level=entry.level, text=entry.text)
                for entry in reversed(pipeline.recent_logs.entries)
            ],
        )

    return api


def _issues(
    status: RunStatus, cameras: list[CameraStatus], disk: DiskHealth | None
) -> Iterator[HealthIssue]:
    pipeline = status.pipeline
    if pipeline.failure:
        yield _error(f"The run has failed: {pipeline.failure}")
    for thread in status.hung_threads():
        yield _error(f"A thread is hung: {thread}. Restart Actionwatch.")
    if pipeline.sinks.log_unavailable_reason:
        yield _error(
            f"The event log can't be written: {pipeline.sinks.log_unavailable_reason}. "
            "Events are stored in the journal until it can."
        )
    if pipeline.spec is None:
        yield _error("The model is not ready yet: no inference is running.")
    elif not pipeline.scheduler.workers:
        yield _error("No worker is connected: no inference is running.")
    for camera in cameras:
        yield from _camera_issues(camera, has_model=pipeline.scheduler.workers > 0)
    if disk is None:
        yield _error("The disk of the data folder can't be read.")
    elif disk.free < disk.keep_free:
        yield _error(
            f"The disk is nearly full: {disk.free / 1e9:.1f} GB free, below retention.keep_free "
            f"({disk.keep_free / 1e9:.1f} GB). No clips are recorded."
        )


def _camera_issues(camera: CameraStatus, *, has_model: bool) -> Iterator[HealthIssue]:
    if not camera.healthy:
        reason = f": {camera.reason}" if camera.reason else ""
        yield HealthIssue(
            severity="warning" if camera.state == "connecting" else "error",
            text=f"Camera {camera.name} {STATES[camera.state]}{reason}.",
            since=utc_ago(camera.state_s),
        )
    elif camera.state == "live" and camera.reason:  # black, frozen or undecodable frames
        yield _error(f"Camera {camera.name}: {camera.reason}.", utc_ago(camera.state_s))
    is_slow = camera.predictions_per_s < _MIN_RATE * camera.target_predictions_per_s
    if has_model and camera.state == "live" and camera.ages_s and is_slow:
        yield HealthIssue(
            severity="warning",
            text=f"Camera {camera.name} gets {camera.predictions_per_s:.1f} inferences/s; the "
            f"target is {camera.target_predictions_per_s:.1f}.",
            since=None,
        )


def _error(text: str, since: str | None = None) -> HealthIssue:
    return HealthIssue(severity="error", text=text, since=since)


def _camera(camera: CameraStatus) -> CameraHealth:
    return CameraHealth(
        name=camera.name,
        state=camera.state,
        reason=camera.reason,
        since=utc_ago(camera.state_s),
        frames_per_s=round(camera.frames_per_s, 1),
        predictions_per_s=round(camera.predictions_per_s, 1),
        target_predictions_per_s=round(camera.target_predictions_per_s, 1),
        age_s=round(min(camera.ages_s.values()), 3) if camera.ages_s else None,
        counters=_counters(camera.counters),
    )


def _counters(counts: dict[str, int]) -> list[CounterValue]:
    return [
        CounterValue(
            name=name, description=DESCRIPTIONS.get(name, name.replace("_", " ")), count=count
        )
        for name, count in counts.items()
        if count and name not in NORMAL
    ]
