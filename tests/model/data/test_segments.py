from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.examples import Example
from model.data.segments import read_take, read_views, window_ends
from stream.messages import ClipSpec
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import FileClips
from tests.ramp import numbers, ramp


@pytest.mark.parametrize(
    ("stretch", "film_s", "expected"),
    [
        ((2.0, 5.0), 9.0, (2.3, 5.0)),  # windows lie within it
        ((5.0, 5.1), 9.0, (5.1, 5.3)),  # or all of it in each window
        ((0.0, 0.1), 9.0, (0.3, 0.3)),  # but never before the film
        ((8.9, 9.0), 9.0, (9.0, 9.0)),  # or after it
        ((0.0, 0.2), 0.2, (0.3, 0.3)),  # where it is long enough
    ],
)
def test_windows_lie_within_a_stretch_or_around_it(
    spec: ClipSpec, stretch: tuple[float, float], film_s: float, expected: tuple[float, float]
) -> None:
    assert window_ends(spec, *stretch, film_s) == pytest.approx(expected)


def test_views_of_a_whole_film_are_those_of_classify(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(50), fps=25)
    views = read_views(Example(file, "jump"), spec)
    assert (views == np.stack(list(FileClips(file, spec)))).all()


def test_views_of_a_stretch_show_that_stretch(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(100), fps=25)
    views = numbers(read_views(Example(file, "jump", 1.0, 2.0), spec, 3))
    assert views.shape == (3, 4)
    assert views[0, 0] == 25
    assert views[-1, -1] == 50


def test_a_take_holds_what_its_windows_need(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(100), fps=25)
    take = read_take(Example(file, "jump", 2.0, 2.1), spec, slowest=2.0)
    assert take.times[0] == pytest.approx(1.52, abs=0.05)  # 0.6 s before the end
    assert take.times[-1] == pytest.approx(2.6, abs=0.05)
    assert take.pictures.shape[1:] == (9, 9, 3)  # larger than the model sees it
    places = [int(np.abs(take.times - wanted).argmin()) for wanted in (1.9, 2.0, 2.1, 2.2)]
    assert (take.clip(spec, 2.2) == take.pictures[places]).all()


def test_a_take_keeps_no_more_pictures_than_windows_can_need(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(100), fps=25)
    slow = replace(spec, span_s=3.2)  # 0.8 s from one picture to the next
    assert np.diff(read_take(Example(file, "jump"), slow).times).min() > 0.15


def test_of_a_long_film_the_middle_is_taken(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(200), fps=1)
    take = read_take(Example(file, "jump"), spec)
    assert (take.start_s, take.end_s) == (39.5, 159.5)
    assert (take.times[0], take.times[-1]) == (39.0, 160.0)
    shorter = read_take(Example(file, "jump", 20.0, 60.0), spec)
    assert (shorter.start_s, shorter.end_s) == (20.0, 60.0)


def test_three_crops_are_the_ends_and_the_middle(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    picture = np.zeros((32, 96, 3), np.uint8)
    picture[:, :32, 0] = picture[:, 32:64, 1] = picture[:, 64:, 2] = 255
    file = write_video([picture] * 25)
    cropped = replace(spec, fit="crop", shortest_edge=8)
    views = read_views(Example(file, "jump"), cropped, 2, (0.0, 0.5, 1.0))
    assert views.shape == (6, 4, 8, 8, 3)
    assert views[:3].mean(axis=(1, 2, 3)).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_stretch_after_the_end_of_its_film_is_named(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(25))
    with pytest.raises(SourceError, match=r"clip\.mp4: an example begins at 5 s, but .* 0\.96 s"):
        read_take(Example(file, "jump", 5.0, 6.0), spec)


def test_a_film_with_a_picture_now_and_then_is_read(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video(ramp(5), fps=0.25)
    take = read_take(Example(file, "jump", 5.0, 5.5), spec)
    assert take.times.tolist() == pytest.approx([4.0, 8.0])
    assert take.clip(spec, 5.5).shape == (4, 9, 9, 3)
