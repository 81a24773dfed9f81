"""EventClip: the clip and the snapshot of one event while they come to be. Used by one thread."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

from stream.config.events import RecordingConfig
from stream.messages import Event
from stream.sinks.clips.buffer import ClipBuffer, Picture
from stream.sinks.clips.mp4 import ClipFile

_LATE_S = 2.0  # pictures that are due for longer than this don't come any more
_EARLY_S = 0.02  # half a frame: a picture may be so much before the moment it is meant for
_AT_ONCE = 8  # pictures that are written before others have their turn


class EventClip:
    """What is recorded of an event, from the first news of it until it is reported.

    `create` opens the clip's file when its first picture is there. Memory stays bounded however
    long the event is, for pictures are written as they come. `set_back_s` is by how much the end
    of an open event may still come before where it was last seen.
    """

    def __init__(
        self,
        event: Event,
        buffer: ClipBuffer,
        config: RecordingConfig,
        create: Callable[[], ClipFile],
        *,
        set_back_s: float,
    ) -> None:
        self.event = event  # as of the newest news
        self.buffer = buffer
        self.start_s: float | None = None  # when the clip's first picture was taken
        self.over = False  # the clip is whole, or there will be none
        self.whole = False
        self.wants_snapshot = True
        self.snapshot: Picture | None = None  # nearest to the peak so far
        self.notes: list[str] = []
        self._config, self._create, self._set_back_s = config, create, set_back_s
        self._file: ClipFile | None = None
        self._from_s = event.start_s - config.pre_roll - _EARLY_S
        self._written_s = self._from_s  # time of the newest picture in the file
        self._cut_s = inf  # longer it must not become
        self._pictures = self._missed = 0

    @property
    def is_open(self) -> bool:
        """A file is being written."""
        return self._file is not None

    @property
    def shows_event(self) -> bool:
        """The file has more than what was before the event."""
        return self._pictures > 0 and self._written_s >= self.event.start_s

    @property
    def needed_s(self) -> float | None:
        """Pictures from there on are still needed; None: none are."""
        return None if self.over else self._written_s

    def look_at_peak(self) -> None:
        """Keep the picture for the snapshot, because the buffer moves on."""
        peak_s, found = self.event.peak_s, self.buffer.nearest(self.event.peak_s)
        kept = self.snapshot
        if found is None:
            return
        if kept is None or abs(found.time_s - peak_s) < abs(kept.time_s - peak_s):
            self.snapshot = found

    def write(self, *, stopping: bool) -> bool:
        """Write what is there and certain to belong to it. True where there may be more at once.

        Where pictures that are to come had to go, the clip ends before them. Raises LookupError
        where it would then show nothing of the event, besides what ClipFile raises.
        """
        newest_s, quiet_s = self.buffer.newest_s, self.buffer.quiet_s  # before looking for pictures
        until_s = self._until_s()
        no_more = stopping or (
            self.event.end_s is not None
            and quiet_s > max(0.0, until_s - (until_s if newest_s is None else newest_s)) + _LATE_S
        )
        if self._file is None:
            if newest_s is None or newest_s < self._from_s:
                if no_more:
                    raise LookupError("the camera brought no pictures of it")
                return False
            self._begin()
            until_s = self._until_s()
        assert self._file is not None
        try:
            pictures = self.buffer.between(self._written_s, until_s, _AT_ONCE)
        except LookupError as error:
            if not self.shows_event:
                raise
            self.cut(str(error))
            return False
        for picture in pictures:
            self._file.add(picture.jpeg, picture.time_s)
            self._missed += picture.missed if self._pictures else 0  # else before it began
            self._pictures += 1
            self._written_s = picture.time_s
        if len(pictures) == _AT_ONCE:
            return True
        settled = self.event.end_s is not None or until_s == self._cut_s
        if no_more or (settled and newest_s is not None and newest_s >= until_s):
            if until_s == self._cut_s:
                self.notes.append(f"cut after {self._config.longest:g} s")
            self._missed += self._missed_before(until_s)
            self._finish()
        return False

    def cut(self, why: str) -> None:
        """End the clip with what is in its file. Raises what `write` does."""
        self.notes.append(f"cut: {why}")
        self._finish()

    def drop(self, note: str, *, snapshot: bool = True) -> None:
        """There will be no clip, and nothing is left of what there was."""
        self.wants_snapshot = snapshot
        if self._file is not None:
            self._file.discard()
        self._file, self.over, self.notes = None, True, [note]

    def _until_s(self) -> float:
        """To where it goes, as far as is certain."""
        if self.event.end_s is not None:
            until_s = self.event.end_s + self._config.post_roll
        else:
            until_s = self.event.latest_s + self._config.post_roll - self._set_back_s
        return min(until_s, self._cut_s)

    def _begin(self) -> None:
        first, lost_s = self.buffer.first_from(self._from_s), self.buffer.lost_s
        assert first is not None  # there are pictures as new as that
        late_s = first.time_s - self._from_s - _EARLY_S
        if lost_s is not None and lost_s >= self._from_s and late_s > _EARLY_S:
            self.notes.append(f"begins {late_s:.2f} s late: earlier pictures were kept no more")
        self._file = self._create()
        self.start_s = first.time_s
        self._written_s = nextafter(first.time_s, -inf)
        self._cut_s = first.time_s + self._config.longest

    def _missed_before(self, until_s: float) -> int:
        """Pictures that should have been the clip's last. A picture after them knows how many
        there were; where none came, nobody does."""
        after = self.buffer.first_from(nextafter(self._written_s, inf))
        if after is None or not self._pictures:
            return 0
        share = (until_s - self._written_s) / (after.time_s - self._written_s)
        return min(after.missed, int(share * (after.missed + 1) + 1e-6))  # they come at one rate

    def _finish(self) -> None:
        if self._file is None or not self._pictures:
            raise LookupError("the camera brought no pictures of it")
        if self._missed:
            self.notes.append(f"{self._missed} pictures are missing: the machine was too busy")
        self._file.finish()
        self._file, self.over, self.whole = None, True, True
