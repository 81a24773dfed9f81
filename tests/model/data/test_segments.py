from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.examples import Example
from model.data.segments import decode_segment, read_views, window_ends
from stream.messages import ClipSpec
from stream.sources.base import SourceError
from stream.sources.uniform_clips import UniformClips
from tests.ramp import numbers, ramp


@pytest.mark.parametrize(
    ("bounds_s", "video_s", "expected"),
    [
        ((2.0, 5.0), 9.0, (2.3, 5.0)),  # windows are inside the segment
        ((5.0, 5.1), 9.0, (5.1, 5.3)),  # or contain a shorter segment
        ((0.0, 0.1), 9.0, (0.3, 0.3)),  # never before the video starts
        ((8.9, 9.0), 9.0, (9.0, 9.0)),  # never after it ends
        ((0.0, 0.2), 0.2, (0.3, 0.3)),  # except if it is shorter than a window
    ],
)
def test_windows_are_inside_a_segment_or_contain_it(
    spec: ClipSpec, bounds_s: tuple[float, float], video_s: float, expected: tuple[float, float]
) -> None:
    assert window_ends(spec, *bounds_s, video_s) == pytest.approx(expected)


def test_views_of_a_whole_video_are_those_of_classify(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(50), fps=25)
    views = read_views(Example(file, "jump"), spec)
    assert (views == np.stack(list(UniformClips(file, spec)))).all()


def test_views_of_a_segment_are_inside_it(write_video: Callable[..., Path], spec: ClipSpec) -> None:
    file = write_video(ramp(100), fps=25)
    views = numbers(read_views(Example(file, "jump", 1.0, 2.0), spec, 3))
    assert views.shape == (3, 4)
    assert views[0, 0] == 25
    assert views[-1, -1] == 50


def test_decoded_segment_has_the_frames_that_its_windows_need(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(100), fps=25)
    segment = decode_segment(Example(file, "jump", 2.0, 2.1), spec, max_slowdown=2.0)
    assert segment.times_s[0] == pytest.approx(1.52, abs=0.05)  # 0.6 s before the end
    assert segment.times_s[-1] == pytest.approx(2.6, abs=0.05)
    assert segment.frames.shape[1:] == (9, 9, 3)  # larger than the model's input
    indices = [int(np.abs(segment.times_s - wanted).argmin()) for wanted in (1.9, 2.0, 2.1, 2.2)]
    assert (segment.clip(spec, 2.2) == segment.frames[indices]).all()


def test_decoded_segment_has_no_more_frames_than_windows_can_need(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(100), fps=25)
    slow = replace(spec, span_s=3.2)  # 0.8 s between frames
    assert np.diff(decode_segment(Example(file, "jump"), slow).times_s).min() > 0.15


def test_only_the_middle_of_a_long_segment_is_decoded(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(200), fps=1)
    segment = decode_segment(Example(file, "jump"), spec)
    assert (segment.start_s, segment.end_s) == (39.5, 159.5)
    assert (segment.times_s[0], segment.times_s[-1]) == (39.0, 160.0)
    shorter = decode_segment(Example(file, "jump", 20.0, 60.0), spec)
    assert (shorter.start_s, shorter.end_s) == (20.0, 60.0)


def test_three_crops_are_left_center_and_right(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    frame = np.zeros((32, 96, 3), np.uint8)
    frame[:, :32, 0] = frame[:, 32:64, 1] = frame[:, 64:, 2] = 255
    file = write_video([frame] * 25)
    cropped = replace(spec, fit="crop", shortest_edge=8)
    views = read_views(Example(file, "jump"), cropped, 2, (0.0, 0.5, 1.0))
    assert views.shape == (6, 4, 8, 8, 3)
    assert views[:3].mean(axis=(1, 2, 3)).argmax(axis=1).tolist() == [0, 1, 2]


def test_segment_after_the_end_of_its_video_is_an_error(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(25))
    with pytest.raises(SourceError, match=r"clip\.mp4: an example starts at 5 s, but .* 0\.96 s"):
        decode_segment(Example(file, "jump", 5.0, 6.0), spec)


def test_video_with_a_very_low_frame_rate_is_decoded(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(5), fps=0.25)
    segment = decode_segment(Example(file, "jump", 5.0, 5.5), spec)
    assert segment.times_s.tolist() == pytest.approx([4.0, 8.0])
    assert segment.clip(spec, 5.5).shape == (4, 9, 9, 3)
