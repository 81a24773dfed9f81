"""What is kept for how long: removes events, clips, snapshots and scores by age, label and size.

`Keeper` owns the thread "retention".
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from stream.config.events import RetentionConfig
from stream.messages import Recorded
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import iso
from stream.sinks.score_log import FILE_LASTS_S
from stream.sinks.score_log import FOLDER as SCORES

_log = logging.getLogger(__name__)
_EVERY_S = 3600.0
_AT_ONCE = 200  # rows that are changed in one transaction
_MISSED_WITHIN = timedelta(days=7)  # so far back a run looks for clips that are gone
# The columns of the files, and how those are called that we wrote. Others are not touched.
_KINDS = {
    "clip": ("clips", re.compile(r"[0-9a-f]{32}\.mp4")),
    "snapshot": ("snapshots", re.compile(r"[0-9a-f]{32}\.jpg")),
}


@dataclass(frozen=True, slots=True)
class _File:
    kind: str  # a key of _KINDS, or "scores"
    path: Path
    bytes: int
    changed_at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be."""

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
        told = (f"{what} ({size / 1e6:.1f} MB)" for what, size in files)
        return ", ".join((f"{len(self.events)} events", *told))


@dataclass(slots=True)
class _Plan:
    """What is to go."""

    events: list[str] = field(default_factory=list)
    files: dict[Path, _File] = field(default_factory=dict)
    rows: dict[str, Recorded] = field(default_factory=dict)  # as they will be, by event

    def drop(self, row: Mapping[str, Any] | None, file: _File | None, kind: str, why: str) -> None:
        """A file, if it is there, and from the row of its event, if that stays."""
        if file is not None:
            self.files[file.path] = file
        if row is not None:
            names = ("id", "clip", "snapshot", "clip_note", "clip_start_s")
            kept = self.rows.get(row["id"]) or Recorded(*(row[name] for name in names))
            if kind == "clip":
                gone = replace(kept, clip="", note=f"removed: {why}", clip_start_s=None)
                self.rows[row["id"]] = gone
            else:
                self.rows[row["id"]] = replace(kept, snapshot="")


def prune(
    log: EventLog,
    folder: Path,
    config: RetentionConfig,
    *,
    now_utc: datetime,
    dry_run: bool = False,
) -> Pruned:
    """Remove from a data folder what `config` doesn't keep. A run may be writing to it.

    A removed event takes its clip and snapshot with it; a removed clip is noted in its event's row.
    With `dry_run` nothing is changed. Raises EventLogError where the log can't be used.
    """
    files = {file.path: file for file in _files(folder)}
    rows = [row for row in log.rows(EventQuery(recorded=True)) if row["end"] is not None]
    plan = _Plan(events=list(_old_events(log, config, now_utc)))
    scores = list(_scores(folder))
    _by_age(plan, folder, files, rows, config, now_utc)
    _old_scores(plan, scores, config, now_utc)
    _by_size(plan, folder, [*files.values(), *scores], rows, config, now_utc)
    if not dry_run:
        # Rows first: a file without a row is removed later, a row without a file misleads.
        log.delete(plan.events)
        _note(log, plan)
        for path in plan.files:
            _remove(path)
    clips, snapshots, scores = (
        [file for file in plan.files.values() if file.kind == kind]
        for kind in ("clip", "snapshot", "scores")
    )
    return Pruned(
        events=tuple(plan.events),
        clips=_paths(clips),
        snapshots=_paths(snapshots),
        scores=_paths(scores),
        clip_bytes=_sum(clips),
        snapshot_bytes=_sum(snapshots),
        score_bytes=_sum(scores),
    )


def delete_event(log: EventLog, folder: Path, event_id: str) -> None:
    """Remove an event of a data folder for a person, with its clip and its snapshot.

    Raises UnknownEventError where there is none, OpenEventError while it goes on: there would be
    news of it, and it would be there again.
    """
    row = log.event(event_id)
    if row is None:
        raise UnknownEventError(f"event {event_id} is not in the log of {folder}; list it anew")
    if row["end"] is None:
        raise OpenEventError(f"event {event_id} still goes on; delete it when it is over")
    log.delete([event_id])  # first the row, as in `prune`: what a crash leaves is swept away
    _remove_files(folder, row)


def forget_recorded(folder: Path, recorded: Recorded) -> None:
    """Remove the files of an event that was deleted while they were still being written."""
    _remove_files(folder, {"clip": recorded.clip, "snapshot": recorded.snapshot})


