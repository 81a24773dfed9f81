"""Commands for the event log: events list, export, formats and prune."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli.options import DATA, Data, utc
from ui.cli.terminal import fail, print_error, print_line
from ui.event_filters import Filter, declare_filters

events_app = typer.Typer(help="Read the event log.", no_args_is_help=True)

_END_REASONS = {"gap": "no data", "stop": "shutdown", "crash": "crash"}


def _option(one: Filter) -> Any:
    given_as = str if one.type is datetime else one.type
    return Annotated[given_as | None, typer.Option(*one.flags, help=one.help)]


with_filters = partial(declare_filters, _option)


@events_app.command("list")
@with_filters()
def events_list(data: Data = DATA, **filters: Any) -> None:
    """Print events as a table, oldest first."""
    found = rows(data, **filters)
    if not found:
        print_error(f"{data}: no events to list")
    width = max((len(row["camera"]) for row in found), default=0)
    with allow_closed_pipe():
        for row in found:
            end = "(open)" if row["end"] is None else f"{row['end_s'] - row['start_s']:6.1f} s"
            ended = f"  ended: {_END_REASONS[row['closed_by']]}" if row["closed_by"] else ""
            review = f"  {_on_one_line(_review(row))}" if row["verdict"] else ""
            typer.echo(
                f"{row['start']}  {row['camera']:<{max(12, width)}}  "
                f"{_on_one_line(row['label']):<26}  {end:>8}  peak {row['peak']:.2f}"
                f"{ended}{review}"
            )


@events_app.command("export")
@with_filters()
def events_export(
    data: Data = DATA,
    format: Annotated[
        str, typer.Option(help="one of `events formats`, such as csv or webvtt")
    ] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="file, else standard output")] = None,
    time_base: Annotated[
        str | None,
        typer.Option(
            help="for formats with seconds only, such as webvtt: media counts from the start of "
            "the source (default), wall from midnight (UTC) of the first event's day"
        ),
    ] = None,
    time_offset: Annotated[
        float | None,
        typer.Option(help="media time in seconds that becomes 0, such as the start of a clip"),
    ] = None,
    media: Annotated[Path | None, typer.Option(help="video that an elan file links")] = None,
    **filters: Any,
) -> None:
    """Write events to a file or standard output, for other programs."""
    from stream.formats.base import FORMATS, Options, export, export_file

    if format not in FORMATS:
        fail(f"--format {format}: must be one of {', '.join(sorted(FORMATS))}")
    _check_options(format, time_base, time_offset, media)
    event_format = FORMATS[format]
    if out is None and event_format.is_binary and sys.stdout.isatty():
        fail(f"--format {format} is binary and not for a terminal; give a file with --out")
    found = rows(data, **filters)
    options = Options(time_base or "media", time_offset or 0.0, media)
    if event_format.is_relative and options.time_base == "media":
        warn_about_clock_resets(
            found, "choose one with --since and --until, or use --time-base wall"
        )
    if out is not None:
        left_out = export_file(found, out, format, options)
    else:
        with allow_closed_pipe():
            # The same bytes everywhere, whatever the encoding of the terminal.
            left_out = export(found, sys.stdout.buffer, format, options)
    if left_out:
        print_error(f"skipped {left_out} open events")
    rejected = sum(row["verdict"] == "rejected" for row in found)
    if rejected and event_format.is_relative:
        print_error(f"skipped {rejected} rejected events")


@events_app.command("formats")
def events_formats() -> None:
    """List the formats of `events export`."""
    from stream.formats.base import FORMATS

    for name in sorted(FORMATS):
        print_line(f"{name:<12}  {FORMATS[name].suffix:<9}  {FORMATS[name].title}")


def prune(
    data: Data,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with `retention`, else the defaults")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only print what would be removed")
    ] = False,
) -> None:
    """Remove events, clips, snapshots and scores that exceed the retention limits."""
    from stream.config.load import load_config
    from stream.scan.manifest import read_manifest
    from stream.sinks import retention
    from stream.sinks.event_log.event_log import EventLog

    settings = load_config(config)
    if read_manifest(data):
        fail(f"{data} holds scanned videos, which are never pruned; remove them yourself")
    with EventLog.open(data, settings.database) as log:
        now_utc = datetime.now(timezone.utc)
        removed = retention.prune(log, data, settings.retention, now_utc=now_utc, dry_run=dry_run)
    if dry_run:
        for path in sorted(removed.files):
            print_line(str(path))
    print_line(f"{'would remove' if dry_run else 'removed'} {removed}")


def rows(data: Path, **filters: Any) -> list[dict[str, Any]]:
    """Events of the log in a folder. Raises EventLogError; exits if a time is invalid."""
    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.event_log.query import EventQuery

    for name in ("since", "until"):
        if name in filters:
            filters[name] = utc(f"--{name}", filters[name])
    with EventLog.open(data) as log:
        return list(log.rows(EventQuery(**filters)))


def warn_about_clock_resets(found: list[dict[str, Any]], advice: str) -> None:
    """Name the cameras whose events are of several runs."""
    from stream.formats.relative_times import cameras_with_clock_resets

    if mixed := cameras_with_clock_resets(found):
        print_error(f"{', '.join(mixed)}: contains several runs, and each starts at 0; {advice}")


@contextmanager
def allow_closed_pipe() -> Iterator[None]:
    """Exit quietly if the reader of standard output closes the pipe, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The remaining buffer would fail again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _review(row: dict[str, Any]) -> str:
    """The review of an event as text."""
    return f"corrected: {row['corrected']}" if row["corrected"] else str(row["verdict"])


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _check_options(
    format: str, time_base: str | None, time_offset: float | None, media: Path | None
) -> None:
    from stream.formats.base import FORMATS
    from stream.formats.relative_times import TIME_BASES

    if time_base is not None and time_base not in TIME_BASES:
        fail(f"--time-base {time_base}: must be one of {', '.join(TIME_BASES)}")
    for flag, value in (("--time-base", time_base), ("--time-offset", time_offset)):
        if value is not None and not FORMATS[format].is_relative:
            relative = ", ".join(sorted(name for name, one in FORMATS.items() if one.is_relative))
            fail(f"{flag} is for {relative}; {format} contains both times")
    if time_offset is not None and time_base == "wall":
        fail("--time-offset is a media time; omit --time-base wall")
    if media is not None and (not FORMATS[format].links_media or time_base == "wall"):
        linking = " or ".join(sorted(name for name, one in FORMATS.items() if one.links_media))
        fail(f"--media is for --format {linking} with media times")
    if media is not None and not media.is_file():
        fail(f"--media {media}: no such file")
