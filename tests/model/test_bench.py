from __future__ import annotations

import numpy as np

from model.bench import Row, best, compare, interleaved
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig


def test_every_way_that_this_machine_has_is_compared_with_fp32(trained: TrainedModel) -> None:
    sample = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    told: list[str] = []
    rows = compare(trained, sample, batch=4, rounds=1, progress=told.append)
    assert rows[0].name.startswith("torch fp32")
    assert (rows[0].agreement, rows[0].difference) == (1.0, 0.0)
    assert len({row.name for row in rows}) == len(rows) > 1
    assert all(row.median_s > 0 for row in rows)
    assert "torch fp32" in told


def test_the_fastest_is_chosen_among_those_that_agree() -> None:
    rows = [
        Row("exact", "fp32", InferenceConfig(), 3.0, 1.0, 0.0),
        Row("good", "bf16", InferenceConfig(), 2.0, 0.99, 0.1),
        Row("wrong", "int8", InferenceConfig(), 1.0, 0.5, 0.9),
    ]
    assert best(rows).name == "good"


def test_rounds_go_through_all_in_turn() -> None:
    order: list[str] = []
    medians = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "a", "b", "b"] * 2
    assert set(medians) == {"a", "b"}
