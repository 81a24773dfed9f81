"""Options that several commands share, and the values of options."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli.terminal import fail

MODEL_HELP = "embedded name, checkpoint folder, or Hugging Face name"
DATA = Path("actionwatch-data")  # the default of `run`

Data = Annotated[Path, typer.Option(help="folder of the event log")]
Model = Annotated[str | None, typer.Option(help=MODEL_HELP)]
CheckpointOut = Annotated[
    Path, typer.Option(help="folder of the checkpoint; an interrupted run is resumed")
]
AnnotatedVideos = Annotated[
    Path | None,
    typer.Option(help="folder of the annotated videos, else that of the annotation file"),
]


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def source_spec(text: str) -> int | str:
    """A video source. Command-line values are text: digits alone are a webcam index."""
    return int(text) if text.isascii() and text.isdigit() else text


def utc(option: str, text: str | None) -> datetime | None:
    """Parse the time of an option; UTC unless it has an offset. Exits if it is invalid."""
    if text is None:
        return None
    from stream.sinks.event_log.rows import moment

    try:
        return moment(text)
    except ValueError:
        fail(f"{option} {text}: must be a time like 2026-01-31 or 2026-01-31T08:00:00Z")
