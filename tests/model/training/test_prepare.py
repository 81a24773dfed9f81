from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.data.clip_cache import ClipCache
from model.data.examples import DataError, Example
from model.data.splits import Splits
from model.training.distributed import Team
from model.training.prepare import prepare
from stream.messages import ClipSpec
from tests.ramp import ramp

ALONE = Team(1, 0, torch.device("cpu"), 2)


@pytest.fixture
def jump(write_video: Callable[..., Path]) -> Example:
    return Example(write_video(ramp(25), fps=25), "jump")


def test_films_that_are_too_long_or_too_short_are_told_and_learnt_from(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec, jump: Example
) -> None:
    long = Example(write_video(ramp(130), fps=1, name="long.mp4"), "wave")
    exact = Example(long.path, "wave", 0.0, 120.0)
    short = Example(write_video(ramp(3), fps=25, name="short.mp4"), "wave")
    cache = ClipCache(tmp_path / "cache", replace(spec, span_s=0.8))
    data, labels, problems = prepare(Splits((jump, long, exact, short), (), ()), cache, ALONE)
    assert labels == ("jump", "wave")
    assert len(data.train) == 4
    assert problems == [
        f"{long.path} shows wave for longer than 2 minutes: those in its middle are learnt from, "
        "as one clip; cut it into rows with start and end",
        "1 of 4 clips to learn from are shorter than the 0.8 s that the model looks at, and stand "
        "still at their end, which no watch will see; give the recipe a shorter span",
    ]


def test_what_can_t_be_decoded_is_left_out(tmp_path: Path, spec: ClipSpec, jump: Example) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    cache = ClipCache(tmp_path / "cache", spec)
    with pytest.raises(DataError, match="of 2 examples 1 can be decoded, with 1 label"):
        prepare(Splits((jump, Example(broken, "wave")), (), ()), cache, ALONE)
