"""`actionwatch events replay`: what another policy would have logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.event_commands import DATA
from ui.cli.terminal import give_up, say, show_warnings, utc

if TYPE_CHECKING:
    from stream.replay.replay import Difference
    from stream.sinks.event_log.event_log import EventLog


def replay(
    policy: Annotated[Path, typer.Option(help="YAML file with the other `events:`")],
    data: Annotated[Path, typer.Option(help="folder of the event log and the kept scores")] = DATA,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time, UTC unless it says")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="change the log accordingly")] = False,
) -> None:
    """Segment kept scores anew, and show what another policy would change in the log."""
    show_warnings()
    from stream.config.load import ConfigError, load_config
    from stream.formats.base import ExportError
    from stream.replay.replay import compare, without_reviewed
    from stream.replay.replay import replay as segment
    from stream.scan.manifest import ScanError
    from stream.scan.scan import export_again
    from stream.sinks.event_log.database import EventLogError
    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.event_log.query import EventQuery

    after = utc("--since", since)
    try:
        settings = load_config(policy)
        with EventLog.create(data) if apply else EventLog.open(data) as log:
            replayed = segment(data, settings.events, since=after)
            if not replayed.stretches:
                after_that = " since then" if since else ""
                give_up(f"{data}: no scores were kept{after_that}; see retention.scores")
            rows = log.rows(EventQuery(since=after))
            difference, kept = without_reviewed(compare(rows, replayed))
            _show(difference, len(kept), apply=apply)
            if apply:
                _apply(difference, log)
                export_again(log, data)
    except (ConfigError, EventLogError, ExportError, ScanError) as error:
        give_up(str(error))
    except ValueError as error:  # a label that the model does not have
        give_up(f"{policy}: events: {error}")


def _show(difference: Difference, reviewed: int, *, apply: bool) -> None:
    from stream.sinks.event_log.rows import as_row

    changes: list[tuple[str, str]] = []  # sorted by the time at which they happen
    for logged in difference.added:
        changes.append((as_row(logged)["start"], f"+ {_told(as_row(logged))}"))
    for row in difference.lost:
        changes.append((row["start"], f"- {_told(row)}"))
    for row, logged in difference.moved:
        new = as_row(logged)
        shift = ", ".join(
            f"{key} {_seconds(new[key], row[key]):+.2f} s"
            for key in ("start", "end")
            if new[key] != row[key]
        )
        changes.append((row["start"], f"~ {_told(row)}  {shift}"))
    for _, line in sorted(changes):
        say(line)
    say(
        f"{len(difference.added)} added, {len(difference.lost)} lost, "
        f"{len(difference.moved)} moved, {difference.same} as they are"
        + (f", {reviewed} stay because a person reviewed them" if reviewed else "")
        + ("" if apply or not changes else "; the log is as it was: --apply changes it")
    )


def _apply(difference: Difference, log: EventLog) -> None:
    # First what is new: a crash in between leaves too much rather than too little.
    log.save([*difference.added, *(logged for _, logged in difference.moved)])
    log.delete([row["id"] for row in difference.lost])


def _told(row: Mapping[str, Any]) -> str:
    lasted = f"{_seconds(row['end'], row['start']):6.1f} s"
    return f"{row['start']}  {row['camera']:<12}  {row['label']:<26}  {lasted}"


def _seconds(later: str, earlier: str) -> float:
    from stream.sinks.event_log.rows import moment

    return (moment(later) - moment(earlier)).total_seconds()
