"""`actionwatch events dataset`: reviewed events as a training folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ui.cli.event_commands import DATA, Data, Since, Until, rows
from ui.cli.terminal import give_up, say, silence_decoders


def dataset(
    out: Annotated[Path, typer.Option(help="the training folder, which may be there already")],
    data: Data = DATA,
    rejected_as: Annotated[
        str | None,
        typer.Option(help="take rejected events as examples of this label, else leave them out"),
    ] = None,
    unreviewed: Annotated[
        bool,
        typer.Option("--unreviewed", help="also events nobody reviewed, as what the model said"),
    ] = False,
    since: Since = None,
    until: Until = None,
) -> None:
    """Copy the clips of reviewed events into a folder for each label, to train a model with."""
    silence_decoders()
    from stream.datasets.export import LIST, TrainingFolderError, add_to, choose

    if rejected_as is not None and not rejected_as.strip():
        give_up("--rejected-as: must be a label, such as 'other'")
    place, log = out.resolve(), data.resolve()
    kept = (log / name for name in ("clips", "snapshots", "scores"))
    if place.is_file() or place == log or any(place.is_relative_to(one) for one in kept):
        give_up(f"--out {out}: must be a folder of its own, and none of the log's")
    chosen = choose(
        rows(data, since=since, until=until), rejected_as=rejected_as, unreviewed=unreviewed
    )
    if not chosen.examples and not (out / LIST).exists():
        give_up(f"{data}: no event to learn from{_told(chosen.left_out)}; review some first")
    try:
        made = add_to(out, chosen, data / "clips")
    except TrainingFolderError as error:
        give_up(str(error))
    whole = f", {made.whole} of them without start and end" if made.whole else ""
    say(
        f"{_number(made.clips, 'clip')} of {_number(made.labels, 'label')} in {out}, {made.new} of "
        f"them new{whole}{_told(made.left_out)}"
    )


def _told(left_out: Mapping[str, int]) -> str:
    reasons = (f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"; left out: {', '.join(reasons)}" if left_out else ""


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
