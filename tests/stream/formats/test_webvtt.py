from __future__ import annotations

import webvtt

from tests.event_files import exported
from tests.event_samples import ROWS, row


def test_webvtt_cues_are_ordered_and_escaped() -> None:
    cues = webvtt.from_string(exported(ROWS, "webvtt")).captions
    assert [(cue.start, cue.end) for cue in cues] == [
        ("00:00:01.500", "00:00:04.000"),
        ("00:00:03.250", "00:00:12.000"),  # overlaps the one before
        ("00:00:05.000", "00:00:06.000"),
    ]
    assert [cue.identifier for cue in cues] == [one["id"] for one in ROWS[:3]]
    assert cues[0].raw_text == "door: wave"  # of two cameras
    assert cues[1].raw_text == 'door: öffnen, "die" Tür; 戸 &lt;b&gt;&amp;amp; --&gt;'
    alone = webvtt.from_string(exported(ROWS[:1], "webvtt")).captions
    assert alone[0].raw_text == "wave"


def test_subtitles_of_a_clip_start_with_the_clip() -> None:
    rows = [row("wave", 1, 4), row("jump", 99, 103), row("run", 105, 3700.0021)]
    cues = webvtt.from_string(exported(rows, "webvtt", time_offset_s=100.0)).captions
    assert [(cue.start, cue.end, cue.raw_text) for cue in cues] == [
        ("00:00:00.000", "00:00:03.000", "jump"),
        ("00:00:05.000", "01:00:00.002", "run"),
    ]
