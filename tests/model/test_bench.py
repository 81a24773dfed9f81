from __future__ import annotations

from functools import partial

import numpy as np

from model.bench import BenchResult, compare, fastest, interleaved_medians
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig


def test_every_supported_configuration_is_compared_with_fp32(trained: TrainedModel) -> None:
    sample = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    progress: list[str] = []
    results = compare(trained, sample, batch=4, rounds=1, on_progress=progress.append)
    assert results[0].name.startswith("torch fp32")
    assert (results[0].agreement, results[0].max_difference) == (1.0, 0.0)
    assert len({result.name for result in results}) == len(results) > 1
    assert all(result.median_s > 0 for result in results)
    assert "torch fp32" in progress


def test_fastest_ignores_results_that_disagree_with_fp32() -> None:
    results = [
        BenchResult("exact", InferenceConfig(), 3.0, 1.0, 0.0),
        BenchResult("good", InferenceConfig(), 2.0, 0.99, 0.1),
        BenchResult("wrong", InferenceConfig(), 1.0, 0.5, 0.9),
    ]
    assert fastest(results).name == "good"


def test_each_round_runs_all_candidates() -> None:
    order: list[str] = []
    runs = {name: partial(order.append, name) for name in ("a", "b")}
    medians = interleaved_medians(runs, 2)
    assert order == ["a", "a", "b", "b"] * 2
    assert set(medians) == {"a", "b"}
