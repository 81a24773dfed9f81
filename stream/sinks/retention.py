"""Retention: deletes events, clips, snapshots and scores by age, label and total size.

`RetentionThread` owns the thread "retention".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from stream.config.config import Config
from stream.config.events import RetentionConfig
from stream.messages import EventMedia
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.data_files import (
    KINDS,
    DataFile,
    data_files,
    delete_file,
    delete_files_of,
    media_path,
)
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import iso
from stream.sinks.score_files import MAX_FILE_S

_log = logging.getLogger(__name__)
_INTERVAL_S = 3600.0
_BATCH_SIZE = 200  # rows changed in one transaction

Owners = Mapping[Path, tuple[str, Mapping[str, Any]]]  # kind and row of each file of an event


@dataclass(slots=True)
class PrunePlan:
    """What to delete, and which rows to update."""

    events: list[str] = field(default_factory=list)  # ids
    files: dict[Path, DataFile] = field(default_factory=dict)
    rows: dict[str, EventMedia] = field(default_factory=dict)  # new values of rows, by event id

    def __bool__(self) -> bool:
        return bool(self.events or self.files)

    def __str__(self) -> str:
        parts = [f"{len(self.events)} events"]
        for kind, name in (("clip", "clips"), ("snapshot", "snapshots"), ("scores", "score files")):
            sizes = self.sizes(kind)
            parts.append(f"{len(sizes)} {name} ({sum(sizes) / 1e6:.1f} MB)")
        return ", ".join(parts)

    def sizes(self, kind: str) -> list[int]:
        """The bytes of each file of one kind."""
        return [file.bytes for file in self.files.values() if file.kind == kind]

    def clear(self, row: Mapping[str, Any], kind: str, reason: str) -> None:
        """Clear a deleted file in the row of its event."""
        names = ("id", "clip", "snapshot", "clip_note", "clip_start_s")
        media = self.rows.get(row["id"]) or EventMedia(*(row[name] for name in names))
        if kind == "clip":
            media = replace(media, clip="", note=f"removed: {reason}", clip_start_s=None)
        else:
            media = replace(media, snapshot="")
        self.rows[row["id"]] = media


def prune(
    log: EventLog,
    folder: Path,
    config: RetentionConfig,
    *,
    now_utc: datetime,
    dry_run: bool = False,
) -> PrunePlan:
    """Delete what exceeds the limits in `config` from a data folder. A run may be writing to it.

    Deleting an event deletes its clip and snapshot; deleting a clip updates the row of its event.
    Returns what was deleted. With `dry_run` nothing changes. Raises EventLogError if the log can't
    be used.
    """
    files = {file.path: file for file in data_files(folder)}
    owners = {
        media_path(folder, kind, row[kind]): (kind, row)
        for row in log.rows(EventQuery(has_media=True))
        for kind in KINDS
        if row[kind] and row["end"] is not None
    }
    plan = PrunePlan(list(_old_events(log, config, now_utc)))
    _by_age(plan, files, owners, config, now_utc)
    _by_size(plan, files, owners, config, now_utc)
    if not dry_run:
        # Rows first: a file without a row is deleted later, a row without a file misleads.
        log.delete(plan.events)
        update_rows(log, plan)
        for path in plan.files:
            delete_file(path)
    return plan


def delete_event(log: EventLog, folder: Path, event_id: str) -> None:
    """Delete an event of a data folder, with its clip and its snapshot.

    Raises UnknownEventError for an unknown id, and OpenEventError for an open event: its next
    update would insert it again.
    """
    row = log.event(event_id)
    if row is None:
        raise UnknownEventError(
            f"event {event_id} is not in the log of {folder}; list the events again"
        )
    if row["end"] is None:
        raise OpenEventError(f"event {event_id} is still open; delete it when it has ended")
    log.delete([event_id])  # the row first, as in `prune`: a crash leaves only orphaned files
    delete_files_of(folder, row)


class RetentionThread(EventSink):
    """Prunes the data folder of a run at its start and every hour."""

    name = "retention"

    def __init__(
        self,
        log: EventLog,
        folder: Path,
        config: RetentionConfig,
        metrics: Metrics,
        *,
        interval_s: float = _INTERVAL_S,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._log, self._folder, self._config = log, folder, config
        self._interval_s, self._now_utc = interval_s, now_utc
        self._thread = ServiceThread(self.name, self._run, metrics=metrics)
        self.services = (self._thread,)

    def update_config(self, config: Config) -> None:
        """Apply other limits from the next pass."""
        self._config = config.retention

    def _run(self) -> None:
        stopping = self._thread.stopping
        while not stopping.is_set():
            try:
                pruned = prune(self._log, self._folder, self._config, now_utc=self._now_utc())
                if pruned:
                    _log.info("retention deleted %s", pruned)
            except (EventLogError, OSError) as error:
                _log.warning("retention pass failed, will retry: %s", error)
            except Exception as error:  # the next pass retries
                self._thread.report(error)
            stopping.wait(self._interval_s)


@SINKS.register(RetentionThread.name)
def _make(context: SinkContext) -> EventSink | None:
    if context.is_scan:
        return None
    return RetentionThread(context.log, context.folder, context.config.retention, context.metrics)


def update_rows(log: EventLog, plan: PrunePlan) -> None:
    """In small batches, so that a run's own updates don't wait for long."""
    rows = list(plan.rows.values())
    for first in range(0, len(rows), _BATCH_SIZE):
        log.write_updates(rows[first : first + _BATCH_SIZE])


def _old_events(log: EventLog, config: RetentionConfig, now_utc: datetime) -> Iterator[str]:
    ages = [config.events, *(own.events for own in config.labels.values())]
    limits = [age for age in ages if age is not None]
    if not limits:
        return
    for row in log.rows(EventQuery(until=_ago(now_utc, min(limits)))):
        age = config.labels.get(row["label"], config).events or config.events
        if age is not None and row["end"] is not None and row["start"] < iso(_ago(now_utc, age)):
            yield row["id"]


def _by_age(
    plan: PrunePlan,
    files: Mapping[Path, DataFile],
    owners: Owners,
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    ages = {"clip": config.clips, "snapshot": config.snapshots, "scores": config.scores}
    deleted = set(plan.events)
    for path, (kind, row) in owners.items():
        own = config.labels.get(row["label"], config)
        age = (own.clips if kind == "clip" else own.snapshots) or ages[kind]
        is_old = row["start"] < iso(_ago(now_utc, age))
        if path in files and (is_old or row["id"] in deleted):
            plan.files[path] = files[path]
        if is_old and row["id"] not in deleted:
            plan.clear(row, kind, f"older than {_duration(age)}")
    for file in files.values():  # score files, and files of no event
        old_at = _ago(now_utc, ages[file.kind]).timestamp()
        if file.path not in owners and file.modified_at < old_at:
            plan.files[file.path] = file


def _by_size(
    plan: PrunePlan,
    files: Mapping[Path, DataFile],
    owners: Owners,
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    """Delete the oldest remaining files until the rest fits."""
    remaining = [file for file in files.values() if file.path not in plan.files]
    size = sum(file.bytes for file in remaining)
    in_use = now_utc.timestamp() - MAX_FILE_S
    reason = f"clips, snapshots and scores were more than {config.max_size / 1e9:g} GB"
    for file in sorted(remaining, key=lambda file: (file.modified_at, file.path)):
        if size <= config.max_size:
            return
        if file.kind == "scores" and file.modified_at >= in_use:
            continue
        size -= file.bytes
        plan.files[file.path] = file
        if file.path in owners:
            _, row = owners[file.path]
            plan.clear(row, file.kind, reason)


def _ago(now_utc: datetime, seconds: float) -> datetime:
    return now_utc - timedelta(seconds=seconds)


def _duration(seconds: float) -> str:
    number, unit = (seconds / 86400, "day") if seconds >= 86400 else (seconds / 3600, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"
