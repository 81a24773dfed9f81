"""Temperatures: those that logits were made with are found again, and few clips don't carry far."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.calibration import COLDEST, HOTTEST, fit_temperature
from model.evaluation.metrics import Measured


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def drawn(
    temperature: float, *, clips: int = 8000, labels: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truth drawn from softmax(logits / temperature)."""
    numbers = np.random.default_rng(5)
    honest = numbers.normal(scale=2.0, size=(clips, labels))
    reached = softmax(honest).cumsum(axis=1) > numbers.random((clips, 1))
    return honest * temperature, reached.argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 1.8, 6.0])
def test_finds_the_temperature_that_truth_was_drawn_with(temperature: float) -> None:
    logits, truth = drawn(temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_explains_many_clips_better() -> None:
    logits, truth = drawn(2.5)
    fitted = fit_temperature(logits, truth)

    def loss(temperature: float) -> float:
        chosen = softmax(logits / temperature)[np.arange(len(truth)), truth]
        return float(-np.log(chosen).mean())

    grid = np.exp(np.linspace(np.log(COLDEST), np.log(HOTTEST), 300))
    assert loss(fitted) <= min(map(loss, grid)) + 1e-6


def test_makes_probabilities_mean_what_they_say() -> None:
    logits, truth = drawn(3.0)
    labels = tuple("abcdef")
    before = Measured(labels, truth, softmax(logits))
    after = Measured(labels, truth, softmax(logits / fit_temperature(logits, truth)))
    assert before.calibration_error() > 0.1
    assert after.calibration_error() < 0.02


def test_half_precision_and_any_offset_give_the_same() -> None:
    logits, truth = drawn(2.0, clips=2000)
    fitted = fit_temperature(logits, truth)
    assert fit_temperature(logits.astype(np.float16), truth) == pytest.approx(fitted, rel=1e-3)
    assert fit_temperature(logits + 1000, truth) == pytest.approx(fitted)


@pytest.mark.parametrize("lead", [0.5, 2.0, 8.0, 60.0, 2000.0])
def test_twenty_clips_that_are_all_right_do_not_make_it_certain(lead: float) -> None:
    truth = np.arange(20) % 4
    fitted = fit_temperature(lead * np.eye(4)[truth], truth)
    assert COLDEST * 2 < fitted <= 1.0 + 1e-9
    if lead == 2.0:
        # All right at 0.71 says that the model is too modest, but not that it never errs.
        assert 0.9 < softmax(lead * np.eye(4)[truth] / fitted).max() < 0.98


def test_more_clips_that_are_all_right_make_it_surer() -> None:
    fitted = [
        fit_temperature(2 * np.eye(4)[np.arange(clips) % 4], np.arange(clips) % 4)
        for clips in (1, 10, 100, 1000)
    ]
    assert fitted == sorted(fitted, reverse=True)
    assert fitted[0] > 0.8


def test_certain_mistakes_raise_it_as_far_as_it_goes() -> None:
    truth = np.arange(400) % 4
    assert fit_temperature(1000 * np.eye(4)[(truth + 1) % 4], truth) == pytest.approx(HOTTEST)


def test_without_anything_to_learn_from_it_is_1() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert fit_temperature(np.zeros((9, 3)), np.zeros(9, int)) == pytest.approx(1)
    assert fit_temperature(np.ones((9, 1)), np.zeros(9, int)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("logits", "truth", "reason"),
    [
        (np.zeros(3), np.zeros(3, int), r"logits must be \(N, labels\)"),
        (np.zeros((3, 2)), np.zeros(4, int), r"logits must be \(N, labels\)"),
        (np.zeros((3, 2)), np.full(3, 2), "integers from 0 to 1"),
        (np.zeros((3, 2)), np.zeros(3), "integers from 0 to 1"),
        (np.full((3, 2), np.inf), np.zeros(3, int), "logits must be finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    logits: np.ndarray, truth: np.ndarray, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_temperature(logits, truth)
