"""`actionwatch events export-dataset`: reviewed events as a labeled data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli.event_commands import rows, with_filters
from ui.cli.options import DATA, Data
from ui.cli.terminal import count, fail, print_line


@with_filters("since", "until")
def export_dataset(
    out: Annotated[Path, typer.Option(help="the data set folder, new or existing")],
    data: Data = DATA,
    negative_label: Annotated[
        str | None,
        typer.Option(help="add rejected events as examples of this label, else skip them"),
    ] = None,
    unreviewed: Annotated[
        bool,
        typer.Option("--unreviewed", help="add unreviewed events too, with the predicted label"),
    ] = False,
    **filters: Any,
) -> None:
    """Copy the clips of reviewed events into a folder per label, to train a model with."""
    from stream.datasets.export import LIST, select
    from stream.datasets.export import export_dataset as add_clips

    if negative_label is not None and not negative_label.strip():
        fail("--negative-label: must be a label, such as 'other'")
    target, log = out.resolve(), data.resolve()
    log_folders = (log / name for name in ("clips", "snapshots", "scores"))
    if target.is_file() or target == log or any(target.is_relative_to(one) for one in log_folders):
        fail(f"--out {out}: must be a separate folder, not one of the event log")
    found = rows(data, **filters)
    selection = select(found, negative_label=negative_label, unreviewed=unreviewed)
    if not selection.examples and not (out / LIST).exists():
        fail(f"{data}: no events to export{_skipped(selection.skipped)}; review some first")
    result = add_clips(out, selection, data / "clips")
    untrimmed = f", {result.untrimmed} of them without start and end" if result.untrimmed else ""
    print_line(
        f"{count(result.clips, 'clip')} of {count(result.labels, 'label')} in {out}, "
        f"{result.new} of them new{untrimmed}{_skipped(result.skipped)}"
    )


def _skipped(skipped: Mapping[str, int]) -> str:
    reasons = (f"{number} {reason}" for reason, number in sorted(skipped.items()))
    return f"; skipped: {', '.join(reasons)}" if skipped else ""
