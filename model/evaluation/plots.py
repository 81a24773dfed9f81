"""Plots of training curves, confusion matrix and calibration, as PNG files in memory.

Uses matplotlib's figures without pyplot, which has global state.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from model.evaluation.metrics import ClassificationReport

DOTS_PER_INCH = 144
_INK, _FAINT, _GRID = "#27272a", "#71717a", "#e4e4e7"
_BLUE, _ORANGE, _GREEN = "#2563eb", "#ea580c", "#15803d"
_LOSSES = {"train_loss": ("training", _BLUE), "val_loss": ("validation", _ORANGE)}
_ACCURACIES = {
    "val_accuracy": ("all clips", _ORANGE),
    "val_balanced_accuracy": ("mean over labels", _GREEN),
}
_MAX_MARKERS = 40  # a curve with more points is drawn without markers

_MAX_LABELS_WITH_COUNTS = 20  # with more, a cell has no space for a number
_MAX_LABELS_WITH_NAMES = 120  # with more, names are not legible at a usable image size
_MAX_NAME_LENGTH = 30
_MISSING = "\N{WHITE SQUARE}"
# Fallbacks for characters that matplotlib's own DejaVu lacks; the installed ones are used.
_FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Arial Unicode MS",
)


def curve(history: Mapping[str, Sequence[float]]) -> bytes:
    """Training curves: losses, and accuracies on validation clips, by epoch.

    `history` has lists of one length: epoch, train_loss, val_loss, val_accuracy,
    val_balanced_accuracy (the mean of the labels' recalls). All but epoch may be missing or hold
    nan. Raises ValueError for lists of different lengths.
    """
    lengths = {key: len(values) for key, values in history.items()}
    if "epoch" not in history or len(set(lengths.values())) > 1:
        raise ValueError(f"history must have epoch, and lists of one length; got {lengths}")
    first, last = min(history["epoch"], default=1), max(history["epoch"], default=1)
    margin = 0.04 * (last - first) or 1
    figure = _figure(9.6, 3.9)
    for column, (title, curves) in enumerate(
        (("Loss", _LOSSES), ("Accuracy on validation clips", _ACCURACIES))
    ):
        axes = figure.add_axes((0.07 + 0.5 * column, 0.16, 0.415, 0.64))
        _style(axes)
        for key, (name, color) in curves.items():
            _line(axes, history["epoch"], history.get(key, ()), name, color)
        axes.set_title(title, loc="left", color=_INK, fontsize=11, fontweight="bold", pad=24)
        axes.set_xlabel("epoch", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlim(first - margin, last + margin)
        if axes.lines:
            # Above the axes, where it covers no line.
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(-0.02, 0.985),
                ncols=len(curves),
                frameon=False,
                labelcolor=_INK,
                fontsize=9,
                handlelength=1.4,
            )
        else:
            axes.annotate(
                "no data", (0.5, 0.5), xycoords="axes fraction", ha="center", color=_FAINT
            )
        if curves is _ACCURACIES:
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        else:
            axes.set_ylim(bottom=0)
    return _png(figure)


def confusion(report: ClassificationReport) -> bytes:
    """The confusion matrix: one row per true label, normalized to a sum of 1.

    With up to 20 labels each cell has its number of clips. With more than 120 labels the axes have
    indices, from 1, instead of names. Rows of labels without clips are gray.
    """
    count = len(report.labels)
    cell = min(0.9, max(0.17, 8.4 / count)) if count <= _MAX_LABELS_WITH_NAMES else 16 / count
    side, bar_width = cell * count, 0.14
    height = max(side, 1.2)
    figure = _figure(side + 0.9, height + 0.2)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.1 / width, 0.1 / height, side / width, side / height))
    totals = report.confusion.sum(axis=1, keepdims=True)
    fractions = np.where(totals > 0, report.confusion / np.maximum(1, totals), np.nan)
    image = axes.imshow(
        fractions,
        cmap=colormaps["Blues"].with_extremes(bad="#e4e4e7"),
        norm=PowerNorm(0.6, 0, 1),  # a few percent are visible
        interpolation="nearest",
        extent=(0.5, count + 0.5, count + 0.5, 0.5),  # labels are counted from 1
    )
    _label_axes(axes, report.labels, cell)
    if count <= _MAX_LABELS_WITH_COUNTS:
        _write_counts(axes, report.confusion, fractions, cell)
        edges = np.arange(1, count) + 0.5
        axes.hlines(edges, 0.5, count + 0.5, color="white", linewidth=1)
        axes.vlines(edges, 0.5, count + 0.5, color="white", linewidth=1)
    axes.spines[:].set_color(_GRID)
    axes.set_xlabel("predicted", color=_INK, fontweight="bold", labelpad=8)
    axes.set_ylabel("truth", color=_INK, fontweight="bold", labelpad=8)
    bar_height = min(side, 4.0)
    scale = figure.add_axes(
        (
            (0.1 + side + 0.18) / width,
            (0.1 + side - bar_height) / height,
            bar_width / width,
            bar_height / height,
        )
    )
    figure.colorbar(image, cax=scale, ticks=[0, 0.1, 0.25, 0.5, 0.75, 1])
    scale.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    scale.tick_params(labelsize=8, colors=_FAINT, length=0)
    scale.spines[:].set_visible(False)
    return _png(figure)


def reliability(report: ClassificationReport) -> bytes:
    """The reliability diagram: accuracy over confidence, in 15 bins.

    On the diagonal the model is calibrated, below it overconfident. A histogram of the confidence
    is beneath.
    """
    bins = 15
    confidence, accuracy, fraction = report.reliability(bins)
    middles = (np.clip(np.ceil(confidence * bins), 1, bins) - 0.5) / bins
    figure = _figure(4.6, 5.4)
    axes = figure.add_axes((0.15, 0.34, 0.81, 0.58))
    below = figure.add_axes((0.15, 0.1, 0.81, 0.18), sharex=axes)
    for each in (axes, below):
        _style(each)
        each.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        each.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.vlines(confidence, confidence, accuracy, color=_ORANGE, linewidth=2.5, alpha=0.45)
    axes.plot(confidence, accuracy, color=_BLUE, linewidth=1.8, marker="o", markersize=5)
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.03, 1.03))
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("accuracy", color=_INK)
    title = f"Calibration error {100 * report.calibration_error(bins):.1f} %"
    axes.set_title(title, loc="left", color=_INK, fontsize=11, fontweight="bold", pad=10)
    below.bar(middles, fraction, width=0.86 / bins, color=_BLUE)
    below.set_ylabel("clips", color=_INK)
    below.set_xlabel("confidence", color=_INK)
    return _png(figure)


def short_label(label: str) -> str:
    """A label for a plot, shortened in the middle.

    The end is preserved, because labels such as "pushing something from left to right" differ
    there. Characters that no installed font has become white squares.
    """
    line = " ".join(label.split())
    line = "".join(sign if _drawable(sign) else _MISSING for sign in line)
    widths = [1 + (unicodedata.east_asian_width(sign) in "WF") for sign in line]
    if sum(widths) <= _MAX_NAME_LENGTH:
        return line
    head = tail = 0
    while sum(widths[: head + 1]) <= (_MAX_NAME_LENGTH + 1) // 2 - 1:
        head += 1
    while sum(widths[len(line) - tail - 1 :]) <= _MAX_NAME_LENGTH // 2:
        tail += 1
    return f"{line[:head].rstrip()}…{line[len(line) - tail :].lstrip()}"


def _label_axes(axes: Axes, labels: Sequence[str], cell: float) -> None:
    """Write the labels beside rows and columns; `cell` is a cell's size in inches."""
    count = len(labels)
    if count > _MAX_LABELS_WITH_NAMES:
        axes.tick_params(labelsize=9, colors=_INK)
        return
    names = [short_label(label) for label in labels]
    # Ambiguous names get their index.
    names = [
        f"{index} {name}" if _MISSING in name or names.count(name) > 1 else name
        for index, name in enumerate(names, 1)
    ]
    style: dict[str, Any] = {
        "fontsize": 10.0 if cell > 0.4 else 9.0 if cell > 0.3 else 7.5,
        "family": list(_families()),
        "parse_math": False,  # a label may hold $
        "color": _INK,
    }
    axes.set_yticks(range(1, count + 1), names, **style)
    slanted = {"rotation": 45, "rotation_mode": "anchor", "ha": "right", "va": "center"}
    style |= slanted if cell > 0.3 else {"rotation": 90}
    axes.set_xticks(range(1, count + 1), names, **style)
    axes.tick_params(length=0, pad=5)


def _write_counts(axes: Axes, clips: np.ndarray, fractions: np.ndarray, cell: float) -> None:
    digits = len(str(clips.max()))
    size = min(12.0, 0.85 * cell * 72 / (0.64 * digits))
    for row, column in np.argwhere(clips):
        color = "white" if fractions[row, column] > 0.4 else _INK
        text = f"{clips[row, column]}"
        axes.text(column + 1, row + 1, text, color=color, fontsize=size, ha="center", va="center")


def _line(
    axes: Axes, epochs: Sequence[float], values: Sequence[float], name: str, color: str
) -> None:
    """Plot the finite values, connected over epochs without a value."""
    points = [(e, v) for e, v in zip(epochs, values, strict=False) if np.isfinite(v)]
    if points:
        marker = "o" if len(points) <= _MAX_MARKERS else None
        axes.plot(
            *zip(*points, strict=True), color=color, label=name, marker=marker, markersize=3.5
        )


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_FAINT, length=0, labelsize=9)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")


def _png(figure: Figure) -> bytes:
    """A PNG with tight bounds, so that no name is cut off."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.12)
    return file.getvalue()


@cache
def _families() -> tuple[str, ...]:
    """The fonts for names; each character uses the first font that has it."""
    installed = set(fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed))


@cache
def _drawable(sign: str) -> bool:
    """Whether a font has this character; matplotlib would warn about a missing one."""
    if unicodedata.category(sign)[0] == "C":  # control characters, half surrogates
        return False
    return any(get_font(findfont(name)).get_char_index(ord(sign)) for name in _families())
