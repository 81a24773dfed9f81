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
from stream.sources.opencv_capture import SourceError
from tests.ramp import ramp


def spoil(film: Path) -> None:
    """It can't be decoded any more, but looks the same from outside."""
    state = film.stat()
    film.write_bytes(b"x" * state.st_size)
    os.utime(film, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_film_is_decoded_once(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    example = Example(write_video(ramp(25)), "jump")
    before = ClipCache(tmp_path / "kept", spec)
    take, views = before.take(example), before.views(example)
    spoil(example.path)
    again = ClipCache(tmp_path / "kept", spec)
    assert (again.take(example).pictures == take.pictures).all()
    assert (again.take(example).times == take.times).all()
    assert (again.views(example) == views).all()


def test_a_film_that_was_changed_is_decoded_anew(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    cache = ClipCache(tmp_path / "kept", spec)
    example = Example(write_video(ramp(25)), "jump")
    cache.take(example)
    write_video(ramp(50))
    assert cache.take(example).film_s == pytest.approx(1.96, abs=0.01)


def test_what_is_damaged_is_decoded_anew(
    tmp_path: Path, write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    cache = ClipCache(tmp_path / "kept", spec)
    example = Example(write_video(ramp(25)), "jump")
    views = np.array(cache.views(example))
    for file in (tmp_path / "kept").iterdir():
        file.write_bytes(b"half")
    assert (cache.views(example) == views).all()


def test_what_the_disk_does_not_take_stays_in_memory(
    tmp_path: Path,
    write_video: Callable[..., Path],
    spec: ClipSpec,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "kept").write_text("no folder")
    cache = ClipCache(tmp_path / "kept", spec)
    example = Example(write_video(ramp(25)), "jump")
    with caplog.at_level(logging.WARNING):
        take = cache.take(example)
        views = cache.views(example)
    assert len(caplog.records) == 1
    assert "stays in memory" in caplog.text
    spoil(example.path)
    assert (cache.take(example).pictures == take.pictures).all()
    assert (cache.views(example) == views).all()
    with pytest.raises(SourceError, match="no such file"):
        cache.take(Example(tmp_path / "other.mp4", "jump"))
