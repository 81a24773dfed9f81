"""Events and rows of an event log, some with text that is hard to escape."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from stream.messages import Event, LoggedEvent
from stream.sinks.event_log.rows import as_row

START_UTC = datetime(2026, 1, 31, 23, 59, 50, tzinfo=timezone.utc)
NASTY = 'öffnen, "die"\nTür; 戸\u2028<b>&amp; -->'


def logged(
    label: str,
    start_s: float,
    end_s: float | None,
    *,
    camera: str = "door",
    peak: float = 0.9,
    start_utc: datetime = START_UTC,
) -> LoggedEvent:
    event = Event(
        id=f"{camera}-{label[:4]}-{start_s}",
        camera=camera,
        label=label,
        start_s=start_s,
        latest_s=end_s or start_s + 1,
        end_s=end_s,
        detected_s=start_s + 0.75,
        peak=peak,
        peak_s=start_s + 0.5,
        mean=peak - 0.1,
    )
    return LoggedEvent(event, "start" if end_s is None else "end", start_utc, "motion")


def row(label: str, start_s: float, end_s: float | None, **options: Any) -> dict[str, Any]:
    return as_row(logged(label, start_s, end_s, **options))


ROWS = [
    row("wave", 1.5, 4.0),
    row(NASTY, 3.25, 12.0, peak=0.123456),
    row("wave", 5.0, 6.0, camera="desk"),
    row("jump", 20.0, None),
]
