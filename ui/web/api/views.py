"""The state that the Live tab shows: pure functions of the pipeline's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream.events.processor import CameraView
from stream.messages import ClipSpec, Event
from stream.runtime.metrics import Metrics

_MIN_STALE_AFTER_S = 10.0
_STAGES = ("transport", "inference", "event_detection")  # as Metrics measures them


def waiting_for(
    model: str, spec: ClipSpec | None, views: Mapping[str, CameraView], now: float
) -> str:
    """Why a camera has no current prediction; "" if it has one."""
    if spec is None:
        return f"waiting for model {model}"
    newest_at = _newest_at(views)
    if newest_at is None:
        return f"collecting the first {spec.span_s:.1f} s"
    # A large model on a small machine may need as long as its clips last.
    if now - newest_at > max(_MIN_STALE_AFTER_S, 2 * spec.span_s):
        return f"no prediction for {now - newest_at:.0f} s"
    return ""


def live_state(
    name: str,
    state: str,
    reason: str,
    views: Mapping[str, CameraView],
    metrics: Metrics,
    *,
    waiting: str,
    now: float,
    top: int,
) -> dict[str, Any]:
    """The state that is sent to the browser with a frame, JSON-ready.

    `views` are by zone, as `Pipeline.views` returns them; `waiting` is from `waiting_for`; `now` is
    monotonic seconds; ages are in milliseconds. `labels` are (zone, label, probability), and
    `stages` (name, latency of the latest prediction, recent p50, recent p95).
    """
    newest_at = _newest_at(views)
    return {
        "camera": name,
        "state": state,
        "reason": reason,
        "waiting": waiting,
        "frames_per_s": round(metrics.rate("frames", name), 1),
        "predictions_per_s": round(metrics.rate("windows", name), 1),
        "age_ms": _ms(now - newest_at) if newest_at is not None else None,
        "stages": _stages(views, metrics),
        "labels": [
            [zone, label, round(probability, 3)]
            for zone, view in views.items()
            if view.prediction is not None
            for label, probability in view.prediction.top(top if len(views) == 1 else 1)
        ],
        "events": [
            _badge(zone, event) for zone, view in views.items() for event in view.open_events
        ],
    }


def _stages(views: Mapping[str, CameraView], metrics: Metrics) -> list[tuple[str, int, int, int]]:
    """Latency from the newest frame of a window to its result, by stage, in order.

    `queueing` lasts until the window is cut and includes capture; its percentiles are the part of
    the age that no other stage accounts for.
    """
    processed = [view for view in views.values() if view.processed_at is not None]
    if not processed:
        return []
    last = _last(max(processed, key=lambda view: view.processed_at or 0.0))
    recent = {stage: metrics.percentiles(stage, max_age_s=1.0) for stage in ("age", *_STAGES)}
    p50 = {stage: latency.p50 or 0.0 for stage, latency in recent.items()}
    p95 = {stage: latency.p95 or 0.0 for stage, latency in recent.items()}
    for times in (p50, p95):
        times["queueing"] = max(0.0, times.pop("age") - times["transport"] - times["inference"])
    return [
        (stage, _ms(last[stage]), _ms(p50[stage]), _ms(p95[stage]))
        for stage in ("queueing", *_STAGES)
    ]


def _last(view: CameraView) -> dict[str, float]:
    """Latency of each stage of a prediction, in seconds."""
    prediction, processed_at = view.prediction, view.processed_at
    if (
        prediction is None
        or processed_at is None
        or prediction.sent_at is None
        or prediction.received_at is None
    ):
        return dict.fromkeys(("queueing", *_STAGES), 0.0)
    return {
        "queueing": prediction.sent_at - prediction.newest_at,
        "transport": max(0.0, prediction.received_at - prediction.sent_at - prediction.inference_s),
        "inference": prediction.inference_s,
        "event_detection": processed_at - prediction.received_at,
    }


def _newest_at(views: Mapping[str, CameraView]) -> float | None:
    """Monotonic seconds of the newest frame with a prediction."""
    return max(
        (view.prediction.newest_at for view in views.values() if view.prediction is not None),
        default=None,
    )


def _badge(zone: str, event: Event) -> dict[str, Any]:
    return {
        "zone": zone,
        "label": event.label,
        "duration_s": round(event.latest_s - event.start_s, 1),
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
