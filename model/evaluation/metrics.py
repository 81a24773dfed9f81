"""Classification metrics: pure functions of the truth and the predicted probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_SUM_TOLERANCE = 0.01  # rounding of half precision with hundreds of labels is smaller


def wilson_interval(fraction: float, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion, if `fraction` of `count` clips are correct.

    Wilson, "Probable inference", 1927: valid for few clips, and for 0 % and 100 %.
    """
    z = 1.96
    center = fraction + z * z / (2 * count)
    margin = z * math.sqrt(fraction * (1 - fraction) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (center - margin) / scale), min(1.0, (center + margin) / scale)


@dataclass(frozen=True, eq=False)  # eq=False: equality of arrays is ambiguous
class ClassificationReport:
    """Predictions for labeled clips.

    The predicted label is the most probable one; of equal ones the first. All metrics are
    fractions from 0 to 1. Raises ValueError for arrays of the wrong shape, type or range, and for
    no clips.
    """

    labels: tuple[str, ...]
    truth: np.ndarray  # int, (N,): indices in `labels`
    probabilities: np.ndarray  # float, (N, labels); each row sums to 1

    def __post_init__(self) -> None:
        truth, probabilities, count = self.truth, self.probabilities, len(self.labels)
        if count == 0 or len(set(self.labels)) < count:
            raise ValueError(
                f"labels must be one or more different names, got {self.labels!r:.200}"
            )
        if truth.ndim != 1 or len(truth) == 0 or not np.issubdtype(truth.dtype, np.integer):
            raise ValueError(
                f"truth must be integers (N,), one for each clip and at least one, "
                f"got {truth.dtype} {truth.shape}"
            )
        if truth.min() < 0 or truth.max() >= count:
            raise ValueError(
                f"truth must be indices of the {count} labels, 0 to {count - 1}, "
                f"got {truth.min()} to {truth.max()}"
            )
        if probabilities.shape != (len(truth), count):
            raise ValueError(
                f"probabilities must be (clips, labels), here {(len(truth), count)}, "
                f"got {probabilities.shape}"
            )
        if not np.issubdtype(probabilities.dtype, np.floating):
            raise ValueError(f"probabilities must be floats, got {probabilities.dtype}")
        sums = probabilities.sum(axis=1, dtype=np.float64)
        # `not all(valid)` instead of `any(invalid)`, which NaN would pass.
        if not (probabilities.min() >= 0 and np.all(np.abs(sums - 1) <= _SUM_TOLERANCE)):
            raise ValueError(
                "probabilities must be 0 or more and sum to 1 for each clip; "
                "give the softmax of logits, not logits"
            )

    @cached_property
    def predictions(self) -> np.ndarray:
        """The index of each clip's predicted label, int (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confusion(self) -> np.ndarray:
        """The confusion matrix, clips as int (labels, labels): rows are the truth."""
        count = len(self.labels)
        pairs = self.truth.astype(np.int64) * count + self.predictions
        return np.bincount(pairs, minlength=count * count).reshape(count, count)

    def top(self, k: int) -> float:
        """Top-k accuracy: the fraction of clips whose truth is among the k most probable labels."""
        if k < 1:
            raise ValueError(f"top k needs k of 1 or more, got {k}")
        # Stable, so that the first of equal ones counts, as in `predictions`.
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float((order == self.truth[:, None]).any(axis=1).mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the top-1 accuracy."""
        return wilson_interval(self.top(1), len(self.truth))

    @property
    def mean_class_accuracy(self) -> float:
        """The mean of `recall`: each label has the same weight."""
        return float(np.mean(list(self.recall().values())))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that occur as truth or as prediction.

        A label without true positives counts as 0, also if its precision is 0 / 0 because it was
        never predicted; scikit-learn's f1_score(average="macro", zero_division=0).
        """
        totals = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)  # 2 TP + FP + FN
        occurring = totals > 0
        return float(np.mean(2 * np.diag(self.confusion)[occurring] / totals[occurring]))

    def recall(self) -> dict[str, float]:
        """The recall of each label that has clips."""
        return self._true_positive_rates(self.confusion.sum(axis=1))

    def precision(self) -> dict[str, float]:
        """The precision of each label that was predicted."""
        return self._true_positive_rates(self.confusion.sum(axis=0))

    def mistakes(self, count: int) -> list[tuple[str, str, int]]:
        """The most frequent confusions as (truth, predicted, clips)."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [np.unravel_index(index, wrong.shape) for index in order]
        return [(self.labels[t], self.labels[p], int(wrong[t, p])) for t, p in pairs if wrong[t, p]]

    def calibration_error(self, bins: int = 15) -> float:
        """The expected calibration error (ECE) of Guo et al. 2017 (arXiv 1706.04599); 0 is best.

        Bins have equal width in the prediction's probability, and each includes its upper edge.
        """
        confidence, accuracy, fraction = self.reliability(bins)
        return float(np.sum(fraction * np.abs(accuracy - confidence)))

    def reliability(self, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean confidence, accuracy and fraction of all clips, of each bin that is not empty.

        Three float arrays of one length, from low to high confidence.
        """
        if bins < 1:
            raise ValueError(f"reliability needs 1 bin or more, got {bins}")
        inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
        bin_of_clip = np.digitize(self._confidence, inner_edges, right=True)
        clips = np.bincount(bin_of_clip, minlength=bins)
        filled = clips > 0
        confidence = np.bincount(bin_of_clip, self._confidence, bins)[filled] / clips[filled]
        correct = self.predictions == self.truth
        accuracy = np.bincount(bin_of_clip, correct, bins)[filled] / clips[filled]
        return confidence, accuracy, clips[filled] / len(self.truth)

    @property
    def log_loss(self) -> float:
        """The mean negative natural logarithm of the truth's probability.

        Probabilities are clipped to their type's machine epsilon (1.2e-7 for float32), as in
        scikit-learn, so that one certain mistake does not make the loss infinite.
        """
        eps = float(np.finfo(self.probabilities.dtype).eps)
        of_truth = self.probabilities[np.arange(len(self.truth)), self.truth].astype(np.float64)
        return float(-np.mean(np.log(np.clip(of_truth, eps, 1))))

    def as_dict(self) -> dict[str, Any]:
        """All metrics, for JSON.

        `top5` exists only with 6 labels or more: with fewer it is 1 for any model. A label's
        recall is None without clips, its precision None if it was never predicted.
        """
        recall, precision = self.recall(), self.precision()
        support = self.confusion.sum(axis=1).tolist()
        return {
            "clips": len(self.truth),
            "top1": self.top(1),
            "top1_interval": list(self.accuracy_interval),
            **({"top5": self.top(5)} if len(self.labels) > 5 else {}),
            "mean_class_accuracy": self.mean_class_accuracy,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error(),
            "log_loss": self.log_loss,
            "per_label": {
                label: {
                    "support": clips,
                    "recall": recall.get(label),
                    "precision": precision.get(label),
                }
                for label, clips in zip(self.labels, support, strict=True)
            },
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }

    @cached_property
    def _confidence(self) -> np.ndarray:
        """The probability of each clip's predicted label, float64 (N,)."""
        return np.asarray(self.probabilities.max(axis=1), np.float64)

    def _true_positive_rates(self, totals: Iterable[int]) -> dict[str, float]:
        """Each label's true positives divided by its total, for labels whose total is not 0."""
        true_positives = np.diag(self.confusion)
        return {
            label: float(hits / total)
            for label, hits, total in zip(self.labels, true_positives, totals, strict=True)
            if total
        }
