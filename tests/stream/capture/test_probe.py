from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.capture.probe import ProbeReport, probe_source
from stream.sources.base import SourceError


def test_report_describes_the_source(write_video: Callable[..., Path], clock) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)]
    ahead = iter(range(10**6))  # every frame is due already
    report = probe_source(
        str(write_video(frames, fps=12)), seconds=1e9, now=lambda: 1000.0 * next(ahead)
    )
    assert (report.width, report.height) == (64, 48)
    assert report.fps == pytest.approx(12)
    assert report.counts == {}
    assert report.fault == ""


def test_unreadable_source_raises(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="not a video"):
        probe_source(str(tmp_path / "broken.mp4"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": 5.0}, "5.0 fps is low"),
        ({"fps": 60.0}, "set 25 or 30"),
        ({"width": 3840, "height": 2160}, "second stream"),
        ({"first_frame_s": 6.0}, "key frame"),
        ({"counts": {"stale_frames_dropped": 40}}, "old frames first"),
        ({"counts": {"untrusted_timestamps": 1}}, "arrival times"),
        ({"counts": {"clock_jumps": 3}}, "time server"),
        ({"jitter_s": 0.8}, "bursts"),
        ({"fault": "black frame"}, "sends a black frame"),
    ],
)
def test_advice_names_the_setting_to_change(changes: dict, words: str) -> None:
    good = ProbeReport(0.1, 0.2, 640, 480, fps=25.0, jitter_s=0.01, counts={}, fault="")
    assert good.advice() == []
    (advice,) = replace(good, **changes).advice()
    assert words in advice
