"""The temperature that makes a model's probabilities mean what they say."""

from __future__ import annotations

import math

import numpy as np

COLDEST, HOTTEST = 0.05, 20.0
_PRIOR_CLIPS = 4.0


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The T from 0.05 to 20 with which softmax(logits / T) explains the truth best.

    `logits` is float (N, labels), `truth` int (N,): clips that were not trained on. It minimises
    the negative log-likelihood of Guo et al. 2017 (arXiv 1706.04599), together with four clips
    more. These look like the average one, but their truth is drawn as the model itself says, so
    they alone would give T = 1. With hundreds of clips that makes no difference; with twenty that
    are all right it keeps T from running to 0, where every answer would be certain. It is the
    conjugate prior of 1/T (Diaconis and Ylvisaker 1979).

    Without clips T is 1. Raises ValueError for arrays that don't fit together.
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
            f"truth must be integers from 0 to {logits.shape[1] - 1}, the places of the labels, "
            f"got {truth.dtype} from {truth.min()} to {truth.max()}"
        )
    if not np.all(np.isfinite(logits)):
        raise ValueError("logits must be finite; the model answered inf or nan")
    # Below the largest, so that what is nearly certain is not lost in rounding.
    below = logits.astype(np.float64)
    below -= below.max(axis=1, keepdims=True)
    of_truth = below[np.arange(len(truth)), truth].sum()
    said = _expected(below, 1.0)

    def slope(temperature: float) -> float:
        """Of the loss, by 1/T. It only grows with 1/T, because the loss is convex in that."""
        expected = _expected(below, temperature)
        return float(expected - of_truth + _PRIOR_CLIPS / len(truth) * (expected - said))

    colder, hotter = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(50):  # halves that many times: to the last bits
        middle = (colder + hotter) / 2
        steepness = slope(math.exp(middle))
        if steepness == 0:
            return math.exp(middle)
        if steepness > 0:
            colder = middle
        else:
            hotter = middle
    return math.exp((colder + hotter) / 2)


def _expected(logits: np.ndarray, temperature: float) -> float:
    """The logits that softmax(logits / T) expects, summed over the clips.

    `logits` is (N, labels), and the largest of each clip is 0.
    """
    weights = np.exp(logits / temperature)
    return float(((weights * logits).sum(axis=1) / weights.sum(axis=1)).sum())
