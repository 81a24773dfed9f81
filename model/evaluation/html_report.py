"""An evaluation report as one HTML file: metrics, plots, and videos of the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.evaluation import plots
from model.evaluation.evaluate import Mistake
from model.evaluation.metrics import ClassificationReport
from model.render import render


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
    return render(
        "report.html",
        title=title,
        report=report,
        metrics=report.as_dict(),
        mistakes=mistakes,
        facts=facts,
        confusion=_image(plots.confusion(report)),
        reliability=_image(plots.reliability(report)),
    )


def _image(png: bytes) -> dict[str, object]:
    """A PNG and its width on a page, in CSS pixels."""
    return {"png": png, "width": int.from_bytes(png[16:20], "big") * 96 // plots.DOTS_PER_INCH}
