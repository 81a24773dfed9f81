"""What the Live tab shows, as plain values: pure functions of what the pipeline knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream.messages import ClipSpec, Event
from stream.pipeline import View
from stream.runtime.metrics import Metrics

_LONGEST_QUIET_S = 5.0
_MEASURED = ("line", "inference", "judge")  # stages, as Metrics measures them


def waiting_for(model: str, spec: ClipSpec | None, views: Mapping[str, View], now: float) -> str:
    """What has to happen before a camera has a prediction of now; nothing, while it has one."""
    if spec is None:
        return f"waiting for model {model}"
    newest_at = _newest_at(views)
    if newest_at is None:
        return f"collecting the first {spec.span_s:.1f} s"
    # A large model on a small machine may need as long as its clips last.
    if now - newest_at > 2 * max(_LONGEST_QUIET_S, spec.span_s):
        return f"no prediction for {now - newest_at:.0f} s"
    return ""


def live_state(
    name: str,
    state: str,
    reason: str,
    views: Mapping[str, View],
    metrics: Metrics,
    *,
    waiting: str,
    now: float,
    top: int,
) -> dict[str, Any]:
    """What travels with a picture to the browser: JSON-ready.

    `views` are by zone, as `Pipeline.views` gives them; `waiting` is from `waiting_for`; `now` is
    monotonic seconds; ages are in milliseconds. `labels` are (zone, label, probability), and
    `stages` (name, of the latest prediction, median of late, 95 of 100 are below).
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
            [zone, label, round(share, 3)]
            for zone, view in views.items()
            if view.prediction is not None
            for label, share in view.prediction.top(top if len(views) == 1 else 1)
        ],
        "events": [
            _badge(zone, event) for zone, view in views.items() for event in view.open_events
        ],
    }


def _stages(views: Mapping[str, View], metrics: Metrics) -> list[tuple[str, int, int, int]]:
    """From the newest picture of a window to what is shown, in order.

    `waiting` is until the window is cut, with reading the picture; in percentiles, it is what of
    the age no other stage explains.
    """
    judged = [view for view in views.values() if view.judged_at is not None]
    if not judged:
        return []
    last = _last(max(judged, key=lambda view: view.judged_at or 0.0))
    found = {one: metrics.percentiles(one, not_older_than_s=1.0) for one in ("age", *_MEASURED)}
    p50 = {stage: of.p50 or 0.0 for stage, of in found.items()}
    p95 = {stage: of.p95 or 0.0 for stage, of in found.items()}
    for times in (p50, p95):
        times["waiting"] = max(0.0, times.pop("age") - times["line"] - times["inference"])
    return [
        (stage, _ms(last[stage]), _ms(p50[stage]), _ms(p95[stage]))
        for stage in ("waiting", *_MEASURED)
    ]


def _last(view: View) -> dict[str, float]:
    """What each stage of a prediction took, in seconds."""
    one, judged_at = view.prediction, view.judged_at
    if one is None or judged_at is None or one.sent_at is None or one.answered_at is None:
        return dict.fromkeys(("waiting", *_MEASURED), 0.0)
    return {
        "waiting": one.sent_at - one.newest_at,
        "line": max(0.0, one.answered_at - one.sent_at - one.inference_s),
        "inference": one.inference_s,
        "judge": judged_at - one.answered_at,
    }


def _newest_at(views: Mapping[str, View]) -> float | None:
    """Monotonic seconds of the newest picture that was judged."""
    return max(
        (view.prediction.newest_at for view in views.values() if view.prediction is not None),
        default=None,
    )


def _badge(zone: str, event: Event) -> dict[str, Any]:
    return {
        "zone": zone,
        "label": event.label,
        "seconds": round(event.latest_s - event.start_s, 1),
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