def sweep(
    log: EventLog,
    folder: Path,
    since: float | None,
    *,
    now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> None:
    """Mend what a killed run left: for a run that begins, which holds the folder.

    Unfinished files go, and so do clips and snapshots of no event that were written after `since`,
    when the former run began: seconds since 1970, None if unknown. Clips that are gone are noted
    in the rows of the last days. A log without events is perhaps not this folder's: then nothing
    is done. Raises EventLogError where the log can't be used.
    """
    if log.count() == 0:
        return
    for directory, _ in _KINDS.values():
        for part in (folder / directory).glob("*.part"):
            _remove(part)
    rows = list(log.rows(EventQuery(recorded=True)))
    known = {_path(folder, kind, row) for row in rows for kind in _KINDS}
    known |= set(_waiting(folder))
    for file in _files(folder):
        if since is not None and file.changed_at >= since and file.path not in known:
            _log.info("removing %s: it belongs to no event", file.path)
            _remove(file.path)
    lately, plan = iso(now_utc() - _MISSED_WITHIN), _Plan()
    for row in rows:
        for kind, (directory, _) in _KINDS.items():
            is_gone = row[kind] and not (folder / directory / row[kind]).exists()
            # Without their folder all are: a disk is not mounted.
            if is_gone and row["start"] >= lately and (folder / directory).is_dir():
                plan.drop(row, None, kind, "the file is gone")
    _note(log, plan)


class Keeper:
    """Prunes a folder that a run writes to, at the start and every hour."""

    def __init__(
        self,
        log: EventLog,
        folder: Path,
        config: RetentionConfig,
        *,
        every_s: float = _EVERY_S,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._log, self._folder, self._config = log, folder, config
        self._every_s, self._now_utc = every_s, now_utc
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def heed(self, config: RetentionConfig) -> None:
        """Keep to other times and sizes from the next look on. Any thread may call it."""
        self._config = config

    def tell_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until it has ended; False where it did not in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                gone = prune(self._log, self._folder, self._config, now_utc=self._now_utc())
                if gone:
                    _log.info("not kept any longer: %s", gone)
            except (EventLogError, OSError) as error:
                _log.warning("nothing was removed this time: %s", error)
            except Exception:  # it is tried again, and the watch goes on
                _log.exception("retention failed")
            self._stop.wait(self._every_s)


def _note(log: EventLog, plan: _Plan) -> None:
    """In the rows. A few at a time: a run's own news must not wait for long."""
    rows = list(plan.rows.values())
    for first in range(0, len(rows), _AT_ONCE):
        log.save(rows[first : first + _AT_ONCE])


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
    plan: _Plan,
    folder: Path,
    files: dict[Path, _File],
    rows: list[dict[str, Any]],
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    removed, owned = set(plan.events), set()
    for row in rows:
        own = config.labels.get(row["label"])
        for kind, age in (
            ("clip", (own.clips if own else None) or config.clips),
            ("snapshot", (own.snapshots if own else None) or config.snapshots),
        ):
            if not row[kind]:
                continue
            path = _path(folder, kind, row)
            owned.add(path)
            if row["id"] in removed:
                plan.drop(None, files.get(path), kind, "")
            elif row["start"] < iso(_ago(now_utc, age)):
                plan.drop(row, files.get(path), kind, f"older than {_duration(age)}")
    for file in files.values():  # those of no event
        age = config.clips if file.kind == "clip" else config.snapshots
        if file.path not in owned and file.changed_at < _ago(now_utc, age).timestamp():
            plan.drop(None, file, file.kind, "")


def _by_size(
    plan: _Plan,
    folder: Path,
    files: list[_File],
    rows: list[dict[str, Any]],
    config: RetentionConfig,
    now_utc: datetime,
) -> None:
    """The oldest of what stays, until the rest fits."""
    owner = {_path(folder, kind, row): row for row in rows for kind in _KINDS if row[kind]}
    left = [file for file in files if file.path not in plan.files]
    size = _sum(left)
    in_use = now_utc.timestamp() - FILE_LASTS_S
    why = f"clips, snapshots and scores were more than {config.size / 1e9:g} GB"
    for file in sorted(left, key=lambda file: (file.changed_at, file.path)):
        if size <= config.size:
            return
        if file.kind != "scores" or file.changed_at < in_use:
            size -= file.bytes
            plan.drop(owner.get(file.path), file, file.kind, why)


def _old_scores(
    plan: _Plan, scores: list[_File], config: RetentionConfig, now_utc: datetime
) -> None:
    before = _ago(now_utc, config.scores).timestamp()
    for file in scores:
        if file.changed_at < before:
            plan.drop(None, file, file.kind, "")


def _files(folder: Path) -> Iterator[_File]:
    """The clips and snapshots of a data folder."""
    for kind, (directory, named) in _KINDS.items():
        for path in sorted((folder / directory).glob("*")):
            file = _file(kind, path) if named.fullmatch(path.name) else None
            if file is not None:
                yield file


def _scores(folder: Path) -> Iterator[_File]:
    for path in sorted((folder / SCORES).rglob("*.scores")):
        file = _file("scores", path)
        if file is not None:
            yield file


def _file(kind: str, path: Path) -> _File | None:
    try:
        found = path.lstat()
    except OSError:  # it went meanwhile
        return None
    return _File(kind, path, found.st_size, found.st_mtime)


def _path(folder: Path, kind: str, row: Mapping[str, Any]) -> Path:
    return folder / _KINDS[kind][0] / row[kind]


def _waiting(folder: Path) -> Iterator[Path]:
    """The files of events that are in the journal, not in the log yet."""
    try:
        news = [one for _, batch in Journal(folder).batches() for one in batch]
    except OSError as error:
        raise EventLogError(f"the journal in {folder} can't be read: {error.strerror}") from error
    for one in news:
        if isinstance(one, Recorded):
            row = {"clip": one.clip, "snapshot": one.snapshot}
            yield from (_path(folder, kind, row) for kind in _KINDS)


def _remove_files(folder: Path, row: Mapping[str, Any]) -> None:
    for kind, (_, named) in _KINDS.items():
        if named.fullmatch(row[kind]):
            _remove(_path(folder, kind, row))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s can't be removed: %s", path, error.strerror)


def _paths(files: list[_File]) -> tuple[Path, ...]:
    return tuple(file.path for file in files)


def _sum(files: list[_File]) -> int:
    return sum(file.bytes for file in files)


def _ago(now_utc: datetime, seconds: float) -> datetime:
    return now_utc - timedelta(seconds=seconds)


def _duration(seconds: float) -> str:
    number, unit = (seconds / 86400, "day") if seconds >= 86400 else (seconds / 3600, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"
