"""How good a model's answers to labelled clips are: pure functions of truth and probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_SUM_TOLERANCE = 0.01  # half precision and hundreds of labels miss 1 by less


def likely(share: float, count: int) -> tuple[float, float]:
    """Between what the true share is, 19 times of 20, when of `count` clips this share was right.

    Wilson, "Probable inference", 1927: sensible for few clips, and where all were right, too.
    """
    z = 1.96
    middle = share + z * z / (2 * count)
    off = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    whole = 1 + z * z / count
    return max(0.0, (middle - off) / whole), min(1.0, (middle + off) / whole)


@dataclass(frozen=True, eq=False)  # eq=False: equality of arrays is ambiguous
class Measured:
    """A model's answers to labelled clips.

    The answer to a clip is its most probable label; of equal ones the first. All shares are from
    0 to 1. Raises ValueError for arrays that don't fit together, and for no clips at all.
    """

    labels: tuple[str, ...]
    truth: np.ndarray  # int, (N,): places in `labels`
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
                f"truth must be places among the {count} labels, 0 to {count - 1}, "
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
        # "Not all right" instead of "any wrong", which nan would pass.
        if not (probabilities.min() >= 0 and np.all(np.abs(sums - 1) <= _SUM_TOLERANCE)):
            raise ValueError(
                "probabilities must be 0 or more and sum to 1 for each clip; "
                "give the softmax of logits, not logits"
            )

    @cached_property
    def answers(self) -> np.ndarray:
        """The label that each clip was given, int (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confusion(self) -> np.ndarray:
        """Clips by truth and answer, int (labels, labels): rows are the truth."""
        count = len(self.labels)
        pairs = self.truth.astype(np.int64) * count + self.answers
        return np.bincount(pairs, minlength=count * count).reshape(count, count)

    def top(self, k: int) -> float:
        """The share of clips whose truth is among the `k` most probable labels."""
        if k < 1:
            raise ValueError(f"top k wants k of 1 or more, got {k}")
        # Stable, so that of equal ones the first counts, as in `answers`.
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float((order == self.truth[:, None]).any(axis=1).mean())

    @property
    def likely(self) -> tuple[float, float]:
        """Between what, 19 times of 20, the share of right answers is of other clips like these."""
        return likely(self.top(1), len(self.truth))

    @property
    def mean_class_accuracy(self) -> float:
        """The mean of `recall`, in which a rare label counts as much as a common one."""
        return float(np.mean(list(self.recall().values())))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that occur as truth or as answer.

        A label that was never named rightly counts as 0, also where its precision is 0 / 0
        because it was never an answer; scikit-learn's f1_score(average="macro", zero_division=0).
        """
        named = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)  # both halves of 2 TP
        occurring = named > 0
        return float(np.mean(2 * np.diag(self.confusion)[occurring] / named[occurring]))

    def recall(self) -> dict[str, float]:
        """The share of each label's clips that were named rightly; of labels that have clips."""
        return self._shares_of(self.confusion.sum(axis=1))

    def precision(self) -> dict[str, float]:
        """The share of each answer that was right; of labels that were an answer."""
        return self._shares_of(self.confusion.sum(axis=0))

    def mistakes(self, count: int) -> list[tuple[str, str, int]]:
        """The commonest (truth, answer, clips), most first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [np.unravel_index(index, wrong.shape) for index in order]
        return [(self.labels[t], self.labels[a], int(wrong[t, a])) for t, a in pairs if wrong[t, a]]

    def calibration_error(self, bins: int = 15) -> float:
        """How far confidence is from accuracy, on average over the clips; 0 is perfect.

        The ECE of Guo et al. 2017 (arXiv 1706.04599): bins of equal width by the probability of
        the answer, each including its upper edge.
        """
        confidence, accuracy, share = self.reliability(bins)
        return float(np.sum(share * np.abs(accuracy - confidence)))

    def reliability(self, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean confidence, accuracy and share of all clips, of each bin that holds any.

        Three float arrays of one length, from low to high confidence.
        """
        if bins < 1:
            raise ValueError(f"reliability wants 1 bin or more, got {bins}")
        inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
        places = np.digitize(self._confidence, inner_edges, right=True)
        clips = np.bincount(places, minlength=bins)
        held = clips > 0
        confidence = np.bincount(places, self._confidence, bins)[held] / clips[held]
        accuracy = np.bincount(places, self.answers == self.truth, bins)[held] / clips[held]
        return confidence, accuracy, clips[held] / len(self.truth)

    @property
    def log_loss(self) -> float:
        """The mean negative natural logarithm of the truth's probability.

        No probability counts as less than its type's machine epsilon (1.2e-7 for float32), as in
        scikit-learn, so that one certain mistake does not make it infinite.
        """
        least = float(np.finfo(self.probabilities.dtype).eps)
        of_truth = self.probabilities[np.arange(len(self.truth)), self.truth].astype(np.float64)
        return float(-np.mean(np.log(np.clip(of_truth, least, 1))))

    def numbers(self) -> dict[str, Any]:
        """All of it, for JSON.

        `top5` is there with 6 labels or more only: with fewer it is 1 for any model. A label's
        recall is None where it has no clips, its precision where it was never an answer.
        """
        recall, precision = self.recall(), self.precision()
        support = self.confusion.sum(axis=1).tolist()
        return {
            "clips": len(self.truth),
            "top1": self.top(1),
            "top1_likely": list(self.likely),
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
        """The probability of each clip's answer, float64 (N,)."""
        return np.asarray(self.probabilities.max(axis=1), np.float64)

    def _shares_of(self, totals: Iterable[int]) -> dict[str, float]:
        """What was named rightly of each label, as a share of its total where there is any."""
        right = np.diag(self.confusion)
        return {
            label: float(hits / total)
            for label, hits, total in zip(self.labels, right, totals, strict=True)
            if total
        }
