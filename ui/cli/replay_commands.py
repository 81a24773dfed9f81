"""`actionwatch events replay`: the events that other thresholds would have logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.options import DATA, utc
from ui.cli.terminal import fail, print_line, show_warnings

if TYPE_CHECKING:
    from stream.replay.replay import Difference


def replay(
    config: Annotated[Path, typer.Option(help="YAML file with other `events:` settings")],
    data: Annotated[Path, typer.Option(help="folder of the event log and its scores")] = DATA,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time; UTC without offset")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="apply the changes to the log")] = False,
) -> None:
    """Detect events in stored scores again, and show what would change in the log."""
    show_warnings()
    from stream.config.load import load_config
    from stream.replay.replay import compare, without_reviewed
    from stream.replay.replay import replay as detect
    from stream.scan.scan import rewrite_exports
    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.event_log.query import EventQuery

    after = utc("--since", since)
    settings = load_config(config)
    with EventLog.create(data) if apply else EventLog.open(data) as log:
        try:
            replayed = detect(data, settings.events, since=after)
        except ValueError as error:  # an unknown label
            fail(f"{config}: events: {error}")
        if not replayed.intervals:
            period = " since then" if since else ""
            fail(f"{data}: no scores were stored{period}; see retention.scores")
        rows = log.rows(EventQuery(since=after))
        difference, reviewed_rows = without_reviewed(compare(rows, replayed))
        _show(difference, len(reviewed_rows), apply=apply)
        if apply:
            # Write before deleting: a crash in between leaves extra events instead of losing some.
            log.write_updates([*difference.added, *(logged for _, logged in difference.moved)])
            log.delete([row["id"] for row in difference.removed])
            rewrite_exports(log, data)


def _show(difference: Difference, reviewed: int, *, apply: bool) -> None:
    from stream.sinks.event_log.rows import as_row

    changes: list[tuple[str, str]] = []  # sorted by time
    for logged in difference.added:
        changes.append((as_row(logged)["start"], f"+ {_describe(as_row(logged))}"))
    for row in difference.removed:
        changes.append((row["start"], f"- {_describe(row)}"))
    for row, logged in difference.moved:
        new = as_row(logged)
        shift = ", ".join(
            f"{key} {_seconds(new[key], row[key]):+.2f} s"
            for key in ("start", "end")
            if new[key] != row[key]
        )
        changes.append((row["start"], f"~ {_describe(row)}  {shift}"))
    for _, line in sorted(changes):
        print_line(line)
    print_line(
        f"{len(difference.added)} added, {len(difference.removed)} lost, "
        f"{len(difference.moved)} moved, {difference.same} unchanged"
        + (f", {reviewed} not changed because they are reviewed" if reviewed else "")
        + ("" if apply or not changes else "; nothing was written: use --apply")
    )


def _describe(row: Mapping[str, Any]) -> str:
    duration = f"{_seconds(row['end'], row['start']):6.1f} s"
    return f"{row['start']}  {row['camera']:<12}  {row['label']:<26}  {duration}"


def _seconds(later: str, earlier: str) -> float:
    from stream.sinks.event_log.rows import moment

    return (moment(later) - moment(earlier)).total_seconds()
