"""Event rows on one axis of seconds, for formats without dates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stream.sinks.event_log.rows import moment

TIME_BASES = ("media", "wall")
_MIN_DURATION_S = 0.001  # the resolution of the formats
_CLOCK_TOLERANCE_S = 1.0  # difference between clocks of the same run
_MAX_DRIFT = 0.001  # of a camera's clock, relative


@dataclass(frozen=True, slots=True)
class RelativeEvent:
    """A closed event, in seconds from a time base; its start is 0 or later."""

    id: str
    camera: str
    label: str  # corrected by a person, else predicted by the model
    start_s: float
    end_s: float
    score: float  # the event's peak


def to_relative_times(
    rows: Iterable[Mapping[str, Any]], *, time_base: str = "media", time_offset_s: float = 0.0
) -> list[RelativeEvent]:
    """Closed events, ordered by start, without rejected events and events that end before time 0.

    Time base "media" counts from `time_offset_s` on the camera's clock, "wall" from midnight (UTC)
    of the day of the first event, so that a time reads as the time of day.
    """
    closed = [row for row in rows if row["end"] is not None and row["verdict"] != "rejected"]
    if time_base == "wall" and closed:
        first = moment(min(row["start"] for row in closed))
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        spans = [
            tuple((moment(row[name]) - midnight).total_seconds() for name in ("start", "end"))
            for row in closed
        ]
    else:
        spans = [(row["start_s"] - time_offset_s, row["end_s"] - time_offset_s) for row in closed]
    events = []
    for row, (start_s, end_s) in zip(closed, spans, strict=True):
        if end_s < 0:
            continue
        start_s = round(max(0.0, start_s), 3)
        end_s = round(max(start_s + _MIN_DURATION_S, end_s), 3)
        score = round(row["peak"], 3)
        label = row["corrected"] or row["label"]
        events.append(RelativeEvent(row["id"], row["camera"], label, start_s, end_s, score))
    return sorted(events, key=lambda one: (one.start_s, one.end_s, one.camera, one.label, one.id))


def cameras_with_clock_resets(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The cameras whose clock restarted between their events, so that it gives no order."""
    before: dict[str, tuple[float, float]] = {}  # UTC of an event, and of its camera's time 0
    resets: set[str] = set()
    for row in sorted(rows, key=lambda row: row["start"]):
        camera, utc = row["camera"], moment(row["start"]).timestamp()
        zero = utc - row["start_s"]
        if camera in before:
            earlier_utc, earlier_zero = before[camera]
            if abs(zero - earlier_zero) > _CLOCK_TOLERANCE_S + _MAX_DRIFT * abs(utc - earlier_utc):
                resets.add(camera)
        before[camera] = (utc, zero)
    return sorted(resets)
