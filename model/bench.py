"""Which engine and precision is fastest for a model on this machine: `actionwatch bench`."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.predictor import Predictor
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig

_log = logging.getLogger(__name__)
# What is worth comparing, the exact one first. What a machine hasn't is left out.
CHOICES = (
    InferenceConfig(precision="fp32"),
    InferenceConfig(precision="bf16"),
    InferenceConfig(precision="fp16"),
    InferenceConfig(precision="int8"),
    InferenceConfig(engine="openvino", precision="fp32"),
    InferenceConfig(engine="openvino", precision="bf16"),
)


@dataclass(frozen=True)
class Row:
    """One way of running a model."""

    name: str
    precision: str
    choice: InferenceConfig
    median_s: float  # for the whole batch
    agreement: float  # share of the sample's clips that get the same label as in fp32
    difference: float  # the largest of the probabilities


def compare(
    model: TrainedModel,
    sample: np.ndarray,
    *,
    batch: int = 1,
    rounds: int = 9,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Row]:
    """Run a model in every way that this machine has. sample is uint8 (clips, T, H, W, 3).

    Timed side by side, the way that a watch would run them. The first row is fp32.
    Raises CheckpointError for a model that can't run.
    """
    found: dict[str, tuple[InferenceConfig, Predictor]] = {}
    for choice in CHOICES:
        progress(f"{choice.engine} {choice.precision}")
        try:
            predictor = Predictor(model, choice.model_copy(update={"batch": batch}))
        except (EngineError, CheckpointError) as error:
            if not found:  # a model that does not even run exactly
                raise
            _log.info("left out: %s", error)
            continue
        found[predictor.name] = choice, predictor
    progress("")
    clips = np.concatenate([sample] * -(-batch // len(sample)))[:batch]
    runs = {name: _runner(predictor, clips) for name, (_, predictor) in found.items()}
    medians = interleaved(runs, rounds)
    answers = {name: predictor.predict(sample) for name, (_, predictor) in found.items()}
    exact = next(iter(answers.values()))
    return [
        Row(
            name,
            choice.precision,
            choice,
            medians[name],
            float((answers[name].argmax(axis=1) == exact.argmax(axis=1)).mean()),
            float(np.abs(answers[name] - exact).max()),
        )
        for name, (choice, _) in found.items()
    ]


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, all of them in each round.

    Before each timed run there is one that is not: the others left the caches full of their
    weights and their threads spinning, which in a watch nobody does.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in times.items()}


def best(rows: Iterable[Row], *, agreeing: float = 0.98) -> Row:
    """The fastest row whose answers agree with fp32."""
    return min((row for row in rows if row.agreement >= agreeing), key=lambda row: row.median_s)


def _runner(predictor: Predictor, clips: np.ndarray) -> Callable[[], object]:
    return lambda: predictor.predict(clips)
