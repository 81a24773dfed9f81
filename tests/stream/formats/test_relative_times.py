from __future__ import annotations

from datetime import timedelta

import webvtt

from stream.formats.relative_times import cameras_with_clock_resets, to_relative_times
from stream.sinks.event_log.rows import iso
from tests.event_files import exported
from tests.event_samples import ROWS, START_UTC, row


def test_wall_times_count_from_midnight_of_the_first_day() -> None:
    content = exported(ROWS, "webvtt", time_base="wall")
    cues = webvtt.from_string(content).captions
    assert (cues[0].start, cues[0].end) == ("23:59:51.500", "23:59:54.000")
    assert cues[1].end == "24:00:02.000"  # counts on over midnight
    relative = to_relative_times(ROWS, time_base="wall")
    assert relative[0].start_s == 86400 - 8.5


def test_event_without_duration_is_exported() -> None:
    (relative,) = to_relative_times([row("wave", 2.0, 2.0)])
    assert (relative.start_s, relative.end_s) == (2.0, 2.001)


def test_clock_reset_is_detected() -> None:
    later = START_UTC + timedelta(hours=1)
    rows = [row("wave", 50, 60), row("wave", 49.5, 52), row("wave", 1, 2, camera="desk")]
    same_time = row("wave", rows[0]["start_s"], 5, start_utc=later)
    assert cameras_with_clock_resets(rows) == []
    assert cameras_with_clock_resets([*rows, row("wave", 3, 5, start_utc=later)]) == ["door"]
    assert cameras_with_clock_resets([rows[0], same_time]) == ["door"]
    assert iso(later) > rows[0]["start"]
