"""Class tokens of a frozen network for a few samples, their stills, and synthetic scenes."""

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
from model.evaluation.inference import in_batches
from model.trained_model import TrainedModel
from stream.runtime.processes import cores
from stream.sources.base import SourceError
from stream.sources.uniform_clips import frame_timestamps
from stream.synthetic.clips import draw_clip
from stream.synthetic.motions import ACTIONS, MOTIONS, OTHER

_STRIDE_S = 0.25  # between windows, about as in a live run
_MAX_WINDOWS = 12
_STILLS = 2  # per sample: more hardly differ
_SYNTHETIC_CLIPS = 60
_MAX_SYNTHETIC_SPAN_S = 1.6  # in a longer clip most motions leave the frame


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSample:
    """Class tokens of a recorded sample, float64 (N, hidden)."""

    example: Example
    windows: np.ndarray  # cut as in a live run
    flipped: np.ndarray  # the same windows, flipped horizontally
    stills: np.ndarray  # a single repeated frame of some windows, without motion
    is_short: bool  # the video is shorter than a window


def embed_samples(
    model: TrainedModel,
    examples: Iterable[Example],
    *,
    on_progress: Callable[[], None] = lambda: None,
    on_problem: Callable[[str], None] = lambda line: None,
) -> Iterator[EmbeddedSample]:
    """Embed the decodable examples, in order; `on_problem` gets the errors of the others.

    Samples are processed in parallel, one per core: see `single_threaded`.
    """
    remaining = iter(examples)
    with ThreadPoolExecutor(cores()) as pool:
        # In small groups: windows of large networks need much memory.
        while group := list(itertools.islice(remaining, 2 * cores())):
            for sample in pool.map(partial(_embed_or_error, model), group):
                if isinstance(sample, str):
                    on_problem(sample)
                else:
                    yield sample
                on_progress()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit torch to the calling thread, for work that consists of many small operations.

    A thread pool waits for its slowest thread after each operation: on two cores, 160 windows of
    the embedded network took 2.8 s of processor time without a pool, and 6.6 s with it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def synthetic_tokens(model: TrainedModel) -> np.ndarray:
    """Class tokens of synthetic scenes without actions, float64 (N, hidden); deterministic."""
    spec, rng = model.spec, np.random.default_rng(0)
    span_s = min(spec.span_s, _MAX_SYNTHETIC_SPAN_S)
    labels = [MOTIONS.index(name) for name in MOTIONS if name not in (OTHER, *ACTIONS)]
    clips = (
        draw_clip(
            rng,
            frames=spec.frames,
            size=spec.height,
            span_s=span_s,
            label=labels[number % len(labels)],
        )
        for number in range(_SYNTHETIC_CLIPS)
    )
    return class_tokens(model, np.stack([clip.frames for clip in clips]))


def class_tokens(model: TrainedModel, clips: np.ndarray) -> np.ndarray:
    """The classifier's input: uint8 (N, T, H, W, 3) -> float64 (N, hidden)."""
    backbone = model.network.timesformer
    return in_batches(model, clips, lambda pixels: backbone.features(pixels)[0].double())


def _embed_or_error(model: TrainedModel, example: Example) -> EmbeddedSample | str:
    """The embedded sample, or the message of its error."""
    spec = model.spec
    try:
        video_s = float(frame_timestamps(example.path)[-1])
        end_s = video_s if example.end_s is None else min(example.end_s, video_s)
        first, last = window_ends(spec, example.start_s or 0.0, end_s, video_s)
        count = min(_MAX_WINDOWS, 1 + int((last - first) / _STRIDE_S + 1e-6))
        views = read_views(example, spec, count)
    except SourceError as error:
        return str(error)
    chosen = views[np.linspace(0, count - 1, _STILLS).round().astype(int)]
    middle = spec.frames // 2
    stills = np.repeat(chosen[:, middle : middle + 1], spec.frames, axis=1)
    tokens = class_tokens(model, np.concatenate([views, views[:, :, :, ::-1], stills]))
    of_views, of_flipped, of_stills = np.split(tokens, (count, 2 * count))
    return EmbeddedSample(example, of_views, of_flipped, of_stills, is_short(video_s, spec))
