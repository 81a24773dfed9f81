"""Temperature fitting recovers known temperatures, and the prior limits it for few clips."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature
from model.evaluation.metrics import ClassificationReport


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def sample_logits(
    temperature: float, *, clips: int = 8000, labels: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truth sampled from softmax(logits / temperature)."""
    rng = np.random.default_rng(5)
    calibrated = rng.normal(scale=2.0, size=(clips, labels))
    above = softmax(calibrated).cumsum(axis=1) > rng.random((clips, 1))
    return calibrated * temperature, above.argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 1.8, 6.0])
def test_recovers_the_true_temperature(temperature: float) -> None:
    logits, truth = sample_logits(temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_minimizes_the_loss() -> None:
    logits, truth = sample_logits(2.5)
    fitted = fit_temperature(logits, truth)

    def loss(temperature: float) -> float:
        of_truth = softmax(logits / temperature)[np.arange(len(truth)), truth]
        return float(-np.log(of_truth).mean())

    grid = np.exp(np.linspace(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE), 300))
    assert loss(fitted) <= min(map(loss, grid)) + 1e-6


def test_fitted_temperature_reduces_the_calibration_error() -> None:
    logits, truth = sample_logits(3.0)
    labels = tuple("abcdef")
    before = ClassificationReport(labels, truth, softmax(logits))
    after = ClassificationReport(labels, truth, softmax(logits / fit_temperature(logits, truth)))
    assert before.calibration_error() > 0.1
    assert after.calibration_error() < 0.02


def test_half_precision_and_offset_do_not_change_the_result() -> None:
    logits, truth = sample_logits(2.0, clips=2000)
    fitted = fit_temperature(logits, truth)
    assert fit_temperature(logits.astype(np.float16), truth) == pytest.approx(fitted, rel=1e-3)
    assert fit_temperature(logits + 1000, truth) == pytest.approx(fitted)


@pytest.mark.parametrize("margin", [0.5, 2.0, 8.0, 60.0, 2000.0])
def test_twenty_correct_clips_do_not_give_an_extreme_temperature(margin: float) -> None:
    truth = np.arange(20) % 4
    fitted = fit_temperature(margin * np.eye(4)[truth], truth)
    assert MIN_TEMPERATURE * 2 < fitted <= 1.0 + 1e-9
    if margin == 2.0:
        # All correct at a confidence of 0.71: underconfident, but not certain.
        assert 0.9 < softmax(margin * np.eye(4)[truth] / fitted).max() < 0.98


def test_more_correct_clips_lower_the_temperature() -> None:
    fitted = [
        fit_temperature(2 * np.eye(4)[np.arange(clips) % 4], np.arange(clips) % 4)
        for clips in (1, 10, 100, 1000)
    ]
    assert fitted == sorted(fitted, reverse=True)
    assert fitted[0] > 0.8


def test_confident_mistakes_give_the_maximum_temperature() -> None:
    truth = np.arange(400) % 4
    assert fit_temperature(1000 * np.eye(4)[(truth + 1) % 4], truth) == pytest.approx(
        MAX_TEMPERATURE
    )


def test_uninformative_data_gives_1() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert fit_temperature(np.zeros((9, 3)), np.zeros(9, int)) == pytest.approx(1)
    assert fit_temperature(np.ones((9, 1)), np.zeros(9, int)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("logits", "truth", "reason"),
    [
        (np.zeros(3), np.zeros(3, int), r"logits must be \(N, labels\)"),
        (np.zeros((3, 2)), np.zeros(4, int), r"logits must be \(N, labels\)"),
        (np.zeros((3, 2)), np.full(3, 2), "label indices, integers from 0 to 1"),
        (np.zeros((3, 2)), np.zeros(3), "label indices, integers from 0 to 1"),
        (np.full((3, 2), np.inf), np.zeros(3, int), "logits must be finite"),
    ],
)
def test_invalid_arrays_are_rejected(logits: np.ndarray, truth: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_temperature(logits, truth)
