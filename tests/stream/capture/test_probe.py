from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.capture.probe import Findings, examine
from stream.sources.opencv_capture import SourceError


def test_a_source_is_opened_and_watched(write_video: Callable[..., Path], clock) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)]
    ahead = iter(range(10**6))  # every picture is due already
    found = examine(
        str(write_video(pictures, fps=12)), seconds=1e9, now=lambda: 1000.0 * next(ahead)
    )
    assert (found.width, found.height) == (64, 48)
    assert found.fps == pytest.approx(12)
    assert found.counts == {}
    assert found.fault == ""


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="not a video"):
        examine(str(tmp_path / "broken.mp4"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": 5.0}, "5.0 pictures a second are few"),
        ({"fps": 60.0}, "set 25 or 30"),
        ({"width": 3840, "height": 2160}, "second stream"),
        ({"first_s": 6.0}, "key frame"),
        ({"counts": {"drained_frames": 40}}, "old pictures first"),
        ({"counts": {"distrusted_clocks": 1}}, "arrival times"),
        ({"counts": {"clock_jumps": 3}}, "time server"),
        ({"uneven_s": 0.8}, "bursts"),
        ({"fault": "black picture"}, "sends a black picture"),
    ],
)
def test_what_should_be_changed_is_said(changes: dict, words: str) -> None:
    good = Findings(0.1, 0.2, 640, 480, fps=25.0, uneven_s=0.01, counts={}, fault="")
    assert good.advice() == []
    (advice,) = replace(good, **changes).advice()
    assert words in advice
