"""Event rows on one axis of seconds, as formats need them that know no dates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.sinks.event_log.rows import moment

CLOCKS = ("media", "wall")
_SHORTEST_S = 0.001  # what formats can tell from nothing
_SAME_RUN_S = 1.0  # by how much clocks differ that tell the same
_MOST_DRIFT = 0.001  # of a camera's clock


@dataclass(frozen=True, slots=True)
class Placed:
    """An event that is over, in seconds from some zero; starts at 0 at the earliest."""

    id: str
    camera: str
    label: str  # as a person corrected it, else as the model said
    start_s: float
    end_s: float
    score: float  # the event's peak


def place(
    rows: Sequence[Mapping[str, Any]], *, clock: str = "media", zero_s: float = 0.0
) -> list[Placed]:
    """Closed events by start. Left out are open ones, those that a person rejected, for they did
    not happen, and those that end before the zero.

    The clock "media" counts from `zero_s` on the camera's own clock, "wall" from midnight (UTC) of
    the day of the first event, so that a time reads as the time of day.
    """
    closed = [row for row in rows if row["end"] is not None and row["verdict"] != "rejected"]
    if clock == "wall" and closed:
        first = moment(min(row["start"] for row in closed))
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        spans = [
            tuple((moment(row[name]) - midnight).total_seconds() for name in ("start", "end"))
            for row in closed
        ]
    else:
        spans = [(row["start_s"] - zero_s, row["end_s"] - zero_s) for row in closed]
    placed = []
    for row, (start_s, end_s) in zip(closed, spans, strict=True):
        if end_s < 0:
            continue
        start_s = round(max(0.0, start_s), 3)
        end_s = round(max(start_s + _SHORTEST_S, end_s), 3)
        score = round(row["peak"], 3)
        label = row["corrected"] or row["label"]
        placed.append(Placed(row["id"], row["camera"], label, start_s, end_s, score))
    return sorted(placed, key=lambda one: (one.start_s, one.end_s, one.camera, one.label, one.id))


def of_many_runs(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The cameras whose own clock began anew between their events, so that it tells no order."""
    before: dict[str, tuple[float, float]] = {}  # UTC of an event, and of its camera's time 0
    found: set[str] = set()
    for row in sorted(rows, key=lambda row: row["start"]):
        camera, utc = row["camera"], moment(row["start"]).timestamp()
        zero = utc - row["start_s"]
        if camera in before:
            earlier_utc, earlier_zero = before[camera]
            if abs(zero - earlier_zero) > _SAME_RUN_S + _MOST_DRIFT * abs(utc - earlier_utc):
                found.add(camera)
        before[camera] = (utc, zero)
    return sorted(found)
