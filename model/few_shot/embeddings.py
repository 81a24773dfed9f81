"""What a frozen network sees in a few takes, and in what else shows nothing of interest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from model.data.examples import Example
from model.data.segments import is_short, read_views, window_ends
from model.evaluation.inference import in_parts
from model.trained_model import TrainedModel
from stream.messages import ClipSpec
from stream.runtime.thread_limits import cores
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import picture_times
from stream.synthetic import ACTIONS, MOTIONS, OTHER, draw_clip

_EVERY_S = 0.25  # between the ends of windows, about as a watch has them
_MOST_WINDOWS = 12
_STILLS = 2  # of each take: more hardly differ
_DRAWN = 60
_DRAWN_SPAN_S = 1.6  # in a longer one hardly a motion fits into the picture


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A take as the network sees it: class tokens, float64 (N, hidden)."""

    example: Example
    windows: np.ndarray  # as a watch would cut them
    mirrored: np.ndarray  # the same windows in a mirror
    stills: np.ndarray  # of some of them one picture, as if nothing moved
    is_short: bool  # the film ends before a window is full


def read_shots(
    model: TrainedModel,
    examples: Iterable[Example],
    *,
    progress: Callable[[], None] = lambda: None,
    problem: Callable[[str], None] = lambda line: None,
) -> Iterator[Shot]:
    """The examples that can be decoded, in order. `problem` is told of the others.

    Takes are looked at side by side, one on each core: see `one_thread`.
    """
    coming = iter(examples)
    with ThreadPoolExecutor(cores()) as pool:
        # A few at a time: windows of large networks take memory.
        while some := list(itertools.islice(coming, 2 * cores())):
            for shot in pool.map(partial(_tried, model), some):
                if isinstance(shot, str):
                    problem(shot)
                else:
                    yield shot
                progress()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on the core that asks: for work that is many small pieces.

    A team of threads waits for its slowest after each piece: on two cores, 160 windows of the
    embedded network took 2.8 s of processor time without one, and 6.6 s with it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drawn_tokens(model: TrainedModel) -> np.ndarray:
    """Class tokens of drawn scenes where nobody does much, float64 (N, hidden); always the same."""
    spec, rng = model.spec, np.random.default_rng(0)
    span_s = min(spec.span_s, _DRAWN_SPAN_S)
    labels = [MOTIONS.index(name) for name in MOTIONS if name not in (OTHER, *ACTIONS)]
    clips = (
        draw_clip(
            rng,
            frames=spec.frames,
            size=spec.height,
            span_s=span_s,
            label=labels[number % len(labels)],
        )
        for number in range(_DRAWN)
    )
    return tokens(model, np.stack([clip.frames for clip in clips]))


def tokens(model: TrainedModel, clips: np.ndarray) -> np.ndarray:
    """What the classifier is given: uint8 (N, T, H, W, 3) -> float64 (N, hidden)."""
    body = model.network.timesformer
    return in_parts(model, clips, lambda pixels: body.features(pixels)[0].double())


def _tried(model: TrainedModel, example: Example) -> Shot | str:
    """A shot, or why there is none."""
    spec = model.spec
    try:
        film_s = float(picture_times(example.path)[-1])
        views = read_views(example, spec, _count(example, spec, film_s))
        return _shot(model, example, views, is_short(film_s, spec))
    except SourceError as error:
        return str(error)


def _count(example: Example, spec: ClipSpec, film_s: float) -> int:
    """How many windows an example has in a film that ends then."""
    end_s = film_s if example.end_s is None else min(example.end_s, film_s)
    first, last = window_ends(spec, example.start_s or 0.0, end_s, film_s)
    return min(_MOST_WINDOWS, 1 + int((last - first) / _EVERY_S + 1e-6))


def _shot(model: TrainedModel, example: Example, views: np.ndarray, short: bool) -> Shot:
    chosen = views[np.linspace(0, len(views) - 1, _STILLS).round().astype(int)]
    middle = views.shape[1] // 2
    stills = np.repeat(chosen[:, middle : middle + 1], views.shape[1], axis=1)
    found = tokens(model, np.concatenate([views, views[:, :, :, ::-1], stills]))
    windows, mirrored, alone = np.split(found, (len(views), 2 * len(views)))
    return Shot(example, windows, mirrored, alone, short)
