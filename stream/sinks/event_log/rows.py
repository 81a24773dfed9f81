"""An event as a row: the names and units that log, exports, alerts and subscribers share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from stream.messages import LoggedEvent

# The public columns, in this order. Names that end in _s are seconds on the camera's clock, which
# for a video file is media time; other times are UTC.
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
    "clip_note",  # why the clip is missing or incomplete; else ""
    "clip_start_s",  # time of the clip's first frame; None without a clip, or if unknown
    "verdict",  # of the reviewer: one of VERDICTS, or ""
    "corrected",  # the reviewer's label, or ""; `label` stays the model's
    "note",  # of the reviewer
    "reviewed_by",
    "reviewed_at",  # "" without a review
)


def as_row(logged: LoggedEvent) -> dict[str, Any]:
    """The row of an event, with the keys COLUMNS; media and review columns are empty."""
    event = logged.event
    return {
        **dict.fromkeys(COLUMNS, ""),
        "id": event.id,
        "camera": event.camera,
        "label": event.label,
        "start": iso(logged.utc(event.start_s)),
        "end": None if event.end_s is None else iso(logged.utc(event.end_s)),
        "detected_at": iso(logged.utc(event.detected_s)),
        "start_s": event.start_s,
        "end_s": event.end_s,
        "detected_s": event.detected_s,
        "peak": event.peak,
        "peak_s": event.peak_s,
        "mean": event.mean,
        "model": logged.model,
        "closed_by": event.closed_by,
        "clip_start_s": None,
    }


def iso(moment: datetime) -> str:
    """UTC in ISO 8601 with milliseconds; sorts as text."""
    utc = moment.astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time; UTC if it has no offset. Raises ValueError."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 doesn't parse Z
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
