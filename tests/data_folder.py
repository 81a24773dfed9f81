"""A data folder with events of different ages, for tests of what deletes files."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from stream.config.events import RetentionConfig
from stream.messages import Event, EventMedia, LoggedEvent
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.retention import PrunePlan, prune

NOW = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
DAY_S = 86400.0


class Folder:
    """A data folder with events of different ages, and files of 1000 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = EventLog.create(path, lock_timeout_s=0.02)
        self.journal = Journal(path)
        for name in ("clips", "snapshots", "scores"):
            (path / name).mkdir()

    def event(
        self, number: int, days_ago: float, label: str = "wave", *, closed: bool = True
    ) -> str:
        """Add an event with a clip and a snapshot. Returns its id."""
        name = f"{number:032x}"
        end_s = 2.0 if closed else None
        event = Event(name, "door", label, 0.0, 2.0, end_s, 1.0, 0.9, 1.0, 0.8)
        start_utc = NOW - timedelta(days=days_ago)
        media = EventMedia(name, f"{name}.mp4", f"{name}.jpg", "", 0.5)
        self.log.write_updates([LoggedEvent(event, "end", start_utc, "motion"), media])
        self.file(f"clips/{name}.mp4", days_ago)
        self.file(f"snapshots/{name}.jpg", days_ago)
        return name

    def file(self, name: str, days_ago: float) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
        moment = (NOW - timedelta(days=days_ago)).timestamp()
        os.utime(file, (moment, moment))
        return file

    def prune(self, *, dry_run: bool = False, **config: object) -> PrunePlan:
        settings = RetentionConfig.model_validate(config)
        return prune(self.log, self.path, settings, now_utc=NOW, dry_run=dry_run)

    def row(self, name: str) -> dict:
        return next(row for row in self.log.rows() if row["id"] == name)

    @property
    def files(self) -> set[str]:
        """The names of clips, snapshots and score files, without leading zeros."""
        return {
            file.name.lstrip("0")
            for name in ("clips", "snapshots", "scores")
            for file in (self.path / name).rglob("*.*")
        }
