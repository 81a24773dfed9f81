"""Accuracy, confusions and calibration, against values counted by hand and plain loops."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from model.evaluation.metrics import ClassificationReport, wilson_interval

# Five clips: a a b b c. The predictions are a b b b a, with 0.5 0.6 0.7 0.8 0.9.
BY_HAND = ClassificationReport(
    ("a", "b", "c"),
    np.array([0, 0, 1, 1, 2]),
    np.array([[0.5, 0.3, 0.2], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.9, 0.1, 0]]),
)


def random_report(seed: int, labels: int = 7, clips: int = 200) -> ClassificationReport:
    """Predictions that are mostly right; the last label has no clips."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels - 1, clips)
    logits = rng.normal(size=(clips, labels)) + 1.5 * np.eye(labels)[truth]
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return ClassificationReport(
        tuple(f"label {index}" for index in range(labels)), truth, probabilities
    )


def test_confusion_has_the_truth_in_rows() -> None:
    assert BY_HAND.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_metrics_match_values_counted_by_hand() -> None:
    assert [BY_HAND.top(k) for k in (1, 2, 3, 9)] == [0.6, 0.8, 1.0, 1.0]
    assert BY_HAND.recall() == {"a": 0.5, "b": 1.0, "c": 0.0}
    assert BY_HAND.precision() == {"a": 0.5, "b": pytest.approx(2 / 3)}
    assert BY_HAND.mean_class_accuracy == pytest.approx(0.5)
    # F1 of a is 0.5, of b 0.8, of c 0 because it was never predicted.
    assert BY_HAND.macro_f1 == pytest.approx(1.3 / 3)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    expected = -(math.log(0.5 * 0.3 * 0.7 * 0.8) + math.log(np.finfo(np.float64).eps)) / 5
    assert BY_HAND.log_loss == pytest.approx(expected)


def test_calibration_error_matches_values_counted_by_hand() -> None:
    # With two bins, 0.5 itself is in the lower one.
    confidence, accuracy, fraction = BY_HAND.reliability(2)
    assert confidence == pytest.approx([0.5, 0.75])
    assert accuracy == pytest.approx([1.0, 0.5])
    assert fraction == pytest.approx([0.2, 0.8])
    assert BY_HAND.calibration_error(2) == pytest.approx(0.2 * 0.5 + 0.8 * 0.25)
    assert BY_HAND.calibration_error(1) == pytest.approx(abs(0.7 - 0.6))


def test_mistakes_are_sorted_by_number_and_by_confidence() -> None:
    assert BY_HAND.mistakes(9) == [("a", "b", 1), ("c", "a", 1)]
    assert BY_HAND.mistakes(1) == [("a", "b", 1)]
    assert BY_HAND.mistakes(0) == []


