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
from stream.runtime.service import ServiceThread
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.data_files import (
    KINDS,
    DataFile,
    delete_file,
    delete_files_of,
    media_files,
    media_path,
    score_files,
)
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import iso
from stream.sinks.score_files import MAX_FILE_S

_log = logging.getLogger(__name__)
_INTERVAL_S = 3600.0
_BATCH_SIZE = 200  # rows changed in one transaction


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What `prune` deleted, or would delete."""

    events: tuple[str, ...] = ()  # ids
    clips: tuple[Path, ...] = ()
    snapshots: tuple[Path, ...] = ()
    scores: tuple[Path, ...] = ()
    clip_bytes: int = 0
    snapshot_bytes: int = 0
    score_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.clips or self.snapshots or self.scores)

    def __str__(self) -> str:
        files = (
            (f"{len(self.clips)} clips", self.clip_bytes),
            (f"{len(self.snapshots)} snapshots", self.snapshot_bytes),
            (f"{len(self.scores)} score files", self.score_bytes),
        )
        sizes = (f"{count} ({size / 1e6:.1f} MB)" for count, size in files)
        return ", ".join((f"{len(self.events)} events", *sizes))


@dataclass(slots=True)
class Plan:
    """What to delete, and which rows to update."""

    events: list[str] = field(default_factory=list)
    files: dict[Path, DataFile] = field(default_factory=dict)
    rows: dict[str, EventMedia] = field(default_factory=dict)  # new values of rows, by event id

    def drop(
        self, row: Mapping[str, Any] | None, file: DataFile | None, kind: str, reason: str
    ) -> None:
        """Delete a file, if it exists, and clear it in the row of its event, if the row stays."""
        if file is not None:
            self.files[file.path] = file
        if row is not None:
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
) -> PruneResult:
    """Delete what exceeds the limits in `config` from a data folder. A run may be writing to it.

    Deleting an event deletes its clip and snapshot; deleting a clip updates the row of its event.
    With `dry_run` nothing changes. Raises EventLogError if the log can't be used.
    """
    files = {file.path: file for file in media_files(folder)}
    rows = [row for row in log.rows(EventQuery(has_media=True)) if row["end"] is not None]
    plan = Plan(events=list(_old_events(log, config, now_utc)))
    scores = list(score_files(folder))
    _by_age(plan, folder, files, rows, config, now_utc)
    _old_scores(plan, scores, config, now_utc)
    _by_size(plan, folder, [*files.values(), *scores], rows, config, now_utc)
    if not dry_run:
        # Rows first: a file without a row is deleted later, a row without a file misleads.
        log.delete(plan.events)
        update_rows(log, plan)
        for path in plan.files:
            delete_file(path)
    clips, snapshots, scores = (
        [file for file in plan.files.values() if file.kind == kind]
        for kind in ("clip", "snapshot", "scores")
    )
    return PruneResult(
        events=tuple(plan.events),
        clips=_paths(clips),
        snapshots=_paths(snapshots),
        scores=_paths(scores),
        clip_bytes=_sum(clips),
        snapshot_bytes=_sum(snapshots),
        score_bytes=_sum(scores),
    )


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
        *,
        interval_s: float = _INTERVAL_S,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._log, self._folder, self._config = log, folder, config
        self._interval_s, self._now_utc = interval_s, now_utc
        self._thread = ServiceThread(self.name, self._run)

    def start(self) -> None:
        self._thread.start()

    def update_config(self, config: Config) -> None:
        """Apply other limits from the next pass."""
        self._config = config.retention

    def request_stop(self) -> None:
        self._thread.request_stop()

    def join(self, timeout_s: float) -> bool:
        return self._thread.join(timeout_s)

    def _run(self) -> None:
        stopping = self._thread.stopping
        while not stopping.is_set():
            try:
                pruned = prune(self._log, self._folder, self._config, now_utc=self._now_utc())
                if pruned:
                    _log.info("retention deleted %s", pruned)
            except (EventLogError, OSError) as error:
                _log.warning("retention pass failed, will retry: %s", error)
            except Exception:  # the run continues, and the next pass retries
                _log.exception("retention failed")
            stopping.wait(self._interval_s)


@SINKS.register(RetentionThread.name)
def _make(context: SinkContext) -> EventSink | None:
    if context.is_scan:
        return None
    return RetentionThread(context.log, context.folder, context.config.retention)


def update_rows(log: EventLog, plan: Plan) -> None:
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
        own = config.labels.get(row["label"])
        age = (own.events if own else None) or config.events
        if age is not None and row["end"] is not None and row["start"] < iso(_ago(now_utc, age)):
            yield row["id"]


def _by_age(
    plan: Plan,
    folder: Path,
    files: dict[Path, DataFile],
    rows: list[dict[str, Any]],
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    deleted, owned = set(plan.events), set()
    for row in rows:
        own = config.labels.get(row["label"])
        for kind, age in (
            ("clip", (own.clips if own else None) or config.clips),
            ("snapshot", (own.snapshots if own else None) or config.snapshots),
        ):
            if not row[kind]:
                continue
            path = media_path(folder, kind, row)
            owned.add(path)
            if row["id"] in deleted:
                plan.drop(None, files.get(path), kind, "")
            elif row["start"] < iso(_ago(now_utc, age)):
                plan.drop(row, files.get(path), kind, f"older than {_duration(age)}")
    for file in files.values():  # files of no event
        age = config.clips if file.kind == "clip" else config.snapshots
        if file.path not in owned and file.modified_at < _ago(now_utc, age).timestamp():
            plan.drop(None, file, file.kind, "")


def _by_size(
    plan: Plan,
    folder: Path,
    files: list[DataFile],
    rows: list[dict[str, Any]],
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    """Delete the oldest remaining files until the rest fits."""
    owner = {media_path(folder, kind, row): row for row in rows for kind in KINDS if row[kind]}
    remaining = [file for file in files if file.path not in plan.files]
    size = _sum(remaining)
    in_use = now_utc.timestamp() - MAX_FILE_S
    reason = f"clips, snapshots and scores were more than {config.max_size / 1e9:g} GB"
    for file in sorted(remaining, key=lambda file: (file.modified_at, file.path)):
        if size <= config.max_size:
            return
        if file.kind != "scores" or file.modified_at < in_use:
            size -= file.bytes
            plan.drop(owner.get(file.path), file, file.kind, reason)


def _old_scores(
    plan: Plan, scores: list[DataFile], config: RetentionConfig, now_utc: datetime
) -> None:
    before = _ago(now_utc, config.scores).timestamp()
    for file in scores:
        if file.modified_at < before:
            plan.drop(None, file, file.kind, "")


def _paths(files: list[DataFile]) -> tuple[Path, ...]:
    return tuple(file.path for file in files)


def _sum(files: list[DataFile]) -> int:
    return sum(file.bytes for file in files)


def _ago(now_utc: datetime, seconds: float) -> datetime:
    return now_utc - timedelta(seconds=seconds)


def _duration(seconds: float) -> str:
    number, unit = (seconds / 86400, "day") if seconds >= 86400 else (seconds / 3600, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"
