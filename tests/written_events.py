"""A listener of an event log's writer, which stores what it receives."""

from __future__ import annotations

from stream.messages import EventMedia, LoggedEvent


class WrittenEvents:
    def __init__(self) -> None:
        self.events: list[LoggedEvent] = []
        self.orphaned_media: list[EventMedia] = []
        self.crashes: list[str] = []

    def on_written(self, logged: LoggedEvent) -> None:
        self.events.append(logged)

    def on_orphaned_media(self, media: EventMedia) -> None:
        self.orphaned_media.append(media)

    def on_crash(self, reason: str) -> None:
        self.crashes.append(reason)
