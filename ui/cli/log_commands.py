"""Commands that change the event log: prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.terminal import fail, print_line, silence_decoders


def prune(
    data: Annotated[Path, typer.Option(help="folder of the event log")],
    config: Annotated[
        Path | None, typer.Option(help="YAML file with `retention`, else the defaults")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only print what would be removed")
    ] = False,
) -> None:
    """Remove events, clips, snapshots and scores that exceed the retention limits."""
    silence_decoders()
    from datetime import datetime, timezone

    from stream.config.load import ConfigError, load_config
    from stream.scan.manifest import ScanError, read_manifest
    from stream.sinks import retention
    from stream.sinks.event_log.database import EventLogError
    from stream.sinks.event_log.event_log import EventLog

    try:
        settings = load_config(config)
        if read_manifest(data):
            fail(f"{data} holds scanned videos, which are never pruned; remove them yourself")
        with EventLog.open(data, settings.database) as log:
            removed = retention.prune(
                log,
                data,
                settings.retention,
                now_utc=datetime.now(timezone.utc),
                dry_run=dry_run,
            )
    except (ConfigError, EventLogError, ScanError) as error:
        fail(str(error))
    if dry_run:
        for path in (*removed.clips, *removed.snapshots, *removed.scores):
            print_line(str(path))
    print_line(f"{'would remove' if dry_run else 'removed'} {removed}")
