"""Temperature scaling, which calibrates a model's probabilities."""

from __future__ import annotations

import math

import numpy as np

from model.predictor import softmax

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_PRIOR_CLIPS = 4.0


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The T from 0.05 to 20 that minimizes the cross-entropy of softmax(logits / T).

    `logits` is float (N, labels), `truth` int (N,), of clips that were not trained on. The loss is
    that of Guo et al. 2017 (arXiv 1706.04599) plus four prior clips: average clips whose truth
    follows the model's own probabilities, so they alone would give T = 1. With hundreds of clips
    they make no difference; with twenty correct clips they keep T away from 0, where every
    prediction would be certain. This is the conjugate prior of 1/T (Diaconis and Ylvisaker 1979).

    Without clips T is 1. Raises ValueError for arrays of the wrong shape, type or range.
    """
    if logits.ndim != 2 or truth.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be (N, labels) and truth (N,), got {logits.shape} and {truth.shape}"
        )
    if len(truth) == 0:
        return 1.0
    if not np.issubdtype(truth.dtype, np.integer) or not (
        truth.min() >= 0 and truth.max() < logits.shape[1]
    ):
        raise ValueError(
            f"truth must be label indices, integers from 0 to {logits.shape[1] - 1}, "
            f"got {truth.dtype} from {truth.min()} to {truth.max()}"
        )
    if not np.all(np.isfinite(logits)):
        raise ValueError("logits must be finite, got NaN or inf")
    # Relative to the largest logit, so that tiny probabilities are not lost in rounding.
    relative = logits.astype(np.float64)
    relative -= relative.max(axis=1, keepdims=True)
    of_truth = relative[np.arange(len(truth)), truth].sum()
    of_prior = _expected(relative, 1.0)

    def slope(temperature: float) -> float:
        """The loss's derivative by 1/T, which increases with 1/T because the loss is convex."""
        expected = _expected(relative, temperature)
        return float(expected - of_truth + _PRIOR_CLIPS / len(truth) * (expected - of_prior))

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(50):  # bisection to float64 precision
        middle = (low + high) / 2
        steepness = slope(math.exp(middle))
        if steepness == 0:
            return math.exp(middle)
        if steepness > 0:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def _expected(logits: np.ndarray, temperature: float) -> float:
    """The expected logit under softmax(logits / T), summed over the clips."""
    return float((softmax(logits / temperature) * logits).sum())
