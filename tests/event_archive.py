"""A data folder with events from a few hours ago, one of them with a clip and a snapshot."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from stream.capture.latest_frame import LatestFrame
from stream.messages import EventMedia, Frame, LoggedEvent
from stream.sinks.clips.mp4 import ClipFile
from stream.sinks.event_log.event_log import EventLog
from tests import burnt_clock
from tests.event_samples import NASTY, logged

EVIL = "<img src=x onerror=\"document.title='owned'\">"
PRE_ROLL_S, CLIP_S = 2.0, 8.0
_MAX_SPAN = timedelta(hours=2)  # of the events that `fill` writes


def _few_hours_ago() -> datetime:
    """A start time such that all events are on one day of the local time zone."""
    start = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=3)
    is_one_day = start.astimezone().date() == (start + _MAX_SPAN).astimezone().date()
    return start if is_one_day else start - _MAX_SPAN


START_UTC = _few_hours_ago()


def id_of(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


WAVE, TRICKY, MARKUP, DESK, OPEN = map(id_of, ("wave", "tricky", "markup", "desk", "open"))


def event(
    event_id: str,
    label: str,
    start_s: float,
    end_s: float | None,
    *,
    camera: str = "door",
    peak: float = 0.9,
) -> LoggedEvent:
    one = logged(label, start_s, end_s, camera=camera, peak=peak, start_utc=START_UTC)
    return replace(one, event=replace(one.event, id=event_id))


EVENTS = [
    event(WAVE, "wave", 10.0, 14.0),
    event(TRICKY, NASTY, 11.0, 20.0, peak=0.123456),
    event(MARKUP, EVIL, 30.0, 31.0, camera="door/gate", peak=0.7),
    event(DESK, "jump", 60.0, 75.0, camera="desk", peak=0.8),
    event(OPEN, "jump", 120.0, None),
]


def fill(folder: Path, *, more: int = 0) -> Path:
    """Write a data folder with EVENTS, and `more` events of one second every two seconds."""
    additional = [
        event(id_of(f"other {number}"), f"act {number % 7}", 200.0 + 2 * number, 201.0 + 2 * number)
        for number in range(more)
    ]
    with EventLog.create(folder) as log:
        log.write_updates([*EVENTS, *additional])
        _write_media(folder)
        log.write_updates([EventMedia(WAVE, f"{WAVE}.mp4", f"{WAVE}.jpg", "", 10.0 - PRE_ROLL_S)])
    return folder


def _write_media(folder: Path) -> None:
    """Write a snapshot and a clip with burnt-in time for the first event."""
    for name in ("clips", "snapshots"):
        (folder / name).mkdir()
    latest = LatestFrame()
    clip = ClipFile(folder / "clips" / f"{WAVE}.mp4", 640)
    for index in range(int(CLIP_S * 10)):
        jpeg = latest.jpeg_of(Frame(burnt_clock.draw(index / 10), index / 10, 0.0, index))
        clip.add(jpeg, index / 10)
    clip.finish()
    (folder / "snapshots" / f"{WAVE}.jpg").write_bytes(jpeg)
