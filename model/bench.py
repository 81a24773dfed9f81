"""Compare engines and precisions of a model on this machine: `actionwatch bench`."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from model.predictor import Predictor
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig
from stream.runtime.errors import UserError

_MIN_AGREEMENT = 0.98  # with the top-1 labels of fp32
_log = logging.getLogger(__name__)
# The exact configuration first: it is the reference. Unavailable ones are skipped.
BENCH_CONFIGS = (
    InferenceConfig(precision="fp32"),
    InferenceConfig(precision="bf16"),
    InferenceConfig(precision="fp16"),
    InferenceConfig(precision="int8"),
    InferenceConfig(engine="openvino", precision="fp32"),
    InferenceConfig(engine="openvino", precision="bf16"),
)


@dataclass(frozen=True)
class BenchResult:
    """Speed and accuracy of one configuration."""

    name: str
    config: InferenceConfig
    median_s: float  # for the whole batch
    agreement: float  # fraction of clips whose top-1 label equals that of fp32
    max_difference: float  # of the probabilities


def compare(
    model: TrainedModel,
    sample: np.ndarray,
    *,
    batch: int = 1,
    rounds: int = 9,
    on_progress: Callable[[str], None] = lambda name: None,
) -> list[BenchResult]:
    """Benchmark every configuration that this machine supports; the first result is fp32.

    sample is uint8 (clips, T, H, W, 3). Runs are interleaved, so that all see the same load.
    Raises CheckpointError for a model that can't run.
    """
    predictors: dict[str, tuple[InferenceConfig, Predictor]] = {}
    for config in BENCH_CONFIGS:
        on_progress(f"{config.engine} {config.precision}")
        try:
            predictor = Predictor(model, config.model_copy(update={"max_batch_size": batch}))
        except UserError as error:
            if not predictors:  # the fp32 reference fails
                raise
            _log.info("skipped: %s", error)
            continue
        predictors[predictor.name] = config, predictor
    on_progress("")
    clips = np.concatenate([sample] * -(-batch // len(sample)))[:batch]
    runs = {name: partial(predictor.predict, clips) for name, (_, predictor) in predictors.items()}
    medians = interleaved_medians(runs, rounds)
    scores = {name: predictor.predict(sample) for name, (_, predictor) in predictors.items()}
    reference = next(iter(scores.values()))
    return [
        BenchResult(
            name,
            config,
            medians[name],
            float((scores[name].argmax(axis=1) == reference.argmax(axis=1)).mean()),
            float(np.abs(scores[name] - reference).max()),
        )
        for name, (config, _) in predictors.items()
    ]


def interleaved_medians(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each run; every round times all of them.

    An untimed run precedes each timed one: the previous candidate leaves its weights in the caches
    and its threads spinning, which does not happen in production.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(durations) for name, durations in times.items()}


def fastest(results: Iterable[BenchResult]) -> BenchResult:
    """The fastest configuration whose top-1 labels agree with fp32."""
    agreeing = (result for result in results if result.agreement >= _MIN_AGREEMENT)
    return min(agreeing, key=lambda result: result.median_s)
