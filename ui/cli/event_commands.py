"""The commands about the event log: events list, events export."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.terminal import complain, give_up, utc

if TYPE_CHECKING:
    from stream.formats.base import Options

events_app = typer.Typer(help="Read the event log.", no_args_is_help=True)

DATA = Path("actionwatch-data")  # as `run` has it
Data = Annotated[Path, typer.Option(help="folder of the event log")]
Camera = Annotated[str | None, typer.Option(help="only this camera, with its zones")]
Label = Annotated[
    str | None, typer.Option(help="only this label, as the model said or a person corrected it")
]
Since = Annotated[
    str | None, typer.Option(help="starts from this ISO 8601 time on; UTC unless it says")
]
Until = Annotated[str | None, typer.Option(help="starts before this time")]
Score = Annotated[float | None, typer.Option(help="only with a peak of at least this")]
Reviewed = Annotated[
    bool | None,
    typer.Option("--reviewed/--unreviewed", help="only with a person's verdict, or none"),
]


@events_app.command("list")
def events_list(
    data: Data = DATA,
    camera: Camera = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
    score: Score = None,
    reviewed: Reviewed = None,
) -> None:
    """Print events, oldest first, for reading."""
    found = rows(
        data,
        camera=camera,
        label=label,
        since=since,
        until=until,
        score=score,
        reviewed=reviewed,
    )
    if not found:
        complain(f"{data}: no events to list")
    width = max((len(row["camera"]) for row in found), default=0)
    with pipe_may_close():
        for row in found:
            end = "(open)" if row["end"] is None else f"{row['end_s'] - row['start_s']:6.1f} s"
            closed = f"  closed by {row['closed_by']}" if row["closed_by"] else ""
            said = f"  {_on_one_line(_said(row))}" if row["verdict"] else ""
            typer.echo(
                f"{row['start']}  {row['camera']:<{max(12, width)}}  "
                f"{_on_one_line(row['label']):<26}  {end:>8}  peak {row['peak']:.2f}{closed}{said}"
            )


@events_app.command("export")
def events_export(
    data: Data = DATA,
    format: Annotated[
        str, typer.Option(help="jsonl, csv, webvtt, activitynet, elan or parquet")
    ] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="file, else the standard output")] = None,
    clock: Annotated[
        str | None,
        typer.Option(
            help="of webvtt, activitynet and elan: media counts from the source's beginning, wall "
            "from midnight (UTC) of the first event's day; media unless given"
        ),
    ] = None,
    zero: Annotated[
        float | None,
        typer.Option(help="media time that becomes 0, in seconds: where a clip begins"),
    ] = None,
    media: Annotated[Path | None, typer.Option(help="video that an elan file shows")] = None,
    camera: Camera = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
    score: Score = None,
    reviewed: Reviewed = None,
) -> None:
    """Write events to a file or the standard output, for other programs."""
    from stream.formats.base import (
        BINARY,
        FORMATS,
        PLACED,
        ExportError,
        Options,
        export,
        export_file,
    )

    if format not in FORMATS:
        give_up(f"--format {format}: must be one of {', '.join(FORMATS)}")
    _check_options(format, clock, zero, media)
    if out is None and format in BINARY and sys.stdout.isatty():
        give_up(f"--format {format} is nothing for a terminal; give a file with --out")
    found = rows(
        data,
        camera=camera,
        label=label,
        since=since,
        until=until,
        score=score,
        reviewed=reviewed,
    )
    try:
        options = Options(clock or "media", zero or 0.0, media)
        _warn_of_many_runs(format, options, found)
        if out is not None:
            left_out = export_file(found, out, format, options)
        else:
            with pipe_may_close():
                if isinstance(sys.stdout, io.TextIOWrapper):
                    # The same bytes everywhere, whatever the terminal speaks.
                    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
                to = sys.stdout.buffer if format in BINARY else sys.stdout
                left_out = export(found, to, format, options)
    except ExportError as error:
        give_up(str(error))
    if left_out:
        complain(f"left out as they are still open: {left_out}")
    rejected = sum(row["verdict"] == "rejected" for row in found) if format in PLACED else 0
    if rejected:
        complain(f"left out as a person rejected them: {rejected}")


def rows(
    data: Path,
    *,
    camera: str | None = None,
    label: str | None = None,
    since: str | None = None,
    until: str | None = None,
    score: float | None = None,
    reviewed: bool | None = None,
) -> list[dict[str, Any]]:
    """Of the log of a folder; gives up with one line where there is none."""
    from stream.sinks.event_log.database import EventLogError
    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.event_log.query import EventQuery

    query = EventQuery(
        camera=camera,
        label=label,
        since=utc("--since", since),
        until=utc("--until", until),
        score=score,
        reviewed=reviewed,
    )
    try:
        with EventLog.open(data) as log:
            return list(log.rows(query))
    except EventLogError as error:
        give_up(str(error))


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """Whoever reads our standard output may have enough of it, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _said(row: dict[str, Any]) -> str:
    """What a person said of an event."""
    return f"corrected: {row['corrected']}" if row["corrected"] else str(row["verdict"])


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _check_options(format: str, clock: str | None, zero: float | None, media: Path | None) -> None:
    from stream.formats.base import PLACED
    from stream.formats.relative_times import CLOCKS

    if clock is not None and clock not in CLOCKS:
        give_up(f"--clock {clock}: must be one of {', '.join(CLOCKS)}")
    for flag, value in (("--clock", clock), ("--zero", zero)):
        if value is not None and format not in PLACED:
            give_up(f"{flag} is for {', '.join(sorted(PLACED))}; {format} holds both clocks")
    if zero is not None and clock == "wall":
        give_up("--zero is a media time; leave out --clock wall")
    if media is not None and (format != "elan" or clock == "wall"):
        give_up("--media is for --format elan with media times")
    if media is not None and not media.is_file():
        give_up(f"--media {media}: no such file")


def _warn_of_many_runs(format: str, options: Options, found: list[dict[str, Any]]) -> None:
    from stream.formats.base import PLACED
    from stream.formats.relative_times import of_many_runs

    mixed = of_many_runs(found) if format in PLACED and options.clock == "media" else []
    if mixed:
        complain(
            f"{', '.join(mixed)}: of several runs, each of which begins at 0; "
            "choose one with --since and --until, or give --clock wall"
        )
