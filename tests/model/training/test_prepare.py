from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.data.clip_cache import ClipCache
from model.data.examples import DataError, Example
from model.data.splits import Splits
from model.training.distributed import DistributedContext
from model.training.prepare import prepare
from stream.messages import ClipSpec
from tests.ramp import ramp

SINGLE = DistributedContext(1, 0, torch.device("cpu"), 2)


@pytest.fixture
def jump(write_video: Callable[..., Path]) -> Example:
    return Example(write_video(ramp(25), fps=25), "jump")


def test_too_long_and_too_short_videos_get_a_note_and_are_used(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec, jump: Example
) -> None:
    long = Example(write_video(ramp(130), fps=1, name="long.mp4"), "wave")
    exact = Example(long.path, "wave", 0.0, 120.0)
    short = Example(write_video(ramp(3), fps=25, name="short.mp4"), "wave")
    cache = ClipCache(tmp_path / "cache", replace(spec, span_s=0.8))
    data, labels, problems = prepare(Splits((jump, long, exact, short), (), ()), cache, SINGLE)
    assert labels == ("jump", "wave")
    assert len(data.train) == 4
    assert problems == [
        f"{long.path}: the segment of wave is longer than 2 minutes; only its middle is used, as "
        "one clip; split it into rows with start and end",
        "1 of 4 training clips are shorter than the model's 0.8 s clip; their last frame is "
        "repeated, which never happens in a live run; set a shorter span in --config",
    ]


def test_video_that_cannot_be_decoded_is_skipped(
    tmp_path: Path, spec: ClipSpec, jump: Example
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    cache = ClipCache(tmp_path / "cache", spec)
    with pytest.raises(DataError, match="of 2 examples 1 can be decoded, with 1 label"):
        prepare(Splits((jump, Example(broken, "wave")), (), ()), cache, SINGLE)
