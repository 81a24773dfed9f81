"""The commands that change the event log: prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.terminal import give_up, say, silence_decoders


def prune(
    data: Annotated[Path, typer.Option(help="folder of the event log")],
    config: Annotated[
        Path | None, typer.Option(help="YAML file whose `retention` counts, else the usual times")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what would be removed")
    ] = False,
) -> None:
    """Remove events, clips, snapshots and scores that are older or more than is kept."""
    silence_decoders()
    from datetime import datetime, timezone

    from stream.config.load import ConfigError, load_config
    from stream.scan.manifest import ScanError, notes
    from stream.sinks import retention
    from stream.sinks.event_log.database import EventLogError
    from stream.sinks.event_log.event_log import EventLog

    try:
        settings = load_config(config)
        if notes(data):
            give_up(f"{data} holds scanned films, which are kept until you remove them yourself")
        with EventLog.open(data, settings.database) as log:
            gone = retention.prune(
                log,
                data,
                settings.retention,
                now_utc=datetime.now(timezone.utc),
                dry_run=dry_run,
            )
    except (ConfigError, EventLogError, ScanError) as error:
        give_up(str(error))
    if dry_run:
        for path in (*gone.clips, *gone.snapshots, *gone.scores):
            say(str(path))
    say(f"{'would remove' if dry_run else 'removed'} {gone}")
