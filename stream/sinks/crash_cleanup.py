"""Cleans up the data folder of a killed run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from stream.messages import EventMedia
from stream.runtime.errors import reason_of
from stream.sinks.data_files import KINDS, data_files, delete_file, media_path
from stream.sinks.event_log.database import EventLogError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import iso
from stream.sinks.retention import PrunePlan, update_rows

_log = logging.getLogger(__name__)
_MISSING_FILES_WINDOW = timedelta(days=7)  # a run checks the files of events this recent


def clean_up_after_crash(
    log: EventLog,
    journal: Journal,
    folder: Path,
    since: float | None,
    *,
    now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> None:
    """Clean up after a killed run. Called at the start of a run, which holds the folder's lock.

    Deletes unfinished files, and clips and snapshots of no event that were written at or after
    `since`, the start of the previous run (seconds since 1970, None if unknown). Clears missing
    files in the rows of recent events. An empty log may belong to another folder: then nothing
    changes. Raises EventLogError if the log can't be used.
    """
    if log.count() == 0:
        return
    for directory, _ in KINDS.values():
        for part in (folder / directory).glob("*.part"):
            delete_file(part)
    rows = list(log.rows(EventQuery(has_media=True)))
    known = {media_path(folder, kind, row[kind]) for row in rows for kind in KINDS}
    known |= set(_journaled_files(journal, folder))
    for file in data_files(folder):
        is_orphan = file.kind in KINDS and file.path not in known
        if is_orphan and since is not None and file.modified_at >= since:
            _log.info("deleting %s: it belongs to no event", file.path)
            delete_file(file.path)
    recent, plan = iso(now_utc() - _MISSING_FILES_WINDOW), PrunePlan()
    for row in rows:
        for kind, (directory, _) in KINDS.items():
            is_missing = row[kind] and not (folder / directory / row[kind]).exists()
            # If the whole folder is missing, a disk is probably not mounted.
            if is_missing and row["start"] >= recent and (folder / directory).is_dir():
                plan.clear(row, kind, "the file is missing")
    update_rows(log, plan)


def _journaled_files(journal: Journal, folder: Path) -> Iterator[Path]:
    """The files of events that are in the journal, not in the log yet."""
    try:
        updates = [update for _, batch in journal.batches() for update in batch]
    except OSError as error:
        raise EventLogError(f"the journal in {folder} can't be read: {reason_of(error)}") from error
    for update in updates:
        if isinstance(update, EventMedia):
            yield media_path(folder, "clip", update.clip)
            yield media_path(folder, "snapshot", update.snapshot)
