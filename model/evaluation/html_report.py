"""A report on a model as one HTML file: numbers, pictures, and its worst mistakes to watch.

It needs no script and fetches nothing, so it opens from a mail as well as from a web server.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from model.evaluation import plots
from model.evaluation.metrics import Measured

_CONFUSIONS = 10
_NONE = "–"
# What each number means, in the order of the table.
_NUMBERS = {
    "clips": ("Clips", "labelled clips that the model was asked about"),
    "top1": ("Accuracy", "share of clips that were named rightly"),
    "top5": ("Top 5", "share of clips whose label is among the five most probable"),
    "mean_class_accuracy": ("Mean over labels", "accuracy in which each label counts the same"),
    "macro_f1": ("Macro F1", "mean over labels of the harmonic mean of precision and recall"),
    "calibration_error": ("Calibration error", "how far confidence is from accuracy; 0 is best"),
    "log_loss": ("Log loss", "mean negative logarithm of the right label's probability"),
}
_SHARES = {"top1", "top5", "mean_class_accuracy", "calibration_error"}
# Should escaping ever fail, a browser that keeps to this still runs and fetches nothing.
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
    """A clip that was named wrongly."""

    film: str  # the file's name
    start_s: float  # seconds of the film
    end_s: float
    truth: str
    answer: str
    probability: float  # of the answer, 0 to 1
    video: bytes  # an MP4


def page(
    title: str, measured: Measured, mistakes: Sequence[Mistake], *, facts: Mapping[str, str]
) -> str:
    """The report's HTML, to be written as UTF-8.

    `facts` are what else a reader should know, such as the model's name and the date, in order.
    `mistakes` are shown in the order given; their videos make up most of the file.
    """
    sections = [
        _section("Numbers", _numbers(measured)),
        _section("Confusions", _confusions(measured)),
        _section("Labels", _labels(measured)),
        _section("Calibration", _calibration(measured)),
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


def _numbers(measured: Measured) -> str:
    numbers = measured.numbers()
    rows = []
    for key, (name, meaning) in _NUMBERS.items():
        if key in numbers:
            value = numbers[key]
            if key == "top1":
                low, high = map(_percent, measured.likely)
                meaning += f"; of other clips like these likely {low} to {high}"
            if key in _SHARES:
                rows.append((name, _percent(value), meaning))
            else:
                rows.append((name, f"{value}" if key == "clips" else f"{value:.3f}", meaning))
    return _table(("Measure", "Value", "What it is"), rows, figures={1}, kind="numbers")


def _confusions(measured: Measured) -> str:
    count = len(measured.labels)
    alternative = (
        f"Confusion matrix of {count} label{'s' * (count > 1)}: for each true label the shares of "
        "its clips that got each answer. The tables say which confusions are the commonest, and "
        "how often each label is named rightly."
    )
    picture = _picture(plots.confusion(measured), alternative, "Confusion matrix")
    text = (
        "<p>A row for each true label: how its clips were named. The darker, the more of them.</p>"
    )
    commonest = [(truth, answer, f"{n}") for truth, answer, n in measured.mistakes(_CONFUSIONS)]
    if not commonest:
        return f"{text}{picture}<p>No clip was named wrongly.</p>"
    table = _table(("Truth", "Answer", "Clips"), commonest, figures={2})
    return f"{text}{picture}<h3>The commonest confusions</h3>{table}"


def _labels(measured: Measured) -> str:
    rows = [
        (label, f"{of['support']}", _percent(of["recall"]), _percent(of["precision"]))
        for label, of in measured.numbers()["per_label"].items()
    ]
    text = (
        "<p>Recall is the share of a label's clips that were named rightly, precision the share "
        "of its answers that were right.</p>"
    )
    return text + _table(("Label", "Clips", "Recall", "Precision"), rows, figures={1, 2, 3})


def _calibration(measured: Measured) -> str:
    alternative = (
        "Accuracy over confidence in 15 bins, and below it the share of clips in each bin. "
        f"The calibration error is {_percent(measured.calibration_error())}."
    )
    text = (
        "<p>On the dashed line an answer that is 80&nbsp;% sure is right four times of five. Below "
        "it the model is too sure of itself, above it too modest.</p>"
    )
    return text + _picture(plots.reliability(measured), alternative, "Reliability")


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    items = []
    for one in mistakes:
        name = f"Clip of {one.film}: {one.truth}, taken for {one.answer}"
        facts = {
            "Truth": one.truth,
            "Answer": one.answer,
            "Probability": _percent(one.probability),
            "File": one.film,
            "Seconds": f"{one.start_s:.1f} to {one.end_s:.1f}",
        }
        items.append(
            f'<li><figure><video controls loop muted playsinline aria-label="{_text(name)}" '
            f'src="{_data("video/mp4", one.video)}"></video>'
            f"<figcaption>{_pairs(facts)}</figcaption></figure></li>\n"
        )
    return f'<p>The model saw windows of them.</p><ul class="clips">{"".join(items)}</ul>'


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{_text(heading)}</h2>\n{content}\n</section>\n"


def _table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, figures: set[int], kind: str = ""
) -> str:
    """A table whose rows begin with their header; `figures` are the columns of numbers."""
    marks = [' class="number"' if place in figures else "" for place in range(len(names))]
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


def _picture(png: bytes, alternative: str, name: str) -> str:
    """As wide as it was drawn, or a little less where there is no room; then it scrolls.

    What scrolls can be reached by keyboard, so that it can be scrolled there.
    """
    width = int.from_bytes(png[16:20], "big") * 96 // plots.DOTS_PER_INCH
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(name)}">'
        f'<img style="width: clamp({width * 3 // 5}px, 100%, {width}px)" '
        f'src="{_data("image/png", png)}" alt="{_text(alternative)}"></div>'
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _text(text: str) -> str:
    """Text that stays text, also in an attribute; file names may hold what UTF-8 can't write."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
