"""An evaluation report as one HTML file: metrics, plots, and videos of the worst mistakes.

It has no script and fetches nothing, so it also opens from an e-mail attachment.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from model.evaluation import plots
from model.evaluation.metrics import ClassificationReport

_MAX_CONFUSIONS = 10
_NONE = "–"
# Name and explanation of each metric, in the order of the table.
_METRICS = {
    "clips": ("Clips", "number of labeled clips"),
    "top1": ("Accuracy", "fraction of clips with the right prediction"),
    "top5": ("Top 5", "fraction of clips whose label is among the five most probable"),
    "mean_class_accuracy": ("Mean class accuracy", "accuracy with the same weight for each label"),
    "macro_f1": ("Macro F1", "mean over labels of the harmonic mean of precision and recall"),
    "calibration_error": ("Calibration error", "gap between confidence and accuracy; 0 is best"),
    "log_loss": ("Log loss", "mean negative logarithm of the right label's probability"),
}
_FRACTIONS = {"top1", "top5", "mean_class_accuracy", "calibration_error"}
# Second line of defense: should escaping ever fail, the browser still runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ground: #f4f4f5; --ink: #18181b;
  --faint: #52525b; --line: #d4d4d8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #27272a; --ground: #18181b; --ink: #fafafa; --faint: #a8a8b3; --line: #52525b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0.5rem 0 0; font-size: 1.75rem; line-height: 1.25; }
h2 { margin: 0 0 0.75rem; font-size: 1.2rem; }
h3 { margin: 1.25rem 0 0.5rem; font-size: 1rem; }
section { margin: 1rem 0; padding: 1rem; border-radius: 12px; background: var(--paper); }
p { margin: 0 0 0.75rem; color: var(--faint); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; margin: 0; }
dt { color: var(--faint); }
dd { margin: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top; }
thead th { color: var(--faint); font-weight: 600; overflow-wrap: normal; }
tbody th { font-weight: 600; min-width: 6rem; }
th:last-child, td:last-child { padding-right: 0; }
.numbers th { overflow-wrap: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers td:last-child { color: var(--faint); }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--ink); }
img { display: block; height: auto; border-radius: 8px; background: #fff; }
.clips { display: grid; gap: 1rem; margin: 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
figure { margin: 0; }
video { display: block; width: 100%; max-height: 24rem; border-radius: 8px; background: #000; }
figcaption dl { margin-top: 0.5rem; }
"""


@dataclass(frozen=True)
class Mistake:
    """A misclassified clip."""

    name: str  # of the video file
    start_s: float  # seconds of the video
    end_s: float
    truth: str
    predicted: str
    probability: float  # of the predicted label, 0 to 1
    video: bytes  # an MP4


