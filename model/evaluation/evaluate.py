"""How good a model is on labelled clips, judged as a watch judges them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from model.checkpoint import CheckpointError
from model.data.examples import Example
from model.data.segments import read_views
from model.evaluation.clip_video import encode
from model.evaluation.corruptions import corrupted
from model.evaluation.html_report import Mistake
from model.evaluation.metrics import Measured
from model.predictor import Predictor
from stream.messages import ClipSpec
from stream.regions.resize import resized
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import chosen_pictures, picture_times

_TIMED = 20  # windows, for the speed
_SHOWN_FPS, _SHOWN_S, _SHOWN_PIXELS = 10.0, 12.0, 320  # of a mistake that is played
PLACES = {1: (0.5,), 3: (0.0, 0.5, 1.0)}  # crops of a view


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A labelled clip as the model sees it."""

    views: np.ndarray  # uint8 RGB, (V, T, H, W, 3)
    label: str
    name: str  # for people
    start_s: float
    end_s: float | None
    show: Callable[[], tuple[np.ndarray, float]]  # pictures as a person sees it, and their fps


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    measured: Measured
    mistakes: tuple[Mistake, ...]  # the worst
    views: int  # windows that were scored, of all clips together
    window_s: float  # what one by itself takes
    engine: str


def evaluate(
    predictor: Predictor,
    labels: Sequence[str],
    samples: Iterable[Sample],
    *,
    mistakes: int = 0,
    corruption: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score samples, each by the mean probabilities of its views, as `classify` does.

    With a `corruption`, one of CORRUPTIONS, they are spoilt before. Keeps so many of the worst
    `mistakes` as films. Raises CheckpointError where there are no samples.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    truth: list[int] = []
    answers: list[np.ndarray] = []
    worst: list[tuple[np.ndarray, Sample]] = []  # with the answers
    times: list[float] = []
    views = 0
    rng = np.random.default_rng(0)
    for sample in samples:
        seen = corrupted(corruption, sample.views, rng) if corruption else sample.views
        if len(times) < _TIMED:
            began = time.perf_counter()
            predictor.predict(seen[:1])
            times.append(time.perf_counter() - began)
        answer = predictor.predict(seen).mean(axis=0)
        truth.append(numbers[sample.label])
        answers.append(answer)
        views += len(sample.views)
        if answer.argmax() != truth[-1]:
            worst.append((answer, sample))
            worst = sorted(worst, key=lambda one: -one[0].max())[:mistakes]
        progress()
    if not truth:
        raise CheckpointError("nothing to evaluate: no clip of a label that the model knows")
    measured = Measured(tuple(labels), np.array(truth), np.stack(answers).astype(np.float64))
    shown = tuple(_mistake(sample, answer, labels) for answer, sample in worst)
    return Evaluation(measured, shown, views, statistics.median(times), predictor.name)


def film_samples(
    examples: Iterable[Example],
    spec: ClipSpec,
    *,
    windows: int | None = None,
    places: int = 1,
    problem: Callable[[str], None] = lambda line: None,
) -> Iterator[Sample]:
    """Examples as samples: so many windows of each, None for as many as cover it, and crops.

    `problem` is told what is left out: films that can't be decoded, labels that the model does
    not know. Raises CheckpointError for crops of a model that sees the whole picture.
    """
    if places > 1 and spec.fit != "crop":
        raise CheckpointError(
            f"model {spec.model} sees the whole picture ({spec.fit}), so there are no crops; "
            f"take --views {windows or 10}x1"
        )
    for example in examples:
        if example.label not in spec.labels:
            problem(f"{example.path}: the model has no label {example.label}; left out")
            continue
        try:
            views = read_views(example, spec, windows, PLACES[places])
        except SourceError as error:
            problem(str(error))
            continue
        yield Sample(
            views,
            example.label,
            str(example.path),
            example.start_s or 0.0,
            example.end_s,
            partial(_pictures, example),
        )


def _mistake(sample: Sample, answer: np.ndarray, labels: Sequence[str]) -> Mistake:
    pictures, fps = sample.show()
    return Mistake(
        film=sample.name,
        start_s=sample.start_s,
        end_s=sample.start_s + len(pictures) / fps if sample.end_s is None else sample.end_s,
        truth=sample.label,
        answer=labels[int(answer.argmax())],
        probability=float(answer.max()),
        video=encode(pictures, fps),
    )


def _pictures(example: Example) -> tuple[np.ndarray, float]:
    """A mistake's pictures, uint8 RGB (N, H, W, 3), small and not too many."""
    known = picture_times(example.path)
    start_s = example.start_s or 0.0
    end_s = min(known[-1] if example.end_s is None else example.end_s, start_s + _SHOWN_S)
    wanted = np.arange(start_s, end_s + 1e-6, 1 / _SHOWN_FPS)
    numbers = np.searchsorted(known, wanted).clip(0, len(known) - 1).tolist()

    def smaller(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        scale = min(1.0, _SHOWN_PIXELS / max(height, width))
        return resized(picture, max(2, round(width * scale)), max(2, round(height * scale)))

    read = dict(chosen_pictures(example.path, set(numbers), smaller))
    return np.stack([read[number] for number in numbers]), _SHOWN_FPS
