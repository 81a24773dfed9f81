"""Plots are complete and have the right colors, for any labels and histories.

Warnings are errors, so each test also checks that matplotlib gave no warning.
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
import pytest
from PIL import Image

from model.evaluation import plots
from model.evaluation.metrics import ClassificationReport
from model.predictor import softmax

NAN = math.nan


def pixels(png: bytes) -> np.ndarray:
    """RGB, uint8 (H, W, 3); checks that the margin is empty, so that nothing is cut off."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    for edge in (image[:4], image[-4:], image[:, :4], image[:, -4:]):
        assert (edge == 255).all()
    return image


def make_report(*labels: str, clips: int = 60) -> ClassificationReport:
    """Mostly right predictions; the last of several labels has no clips."""
    count = len(labels)
    truth = np.arange(clips) % max(1, count - 1)
    logits = np.random.default_rng(1).normal(size=(clips, count)) + 2 * np.eye(count)[truth]
    return ClassificationReport(labels, truth, softmax(logits))


def has(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - color).max(axis=2) <= 4).any())


BLUE, ORANGE, GREEN, GRAY = (37, 99, 235), (234, 88, 12), (21, 128, 61), (228, 228, 231)


@pytest.mark.parametrize("count", [1, 2, 9, 21, 100, 130])
def test_confusion_matrix_is_complete_for_any_number_of_labels(count: int) -> None:
    labels = (f"moving something from here to place {index}" for index in range(count))
    height, width, _ = pixels(plots.confusion(make_report(*labels))).shape
    assert max(height, width) < 3200


def test_names_of_a_hundred_labels_do_not_overlap() -> None:
    height, _, _ = pixels(
        plots.confusion(make_report(*(f"l{index}" for index in range(100))))
    ).shape
    assert height / 100 / plots.DOTS_PER_INCH * 72 > 7.5 * 1.2  # points per row; letters have 7.5


def test_label_without_clips_has_a_gray_row() -> None:
    report = make_report("a", "b", "c")
    assert has(pixels(plots.confusion(report)), GRAY)


def test_rows_are_normalized() -> None:
    # b has only one clip, but it is right, like those of a: as dark.
    report = ClassificationReport(("a", "b"), np.array([0] * 99 + [1]), np.eye(2)[[0] * 99 + [1]])
    image = pixels(plots.confusion(report)).astype(int)
    darkest = np.argwhere(np.abs(image - (8, 48, 107)).max(axis=2) <= 2)
    spread = np.ptp(darkest, axis=0)
    assert min(spread) > 150


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("$x^2$", "$x^2$"),
        ("$\\frac$ costs $5", "$\\frac$ costs $5"),
        ("snake_case_{x}", "snake_case_{x}"),
        ("<b>&amp;", "<b>&amp;"),
        ("走路", None),  # depends on the installed fonts
        ("\N{WAVING HAND SIGN} wave", None),
        ("مشي", "مشي"),
        ("e\u0301te\u0301", "e\u0301te\u0301"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x00\x1b[31m", "□□[31m"),
        ("\udcff not UTF-8", "□ not UTF-8"),
        ("", ""),
        (" ", ""),
        ("W" * 500, f"{'W' * 14}…{'W' * 15}"),
        ("\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}", "□□"),
    ],
)
def test_any_text_can_be_a_label(label: str, shown: str | None) -> None:
    image = pixels(plots.confusion(make_report(label, "walk", "idle")))
    assert has(image, GRAY)  # "idle" has no clips
    assert shown is None or plots.short_label(label) == shown


def test_random_unicode_characters_can_be_in_labels() -> None:
    signs = random.Random(3).sample(range(0x110000), 600)
    labels = ["".join(map(chr, signs[start : start + 20])) for start in range(0, 600, 20)]
    image = pixels(plots.confusion(make_report(*labels)))
    assert has(image, GRAY)
    assert max(image.shape) < 3200


def test_characters_without_a_font_become_squares() -> None:
    assert plots.short_label("run \N{OLD PERSIAN SIGN A}") == "run \N{WHITE SQUARE}"
    assert plots.short_label("tab\there") == "tab here"
    assert plots.short_label("grüßen_$5") == "grüßen_$5"


def test_long_labels_are_shortened_in_the_middle() -> None:
    left = plots.short_label("pushing something from right to left")
    right = plots.short_label("pushing something from left to right")
    assert left != right
    assert right == "pushing someth…m left to right"
    assert len(right) <= 31
    assert plots.short_label("x" * 30) == "x" * 30
    assert plots.short_label("x" * 31) == f"{'x' * 14}…{'x' * 15}"


def test_reliability_diagram_is_drawn() -> None:
    image = pixels(plots.reliability(make_report("a", "b", "c", clips=300)))
    assert has(image, BLUE)


def test_reliability_diagram_of_perfect_predictions_is_drawn() -> None:
    for report in (
        ClassificationReport(("a", "b"), np.array([0, 1]), np.eye(2)),
        ClassificationReport(("a",), np.array([0]), np.ones((1, 1))),
    ):
        image = pixels(plots.reliability(report))
        assert has(image, BLUE)
        assert not has(image, ORANGE)  # no gap between accuracy and confidence


HISTORY = {
    "epoch": [1, 2, 3, 4],
    "train_loss": [2.0, 1.5, 1.2, 1.1],
    "val_loss": [NAN, 1.7, NAN, 1.4],
    "val_accuracy": [NAN, 0.5, NAN, 0.7],
    "val_balanced_accuracy": [NAN, 0.4, NAN, 0.65],
}


def test_curves_connect_over_epochs_without_validation() -> None:
    image = pixels(plots.curve(HISTORY))
    half = image.shape[1] // 2
    losses, accuracies = image[:, :half], image[:, half:]
    assert has(losses, BLUE)
    assert has(losses, ORANGE)
    assert has(accuracies, ORANGE)
    assert has(accuracies, GREEN)
    # The validation curve crosses epoch 3, which has no value.
    columns = np.flatnonzero(np.abs(accuracies.astype(int) - GREEN).max(axis=2).min(axis=0) <= 4)
    assert np.ptp(columns) > half / 3


@pytest.mark.parametrize(
    "history",
    [
        {key: values[1:2] for key, values in HISTORY.items()},  # one epoch
        {key: values[:1] for key, values in HISTORY.items()},  # one epoch without validation
        {key: [] for key in HISTORY},
        {"epoch": [1, 2], "train_loss": [0.5, 0.4]},
        {**HISTORY, "val_loss": [NAN] * 4, "train_loss": [math.inf, 1.0, 0.5, 0.2]},
        {key: values * 100 for key, values in HISTORY.items()} | {"epoch": list(range(400))},
        {"epoch": [1, 2], "train_loss": [0.0, 0.0]},
    ],
)
def test_history_of_any_length_is_drawn(history: dict[str, list[float]]) -> None:
    image = pixels(plots.curve(history))
    half = image.shape[1] // 2
    losses, accuracies = image[:, :half], image[:, half:]
    for part, color, key in (
        (losses, BLUE, "train_loss"),
        (losses, ORANGE, "val_loss"),
        (accuracies, ORANGE, "val_accuracy"),
        (accuracies, GREEN, "val_balanced_accuracy"),
    ):
        assert has(part, color) == any(map(math.isfinite, history.get(key, ()))), key


@pytest.mark.parametrize("history", [{}, {"train_loss": [1.0]}, {"epoch": [1], "val_loss": []}])
def test_invalid_history_is_rejected(history: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="history must have epoch, and lists of one length"):
        plots.curve(history)