def test_first_of_equally_probable_labels_is_predicted() -> None:
    report = ClassificationReport(("a", "b", "c"), np.array([1, 0]), np.full((2, 3), 1 / 3))
    assert report.predictions.tolist() == [0, 0]
    assert (report.top(1), report.top(2)) == (0.5, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_plain_loops(seed: int) -> None:
    report = random_report(seed)
    labels = range(len(report.labels))
    rows = report.probabilities.tolist()
    pairs = [(t, row.index(max(row))) for t, row in zip(report.truth.tolist(), rows, strict=True)]
    assert report.confusion.tolist() == [[pairs.count((t, a)) for a in labels] for t in labels]
    f1, recalls = [], []
    for label in labels:
        hits = pairs.count((label, label))
        truths = sum(t == label for t, _ in pairs)
        predicted = sum(a == label for _, a in pairs)
        if truths:
            recalls.append(hits / truths)
        if truths or predicted:
            precision, recall = hits / predicted if predicted else 0, hits / truths if truths else 0
            f1.append(2 * precision * recall / (precision + recall) if hits else 0)
    assert report.mean_class_accuracy == pytest.approx(sum(recalls) / len(recalls))
    assert report.macro_f1 == pytest.approx(sum(f1) / len(f1))
    for k in (1, 3, 5):
        in_top_k = [
            t in sorted(labels, key=lambda a: -row[a])[:k]
            for (t, _), row in zip(pairs, rows, strict=True)
        ]
        assert report.top(k) == pytest.approx(sum(in_top_k) / len(in_top_k))
    losses = [-math.log(row[t]) for (t, _), row in zip(pairs, rows, strict=True)]
    assert report.log_loss == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_agrees_with_a_plain_loop(seed: int) -> None:
    report = random_report(seed)
    error, bins = 0.0, 15
    for number in range(bins):
        inside = [
            (max(row), row.index(max(row)) == t)
            for t, row in zip(report.truth.tolist(), report.probabilities.tolist(), strict=True)
            if number / bins < max(row) <= (number + 1) / bins
        ]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            error += len(inside) / len(report.truth) * abs(accuracy - confidence)
    assert report.calibration_error() == pytest.approx(error)
    assert report.reliability()[2].sum() == pytest.approx(1)


def test_metrics_are_plain_json() -> None:
    numbers = json.loads(json.dumps(BY_HAND.as_dict(), allow_nan=False))
    assert numbers["clips"] == 5
    assert numbers["top1"] == 0.6
    assert numbers["per_label"]["b"] == {
        "support": 2,
        "recall": 1.0,
        "precision": pytest.approx(2 / 3),
    }
    assert numbers["per_label"]["c"] == {"support": 1, "recall": 0.0, "precision": None}
    assert numbers["confusion"] == BY_HAND.confusion.tolist()


@pytest.mark.parametrize(("labels", "has_top5"), [(5, False), (6, True)])
def test_top5_is_omitted_with_five_labels_or_fewer(labels: int, has_top5: bool) -> None:
    assert ("top5" in random_report(0, labels).as_dict()) is has_top5


def test_label_without_clips_is_not_in_the_mean() -> None:
    report = ClassificationReport(("a", "b"), np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert report.recall() == {"a": 0.5}
    assert report.mean_class_accuracy == 0.5
    assert report.as_dict()["per_label"]["b"] == {"support": 0, "recall": None, "precision": 0}


def test_half_precision_probabilities_are_accepted() -> None:
    report = random_report(0, labels=100, clips=50)
    half = ClassificationReport(
        report.labels, report.truth, report.probabilities.astype(np.float16)
    )
    assert half.log_loss == pytest.approx(report.log_loss, rel=0.05)


def test_perfect_predictions_give_1_and_0() -> None:
    report = ClassificationReport(("a", "b"), np.array([0, 1]), np.eye(2, dtype=np.float32))
    assert report.top(1) == report.mean_class_accuracy == report.macro_f1 == 1
    assert report.calibration_error() == report.log_loss == 0


TWO, FAIR = np.array([0, 1]), np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("labels", "truth", "probabilities", "reason"),
    [
        ((), TWO, FAIR, "labels must be one or more different names"),
        (("a", "a"), TWO, FAIR, "labels must be one or more different names"),
        (("a", "b"), TWO[:0], FAIR[:0], "at least one"),
        (("a", "b"), TWO.astype(float), FAIR, "truth must be integers"),
        (("a", "b"), TWO[None], FAIR, "truth must be integers"),
        (("a", "b"), TWO + 1, FAIR, "indices of the 2 labels, 0 to 1, got 1 to 2"),
        (("a", "b"), TWO - 1, FAIR, "indices of the 2 labels"),
        (("a", "b", "c"), TWO, FAIR, r"here \(2, 3\), got \(2, 2\)"),
        (("a", "b"), TWO, FAIR.astype(int), "probabilities must be floats"),
        (("a", "b"), TWO, FAIR * 3, "softmax of logits"),
        (("a", "b"), TWO, FAIR * np.nan, "softmax of logits"),
        (("a", "b"), TWO, np.array([[1.5, -0.5], [0.5, 0.5]]), "softmax of logits"),
    ],
)
def test_invalid_arrays_are_rejected(
    labels: tuple[str, ...], truth: np.ndarray, probabilities: np.ndarray, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ClassificationReport(labels, truth, probabilities)


def test_zero_bins_and_zero_k_are_rejected() -> None:
    with pytest.raises(ValueError, match="1 bin or more"):
        BY_HAND.reliability(0)
    with pytest.raises(ValueError, match="k of 1 or more"):
        BY_HAND.top(0)


def test_wilson_interval_is_wide_for_few_clips() -> None:
    # From a table of 95 % Wilson intervals.
    assert wilson_interval(1.0, 6) == pytest.approx((0.610, 1.0), abs=1e-3)
    assert wilson_interval(0.0, 10) == (0.0, pytest.approx(0.278, abs=1e-3))
    assert wilson_interval(0.5, 100) == pytest.approx((0.404, 0.596), abs=1e-3)
