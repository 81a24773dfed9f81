"""Labelled stretches of films, and the windows that a watch would cut from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from model.data.examples import Example
from stream.messages import ClipSpec
from stream.regions.frame_ring import nearest
from stream.regions.resize import fit_picture
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import chosen_pictures, picture_times

# Training pictures are kept larger than the model sees them, so that crops can wander.
MARGIN = 1.15
# A kept picture is at most an eighth of a step from where a window wants one.
_KEPT_PER_STEP = 4
_DENSEST_S = 1 / 40  # a watch keeps no more either
_MOST_WINDOWS = 10
# That is learnt from of one stretch: 0.1 GB as the embedded model sees it, 1 GB of the largest
# pictures (224 pixels) at the highest rate.
LONGEST_TAKE_S = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """A stretch of a film, decoded, with what lies around it as far as windows reach."""

    pictures: np.ndarray  # uint8 RGB, (N, H, W, 3)
    times: np.ndarray  # float64 seconds of the film, (N,)
    start_s: float  # the stretch that shows what its label says, or its middle
    end_s: float
    film_s: float  # when the film ends
    lasts_s: float  # the whole stretch

    def clip(self, spec: ClipSpec, end_s: float) -> np.ndarray:
        """The window that ends then, pictures as they are kept: (T, H, W, 3)."""
        return self.pictures[nearest(self.times, spec.times(end_s).clip(0.0, self.film_s))]


def window_ends(spec: ClipSpec, start_s: float, end_s: float, film_s: float) -> tuple[float, float]:
    """The first and the last moment at which a window of a stretch may end.

    Windows lie within the stretch, or around it where it is shorter; within the film in any case,
    but for films shorter than a window, whose last picture fills it up as in `classify`.
    """
    span_s = spec.step_s * (spec.frames - 1)
    first, last = sorted((start_s + span_s, end_s))
    last = max(span_s, min(last, film_s))
    return min(max(first, span_s), last), last


def is_short(film_s: float, spec: ClipSpec) -> bool:
    """Whether windows of a film that ends then stand still at their end for a step or more."""
    return film_s < spec.step_s * (spec.frames - 2)


def read_take(example: Example, spec: ClipSpec, slowest: float = 1.0) -> Take:
    """Decode what windows of an example can need, `MARGIN` times as large as the model sees it.

    Of a stretch longer than `LONGEST_TAKE_S` it is the middle. `slowest` is how many times longer
    than the span of `spec` windows may be. Raises SourceError for a film that can't be decoded, or
    ends before the example begins.
    """
    known, start_s, end_s = _stretch(example)
    lasts_s = end_s - start_s
    aside_s = max(0.0, lasts_s - LONGEST_TAKE_S) / 2
    start_s, end_s = start_s + aside_s, end_s - aside_s
    reach_s = spec.step_s * (spec.frames - 1) * slowest
    low, high = min(start_s, end_s - reach_s), max(end_s, start_s + reach_s)
    # A window must find its pictures also where the film ends early.
    low = max(0.0, min(low, known[-1] - reach_s))
    # With one picture more on each side, which may be nearest to a moment in between.
    first, last = int(np.searchsorted(known, low, "right")), int(np.searchsorted(known, high))
    inside = np.arange(max(0, first - 1), min(last + 1, len(known)))
    numbers = _thinned(known, inside, max(_DENSEST_S, spec.step_s / _KEPT_PER_STEP))
    roomy = replace(spec, height=round(spec.height * MARGIN), width=round(spec.width * MARGIN))
    read = dict(chosen_pictures(example.path, set(numbers), lambda one: fit_picture(one, roomy)))
    pictures = np.stack([read[number] for number in numbers])
    return Take(pictures, known[numbers], start_s, end_s, float(known[-1]), lasts_s)


def read_views(
    example: Example,
    spec: ClipSpec,
    windows: int | None = None,
    places: tuple[float, ...] = (0.5,),
) -> np.ndarray:
    """An example exactly as a watch would see it: uint8 RGB (windows x places, T, H, W, 3).

    Windows are equally far apart, a single one is in the middle; None takes as many as cover the
    example, ten at most. `places` are those of `fit_picture`: several for a picture that is
    cropped (arXiv 2102.05095 takes three).
    Raises SourceError as `read_take` does.
    """
    known, start_s, end_s = _stretch(example)
    if windows is None:
        windows = min(_MOST_WINDOWS, max(1, math.ceil((end_s - start_s) / spec.span_s)))
    first, last = window_ends(spec, start_s, end_s, float(known[-1]))
    ends = np.linspace(first, last, windows) if windows > 1 else [(first + last) / 2]
    wanted = np.stack([spec.times(end) for end in ends]).clip(0.0, known[-1])
    numbers = nearest(known, wanted)  # (windows, T)

    def fit_all(picture: np.ndarray) -> np.ndarray:
        return np.stack([fit_picture(picture, spec, place) for place in places])

    read = dict(chosen_pictures(example.path, set(numbers.ravel().tolist()), fit_all))
    views = np.stack([[read[number] for number in row] for row in numbers.tolist()])
    return views.swapaxes(1, 2).reshape(-1, *spec.shape(1)[1:])


def _stretch(example: Example) -> tuple[np.ndarray, float, float]:
    """The times of a film's pictures, and from when to when it shows the example."""
    known = picture_times(example.path)
    start_s = example.start_s or 0.0
    end_s = float(known[-1]) if example.end_s is None else min(example.end_s, float(known[-1]))
    if start_s >= end_s and start_s > 0:
        raise SourceError(
            f"{example.path}: an example begins at {start_s:g} s, but the film ends at "
            f"{known[-1]:g} s; correct its start and end"
        )
    return known, start_s, end_s


def _thinned(known: np.ndarray, inside: np.ndarray, every_s: float) -> list[int]:
    """Of these numbers of pictures those that are at least so far apart, roughly."""
    slots = np.floor((known[inside] - known[inside[0]]) / every_s + 1e-6)
    _, first = np.unique(slots, return_index=True)
    return inside[first].tolist()
