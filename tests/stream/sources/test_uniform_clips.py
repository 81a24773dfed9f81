from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.sources.base import SourceError
from stream.sources.uniform_clips import UniformClips, clip_times
from tests.ramp import numbers, ramp


def sample_clips(file: Path, spec: ClipSpec, clips: int | None = None) -> np.ndarray:
    sampled = UniformClips(file, spec, clips)
    whole = np.stack(list(sampled))
    assert len(whole) == len(sampled)
    return whole


def test_clips_are_spread_uniformly_from_start_to_end(spec: ClipSpec) -> None:
    times = clip_times(spec, 2.3, 3)  # 4 frames, 0.1 s apart
    assert times.shape == (3, 4)
    assert np.allclose(times[0], [0.0, 0.1, 0.2, 0.3])
    assert np.allclose(times[1], [1.0, 1.1, 1.2, 1.3])
    assert np.allclose(times[2], [2.0, 2.1, 2.2, 2.3])


def test_single_clip_is_in_the_middle(spec: ClipSpec) -> None:
    assert np.allclose(clip_times(spec, 2.3, 1), [[1.0, 1.1, 1.2, 1.3]])


def test_frames_nearest_to_the_times_are_used(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(50), fps=25)
    clips = sample_clips(file, spec, 2)
    assert clips.shape == (2, 4, 8, 8, 3)
    assert clips.dtype == np.uint8
    # 0.1 s is two and a half frames; the last frame is 49, at 1.96 s.
    assert numbers(clips)[0].tolist() in ([0, 2, 5, 7], [0, 3, 5, 8], [0, 2, 5, 8])
    assert numbers(clips)[1].tolist() in ([41, 44, 46, 49], [42, 44, 47, 49], [41, 44, 47, 49])


@pytest.mark.parametrize(("count", "expected"), [(8, 1), (25, 3), (250, 10)])
def test_file_is_covered_with_at_most_ten_clips(
    write_video: Callable[..., Path], spec: ClipSpec, count: int, expected: int
) -> None:
    small = [np.zeros((16, 16, 3), np.uint8)] * count
    assert len(sample_clips(write_video(small, fps=25), spec)) == expected  # a clip is 0.4 s


def test_short_file_is_padded_with_its_last_frame(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    clips = sample_clips(write_video(ramp(5), fps=25), replace(spec, span_s=4.0), 1)
    assert numbers(clips).tolist() == [[0, 4, 4, 4]]


def test_file_with_one_frame_gives_a_clip(write_video: Callable[..., Path], spec: ClipSpec) -> None:
    assert numbers(sample_clips(write_video(ramp(1)), spec)).tolist() == [[0, 0, 0, 0]]


def test_file_without_video_is_reported_by_name(tmp_path: Path, spec: ClipSpec) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for file, words in (
        (text, "not a video"),
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            sample_clips(file, spec)
        assert str(file) in str(caught.value)


def test_truncated_file_is_used_or_reported(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(50), name="whole.avi")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2 + 5000])
    used = numbers(sample_clips(file, spec, 1))[0].tolist()
    assert 0 < used[0] < used[-1] < 49
    file.write_bytes(whole[:100])
    with pytest.raises(SourceError, match=r"whole\.avi"):
        sample_clips(file, spec, 1)


def test_many_clips_of_a_short_file_share_frames(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    clips = numbers(sample_clips(write_video(ramp(20), fps=25), spec, 50))
    assert clips.shape == (50, 4)
    assert (np.diff(clips.astype(int), axis=0) >= 0).all()
    assert (clips[0][0], clips[-1][-1]) == (0, 19)


def test_text_file_is_rejected(tmp_path: Path, spec: ClipSpec) -> None:
    """ffmpeg plays it as old terminals did."""
    file = tmp_path / "labels.txt"
    file.write_text("jump\nrun\n" * 50)
    with pytest.raises(SourceError, match="not a video"):
        UniformClips(file, spec)


@pytest.mark.parametrize("name", ["08:00:00.mp4", "demo:.mp4", "data:x.mp4", "a b ü.mp4", "-x.mp4"])
def test_any_file_name_works(
    write_video: Callable[..., Path],
    spec: ClipSpec,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_video(ramp(5)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(sample_clips(Path(name), spec, 2)) == 2


def test_file_name_that_is_not_unicode_is_reported_as_text(tmp_path: Path, spec: ClipSpec) -> None:
    file = tmp_path / "\udcff\udcfe.mp4"
    file.write_bytes(b"")
    with pytest.raises(SourceError, match="its name is not Unicode") as caught:
        UniformClips(file, spec)
    str(caught.value).encode()
