"""Pictures: whole, in the colours meant, whatever labels and histories look like.

Warnings are errors, so each test also says that matplotlib found nothing to complain of.
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
import pytest
from PIL import Image

from model.evaluation import plots
from model.evaluation.metrics import Measured

NAN = math.nan


def pixels(png: bytes) -> np.ndarray:
    """RGB, uint8 (H, W, 3); says as well that the margin is empty: nothing is cut off."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    for edge in (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:]):
        assert (edge == 255).all()
    return picture


def answers(*labels: str, clips: int = 60) -> Measured:
    """Most of them right; the last label has no clips where there are several."""
    count = len(labels)
    truth = np.arange(clips) % max(1, count - 1)
    logits = np.random.default_rng(1).normal(size=(clips, count)) + 2 * np.eye(count)[truth]
    weights = np.exp(logits)
    return Measured(labels, truth, weights / weights.sum(axis=1, keepdims=True))


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(axis=2) <= 4).any())


BLUE, ORANGE, GREEN, GREY = (37, 99, 235), (234, 88, 12), (21, 128, 61), (228, 228, 231)


@pytest.mark.parametrize("count", [1, 2, 9, 21, 100, 130])
def test_confusions_of_any_number_of_labels_are_drawn_whole(count: int) -> None:
    labels = (f"moving something from here to place {place}" for place in range(count))
    height, width, _ = pixels(plots.confusion(answers(*labels))).shape
    assert max(height, width) < 3200


def test_names_of_a_hundred_labels_have_room() -> None:
    height, _, _ = pixels(plots.confusion(answers(*(f"l{place}" for place in range(100))))).shape
    assert height / 100 / plots.DOTS_PER_INCH * 72 > 7.5 * 1.2  # points a row, of 7.5 a letter


def test_a_label_without_clips_has_a_grey_row() -> None:
    measured = answers("a", "b", "c")
    assert has(pixels(plots.confusion(measured)), GREY)


def test_a_row_is_coloured_by_its_own_clips() -> None:
    # Of b there is one clip only, but it is named rightly as those of a are: as dark.
    measured = Measured(("a", "b"), np.array([0] * 99 + [1]), np.eye(2)[[0] * 99 + [1]])
    picture = pixels(plots.confusion(measured)).astype(int)
    darkest = np.argwhere(np.abs(picture - (8, 48, 107)).max(axis=2) <= 2)
    spread = np.ptp(darkest, axis=0)
    assert min(spread) > 150


@pytest.mark.parametrize(
    "label",
    [
        "$x^2$",
        "$\\frac$ costs $5",
        "snake_case_{x}",
        "<b>&amp;",
        "走路",
        "\N{WAVING HAND SIGN} wave",
        "مشي",
        "e\u0301te\u0301",
        "two\nlines\tand a tab",
        "\x00\x1b[31m",
        "\udcff not UTF-8",
        "",
        " ",
        "W" * 500,
        "\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}",
    ],
)
def test_any_text_can_be_a_label(label: str) -> None:
    pixels(plots.confusion(answers(label, "walk", "idle")))


def test_no_character_of_unicode_makes_trouble() -> None:
    signs = random.Random(3).sample(range(0x110000), 600)
    labels = ["".join(map(chr, signs[start : start + 20])) for start in range(0, 600, 20)]
    pixels(plots.confusion(answers(*labels)))


def test_what_no_font_holds_is_a_square_and_the_rest_is_kept() -> None:
    assert plots.shown("run \N{OLD PERSIAN SIGN A}") == "run \N{WHITE SQUARE}"
    assert plots.shown("tab\there") == "tab here"
    assert plots.shown("grüßen_$5") == "grüßen_$5"


def test_long_labels_are_shortened_where_they_differ_least() -> None:
    left = plots.shown("pushing something from right to left")
    right = plots.shown("pushing something from left to right")
    assert left != right
    assert right == "pushing someth…m left to right"
    assert len(right) <= 31
    assert plots.shown("x" * 30) == "x" * 30
    assert plots.shown("x" * 31) == f"{'x' * 14}…{'x' * 15}"


def test_reliability_draws_bins_and_how_far_they_are_off() -> None:
    picture = pixels(plots.reliability(answers("a", "b", "c", clips=300)))
    assert has(picture, BLUE)


def test_reliability_of_all_right_and_certain_answers_is_drawn() -> None:
    pixels(plots.reliability(Measured(("a", "b"), np.array([0, 1]), np.eye(2))))
    pixels(plots.reliability(Measured(("a",), np.array([0]), np.ones((1, 1)))))


HISTORY = {
    "epoch": [1, 2, 3, 4],
    "train_loss": [2.0, 1.5, 1.2, 1.1],
    "val_loss": [NAN, 1.7, NAN, 1.4],
    "val_accuracy": [NAN, 0.5, NAN, 0.7],
    "val_balanced": [NAN, 0.4, NAN, 0.65],
}


def test_curves_join_what_was_measured_over_epochs_without_validation() -> None:
    picture = pixels(plots.curve(HISTORY))
    half = picture.shape[1] // 2
    losses, accuracies = picture[:, :half], picture[:, half:]
    assert has(losses, BLUE)
    assert has(losses, ORANGE)
    assert has(accuracies, ORANGE)
    assert has(accuracies, GREEN)
    # The line of validation crosses epoch 3, where there was none.
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
def test_a_history_of_any_length_is_drawn(history: dict[str, list[float]]) -> None:
    pixels(plots.curve(history))


@pytest.mark.parametrize("history", [{}, {"train_loss": [1.0]}, {"epoch": [1], "val_loss": []}])
def test_a_history_that_does_not_fit_is_refused(history: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="history must have epoch, and lists of one length"):
        plots.curve(history)
