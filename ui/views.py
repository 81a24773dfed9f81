"""What the dashboard shows, as plain values: pure functions of what the pipeline knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stream.messages import ClipSpec, Event
from stream.metrics import Metrics
from stream.pipeline import View

_NO_DROPS = {"frames", "windows", "events", "clips", "alerts", "unneeded_frames"}
EVENT_HEADERS = ("when (UTC)", "camera", "label", "lasted", "peak")


def event_rows(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of the event log as a person reads them, under EVENT_HEADERS."""
    shown = []
    for row in rows:
        lasted = "going on" if row["end"] is None else f"{row['end_s'] - row['start_s']:.1f} s"
        if row["closed_by"]:
            lasted += f", {row['closed_by']}"
        when = row["start"][5:19].replace("T", " ")  # month, day and time
        shown.append([when, row["camera"], row["label"], lasted, f"{row['peak']:.0%}"])
    return shown


def waiting_for(model: str, spec: ClipSpec | None, views: Mapping[str, View]) -> str:
    """What has to happen before a camera's first prediction; nothing, once there is one."""
    if any(view.prediction is not None for view in views.values()):
        return ""
    if spec is None:
        return f"waiting for model {model}"
    return f"collecting the first {spec.span_s:.1f} s"


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
    monotonic seconds; ages are in milliseconds.
    """
    newest_at = [view.prediction.newest_at for view in views.values() if view.prediction]
    ages = metrics.percentiles("age", not_older_than_s=1.0)
    return {
        "camera": name,
        "state": state,
        "reason": reason,
        "waiting": waiting,
        "frames_per_s": round(metrics.rate("frames", name), 1),
        "predictions_per_s": round(metrics.rate("windows", name), 1),
        "age_ms": _ms(now - max(newest_at)) if newest_at else None,
        "age_p50_ms": _ms(ages.p50),
        "age_p95_ms": _ms(ages.p95),
        "drops": {
            key.replace("_", " "): count
            for key, count in metrics.totals(name).items()
            if key not in _NO_DROPS
        },
        "labels": [
            [_named(zone, label), round(share, 3)]
            for zone, view in views.items()
            if view.prediction is not None
            for label, share in view.prediction.top(top if len(views) == 1 else 1)
        ],
        "events": [
            _badge(zone, event) for zone, view in views.items() for event in view.open_events
        ],
    }


def _badge(zone: str, event: Event) -> dict[str, Any]:
    seconds = round(event.latest_s - event.start_s, 1)
    return {"label": _named(zone, event.label), "seconds": seconds}


def _named(zone: str, label: str) -> str:
    return f"{zone}: {label}" if zone else label


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
