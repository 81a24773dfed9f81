"""An event as a row: names and units by which log, exports, alerts and subscribers know it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from stream.messages import LoggedEvent

# What a person or a program is shown, in this order. Names that end in _s are seconds on the
# camera's own clock, which for a recorded file is media time; the others are UTC.
COLUMNS = (
    "id",
    "camera",
    "label",
    "start",
    "end",  # None while the event is open
    "detected_at",
    "start_s",
    "end_s",  # None while the event is open
    "detected_s",
    "peak",
    "peak_s",
    "mean",
    "model",
    "closed_by",
    "clip",  # file name under clips/ of the data folder, or ""
    "snapshot",  # file name under snapshots/, or ""
    "clip_note",  # why there is no clip, or not all of it; else ""
    "clip_start_s",  # when the clip's first picture was taken; None without one, or if unknown
    "verdict",  # of a person: one of VERDICTS, or ""
    "corrected",  # the label that a person gave, or ""; `label` stays what the model said
    "note",  # of a person
    "reviewed_by",
    "reviewed_at",  # "" while nobody did
)


def as_row(logged: LoggedEvent) -> dict[str, Any]:
    """The row of an event, with the keys COLUMNS. What is recorded and said of it comes later."""
    event = logged.event
    end = None if event.end_s is None else iso(logged.utc(event.end_s))
    return {
        "id": event.id,
        "camera": event.camera,
        "label": event.label,
        "start": iso(logged.utc(event.start_s)),
        "end": end,
        "detected_at": iso(logged.utc(event.detected_s)),
        "start_s": event.start_s,
        "end_s": event.end_s,
        "detected_s": event.detected_s,
        "peak": event.peak,
        "peak_s": event.peak_s,
        "mean": event.mean,
        "model": logged.model,
        "closed_by": event.closed_by,
        "clip": "",
        "snapshot": "",
        "clip_note": "",
        "clip_start_s": None,
        "verdict": "",
        "corrected": "",
        "note": "",
        "reviewed_by": "",
        "reviewed_at": "",
    }


def iso(moment: datetime) -> str:
    """UTC, ISO 8601, milliseconds: sorts as text, reads as a date everywhere."""
    utc = moment.astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def moment(text: str) -> datetime:
    """What `iso` wrote, or another ISO 8601 time; UTC where it does not say. Raises ValueError."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