def render_report(
    title: str,
    report: ClassificationReport,
    mistakes: Sequence[Mistake],
    *,
    facts: Mapping[str, str],
) -> str:
    """The report's HTML, to be written as UTF-8.

    `facts` are shown first, in this order, for example the model's name and the date. `mistakes`
    are shown in the given order; their videos are most of the file.
    """
    sections = [
        _section("Metrics", _metrics(report)),
        _section("Confusions", _confusions(report)),
        _section("Labels", _labels(report)),
        _section("Calibration", _calibration(report)),
    ]
    if mistakes:
        sections.append(_section("Worst mistakes", _mistakes(mistakes)))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{_text(title)}</h1>
{_section("About", _pairs(facts)) if facts else ""}
{"".join(sections)}
</main>
</body>
</html>
"""


def _metrics(report: ClassificationReport) -> str:
    metrics = report.as_dict()
    rows = []
    for key, (name, meaning) in _METRICS.items():
        if key in metrics:
            value = metrics[key]
            if key == "top1":
                low, high = map(_percent, report.accuracy_interval)
                meaning += f"; 95 % interval {low} to {high}"
            if key in _FRACTIONS:
                rows.append((name, _percent(value), meaning))
            else:
                rows.append((name, f"{value}" if key == "clips" else f"{value:.3f}", meaning))
    return _table(("Metric", "Value", "Meaning"), rows, number_columns={1}, kind="numbers")


def _confusions(report: ClassificationReport) -> str:
    count = len(report.labels)
    alternative = (
        f"Confusion matrix of {count} label{'s' * (count > 1)}: for each true label the "
        "fractions of its clips with each prediction. The tables list the most frequent confusions "
        "and the recall of each label."
    )
    image = _image(plots.confusion(report), alternative, "Confusion matrix")
    text = (
        "<p>One row per true label, one column per predicted label. Darker cells have more clips."
        "</p>"
    )
    confusions = [
        (truth, predicted, f"{n}") for truth, predicted, n in report.mistakes(_MAX_CONFUSIONS)
    ]
    if not confusions:
        return f"{text}{image}<p>No clip was misclassified.</p>"
    table = _table(("Truth", "Predicted", "Clips"), confusions, number_columns={2})
    return f"{text}{image}<h3>Most frequent confusions</h3>{table}"


def _labels(report: ClassificationReport) -> str:
    rows = [
        (label, f"{one['support']}", _percent(one["recall"]), _percent(one["precision"]))
        for label, one in report.as_dict()["per_label"].items()
    ]
    text = (
        "<p>Recall is the fraction of a label's clips with the right prediction, precision the "
        "fraction of a label's predictions that were right.</p>"
    )
    return text + _table(("Label", "Clips", "Recall", "Precision"), rows, number_columns={1, 2, 3})


def _calibration(report: ClassificationReport) -> str:
    alternative = (
        "Accuracy over confidence in 15 bins, and below it the fraction of clips in each bin. "
        f"The calibration error is {_percent(report.calibration_error())}."
    )
    text = (
        "<p>On the dashed line, predictions with a confidence of 80&nbsp;% are right in 80&nbsp;% "
        "of cases. Below it the model is overconfident, above it underconfident.</p>"
    )
    return text + _image(plots.reliability(report), alternative, "Reliability")


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    items = []
    for one in mistakes:
        name = f"Clip of {one.name}: {one.truth}, classified as {one.predicted}"
        facts = {
            "Truth": one.truth,
            "Predicted": one.predicted,
            "Probability": _percent(one.probability),
            "File": one.name,
            "Seconds": f"{one.start_s:.1f} to {one.end_s:.1f}",
        }
        items.append(
            f'<li><figure><video controls loop muted playsinline aria-label="{_text(name)}" '
            f'src="{_data("video/mp4", one.video)}"></video>'
            f"<figcaption>{_pairs(facts)}</figcaption></figure></li>\n"
        )
    text = "<p>The model classified windows of these clips.</p>"
    return f'{text}<ul class="clips">{"".join(items)}</ul>'


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{_text(heading)}</h2>\n{content}\n</section>\n"


def _table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, number_columns: set[int], kind: str = ""
) -> str:
    """A table whose first column is the row header; `number_columns` are right-aligned."""
    marks = [' class="number"' if column in number_columns else "" for column in range(len(names))]
    head = "".join(
        f'<th scope="col"{mark}>{_text(name)}</th>' for name, mark in zip(names, marks, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(
            f"<td{mark}>{_text(cell)}</td>" for cell, mark in zip(cells, marks[1:], strict=True)
        )
        + "</tr>\n"
        for first, *cells in rows
    )
    return (
        f'<table class="{kind}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'
    )


def _pairs(facts: Mapping[str, str]) -> str:
    terms = (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(terms)}</dl>"


def _image(png: bytes, alternative: str, name: str) -> str:
    """An image at its drawn width, or slightly smaller on a narrow screen; below that it scrolls.

    The scroll area has a tab stop, so that it can be scrolled by keyboard.
    """
    width = int.from_bytes(png[16:20], "big") * 96 // plots.DOTS_PER_INCH
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(name)}">'
        f'<img style="width: clamp({width * 3 // 5}px, 100%, {width}px)" '
        f'src="{_data("image/png", png)}" alt="{_text(alternative)}"></div>'
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _percent(fraction: float | None) -> str:
    return _NONE if fraction is None else f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def _text(text: str) -> str:
    """HTML-escaped text, also for attributes; surrogates in file names are replaced."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
