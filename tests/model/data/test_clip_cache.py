from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.data.clip_cache import ClipCache
from model.data.examples import Example
from stream.messages import ClipSpec
from stream.sources.base import SourceError
from tests.ramp import ramp


def corrupt(video: Path) -> None:
    """Replace the content; size and modification time stay the same."""
    state = video.stat()
    video.write_bytes(b"x" * state.st_size)
    os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_video_is_decoded_once(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    example = Example(write_video(ramp(25)), "jump")
    before = ClipCache(tmp_path / "cache", spec)
    segment, views = before.segment(example), before.views(example)
    corrupt(example.path)
    again = ClipCache(tmp_path / "cache", spec)
    assert (again.segment(example).frames == segment.frames).all()
    assert (again.segment(example).times_s == segment.times_s).all()
    assert (again.views(example) == views).all()


def test_changed_video_is_decoded_again(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    cache = ClipCache(tmp_path / "cache", spec)
    example = Example(write_video(ramp(25)), "jump")
    cache.segment(example)
    write_video(ramp(50))
    assert cache.segment(example).video_s == pytest.approx(1.96, abs=0.01)


def test_corrupted_cache_file_is_decoded_again(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    cache = ClipCache(tmp_path / "cache", spec)
    example = Example(write_video(ramp(25)), "jump")
    views = np.array(cache.views(example))
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(b"half")
    assert (cache.views(example) == views).all()


def test_arrays_that_cannot_be_written_stay_in_memory(
    tmp_path: Path,
    write_video: Callable[..., Path],
    spec: ClipSpec,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    cache = ClipCache(tmp_path / "cache", spec)
    example = Example(write_video(ramp(25)), "jump")
    with caplog.at_level(logging.WARNING):
        segment = cache.segment(example)
        views = cache.views(example)
    assert len(caplog.records) == 1
    assert "stays in memory" in caplog.text
    corrupt(example.path)
    assert (cache.segment(example).frames == segment.frames).all()
    assert (cache.views(example) == views).all()
    with pytest.raises(SourceError, match="no such file"):
        cache.segment(Example(tmp_path / "other.mp4", "jump"))
