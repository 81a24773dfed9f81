"""Evaluates a model on labeled clips, with the same predictor as a live run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from model.checkpoint import CheckpointError
from model.data.examples import DataError, Example
from model.data.segments import read_views
from model.evaluation.clip_video import encode
from model.evaluation.corruptions import corrupted
from model.evaluation.metrics import ClassificationReport
from model.predictor import Predictor
from stream.messages import ClipSpec
from stream.regions.resize import resize
from stream.sources.base import SourceError
from stream.sources.uniform_clips import frame_timestamps, read_frames

_TIMED_WINDOWS = 20  # for the latency
_MISTAKE_FPS, _MAX_MISTAKE_S, _MAX_MISTAKE_PIXELS = 10.0, 12.0, 320  # of a mistake's video
CROP_POSITIONS = {1: (0.5,), 3: (0.0, 0.5, 1.0)}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A labeled clip as model input."""

    views: np.ndarray  # uint8 RGB, (V, T, H, W, 3)
    label: str
    name: str  # for people
    start_s: float
    end_s: float | None
    load_frames: Callable[[], tuple[np.ndarray, float]]  # frames for a person, and their fps


@dataclass(frozen=True)
class Mistake:
    """A misclassified clip."""

    name: str  # of the video file
    start_s: float  # seconds of the video
    end_s: float
    truth: str
    predicted: str
    probability: float  # of the predicted label, 0 to 1
    video: bytes  # an MP4


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result of `evaluate`."""

    report: ClassificationReport
    mistakes: tuple[Mistake, ...]  # the most confident ones
    views: int  # number of windows, over all clips
    window_s: float  # latency of a single window
    engine: str


def evaluate(
    predictor: Predictor,
    labels: Sequence[str],
    samples: Iterable[Sample],
    *,
    mistakes: int = 0,
    corruption: str | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Classify each sample by the mean probabilities of its views, as `classify` does.

    `corruption` is one of CORRUPTIONS. The result holds videos of the `mistakes` most confident
    mistakes. Raises DataError if there are no samples.
    """
    indices = {label: index for index, label in enumerate(labels)}
    truth: list[int] = []
    predictions: list[np.ndarray] = []
    worst: list[tuple[np.ndarray, Sample]] = []  # with the probabilities
    times: list[float] = []
    views = 0
    rng = np.random.default_rng(0)
    for sample in samples:
        inputs = corrupted(corruption, sample.views, rng) if corruption else sample.views
        if len(times) < _TIMED_WINDOWS:
            started = time.perf_counter()
            predictor.predict(inputs[:1])
            times.append(time.perf_counter() - started)
        probabilities = predictor.predict(inputs).mean(axis=0)
        truth.append(indices[sample.label])
        predictions.append(probabilities)
        views += len(sample.views)
        if probabilities.argmax() != truth[-1]:
            worst.append((probabilities, sample))
            worst = sorted(worst, key=lambda one: -one[0].max())[:mistakes]
        on_progress()
    if not truth:
        raise DataError("nothing to evaluate: no clip of a label that the model knows")
    report = ClassificationReport(
        tuple(labels), np.array(truth), np.stack(predictions).astype(np.float64)
    )
    shown = tuple(_mistake(sample, probabilities, labels) for probabilities, sample in worst)
    return Evaluation(report, shown, views, statistics.median(times), predictor.name)


def video_samples(
    examples: Iterable[Example],
    spec: ClipSpec,
    *,
    windows: int | None = None,
    crops: int = 1,
    on_problem: Callable[[str], None] = lambda line: None,
) -> Iterator[Sample]:
    """Examples as samples of `windows` windows (None: as many as cover the example) and `crops`.

    `on_problem` gets a line for each skipped example: videos that can't be decoded, labels that
    the model does not have. Raises CheckpointError for several crops if the model's input is not
    cropped.
    """
    if crops > 1 and spec.fit != "crop":
        raise CheckpointError(
            f"model {spec.model} sees the whole frame ({spec.fit}), so there are no crops; "
            f"use --views {windows or 10}x1"
        )
    for example in examples:
        if example.label not in spec.labels:
            on_problem(f"{example.path}: the model has no label {example.label}; skipped")
            continue
        try:
            views = read_views(example, spec, windows, CROP_POSITIONS[crops])
        except SourceError as error:
            on_problem(str(error))
            continue
        yield Sample(
            views,
            example.label,
            str(example.path),
            example.start_s or 0.0,
            example.end_s,
            partial(_load_frames, example),
        )


def _mistake(sample: Sample, probabilities: np.ndarray, labels: Sequence[str]) -> Mistake:
    frames, fps = sample.load_frames()
    return Mistake(
        name=sample.name,
        start_s=sample.start_s,
        end_s=sample.start_s + len(frames) / fps if sample.end_s is None else sample.end_s,
        truth=sample.label,
        predicted=labels[int(probabilities.argmax())],
        probability=float(probabilities.max()),
        video=encode(frames, fps),
    )


def _load_frames(example: Example) -> tuple[np.ndarray, float]:
    """The frames of a mistake's video, uint8 RGB (N, H, W, 3), small and few, and their fps."""
    known = frame_timestamps(example.path)
    start_s = example.start_s or 0.0
    end_s = min(known[-1] if example.end_s is None else example.end_s, start_s + _MAX_MISTAKE_S)
    wanted = np.arange(start_s, end_s + 1e-6, 1 / _MISTAKE_FPS)
    indices = np.searchsorted(known, wanted).clip(0, len(known) - 1).tolist()

    def downscale(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        scale = min(1.0, _MAX_MISTAKE_PIXELS / max(height, width))
        return resize(frame, max(2, round(width * scale)), max(2, round(height * scale)))

    read = dict(read_frames(example.path, set(indices), downscale))
    return np.stack([read[index] for index in indices]), _MISTAKE_FPS
