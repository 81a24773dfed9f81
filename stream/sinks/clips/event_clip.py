"""EventClip: clip and snapshot of one event while they are recorded. Used by one thread."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

from stream.config.events import RecordingConfig
from stream.messages import Event
from stream.sinks.clips.buffer import BufferedFrame, ClipBuffer
from stream.sinks.clips.mp4 import ClipFile

_FRAME_TIMEOUT_S = 2.0  # later than this after they are due, frames don't arrive any more
_TOLERANCE_S = 0.02  # half a frame: a clip may start this much early
_MAX_FRAMES_PER_WRITE = 8  # so that other clips are written in between


class EventClip:
    """Records one event, from its first update until its media are reported.

    `create` opens the file of an event id once the clip's first frame is available. Frames are
    written as they arrive, so memory stays bounded for events of any length. The end of an open
    event may still be up to `max_end_shift_s` before its `latest_s`.
    """

    def __init__(
        self,
        event: Event,
        buffer: ClipBuffer,
        config: RecordingConfig,
        create: Callable[[str], ClipFile],
        *,
        max_end_shift_s: float,
    ) -> None:
        self.event = event  # latest update
        self.buffer = buffer
        self.start_s: float | None = None  # time of the clip's first frame, None if there is none
        self.is_done = False  # the clip is complete, or dropped
        self.is_complete = False
        self.wants_snapshot = True
        self.snapshot: BufferedFrame | None = None  # nearest to the peak so far
        self.notes: list[str] = []
        self._config, self._create, self._max_end_shift_s = config, create, max_end_shift_s
        self._file: ClipFile | None = None
        self._from_s = event.start_s - config.pre_roll - _TOLERANCE_S
        self._written_s = self._from_s  # time of the newest frame in the file
        self._max_end_s = inf  # by recording.max_duration
        self._frame_count = self._dropped_frames = 0

    @property
    def is_open(self) -> bool:
        """Whether its file is being written."""
        return self._file is not None

    @property
    def shows_event(self) -> bool:
        """Whether the file contains frames of the event, not only of the pre-roll."""
        return self._frame_count > 0 and self._written_s >= self.event.start_s

    @property
    def needed_from_s(self) -> float:
        """Frames from this time on are still needed; infinity: none are."""
        return inf if self.is_done else self._written_s

    def update_snapshot(self) -> None:
        """Store the frame nearest to the peak before the buffer evicts it."""
        peak_s, nearest = self.event.peak_s, self.buffer.nearest(self.event.peak_s)
        previous = self.snapshot
        if nearest is None:
            return
        if previous is None or abs(nearest.time_s - peak_s) < abs(previous.time_s - peak_s):
            self.snapshot = nearest

    def write(self, *, stopping: bool) -> bool:
        """Write the buffered frames that certainly belong to the clip. True if more may be ready.

        If the buffer evicted frames of the clip, it ends before them. Raises LookupError if it
        would then show nothing of the event, and the errors of ClipFile.
        """
        newest_s, idle_s = self.buffer.newest_s, self.buffer.idle_s  # before reading frames
        until_s = self._until_s()
        is_last = stopping or (
            self.event.end_s is not None
            and idle_s
            > max(0.0, until_s - (until_s if newest_s is None else newest_s)) + _FRAME_TIMEOUT_S
        )
        if self._file is None:
            if newest_s is None or newest_s < self._from_s:
                if is_last:
                    raise LookupError("the camera delivered no frames of the event")
                return False
            self._open_file()
            until_s = self._until_s()
        assert self._file is not None
        try:
            frames = self.buffer.between(self._written_s, until_s, _MAX_FRAMES_PER_WRITE)
        except LookupError as error:
            if not self.shows_event:
                raise
            self.cut(str(error))
            return False
        for frame in frames:
            self._file.add(frame.jpeg, frame.time_s)
            # Drops before the clip's first frame don't count.
            self._dropped_frames += frame.dropped_before if self._frame_count else 0
            self._frame_count += 1
            self._written_s = frame.time_s
        if len(frames) == _MAX_FRAMES_PER_WRITE:
            return True
        is_end_known = self.event.end_s is not None or until_s == self._max_end_s
        if is_last or (is_end_known and newest_s is not None and newest_s >= until_s):
            if until_s == self._max_end_s:
                self.notes.append(f"cut after {self._config.max_duration:g} s")
            self._dropped_frames += self._dropped_until(until_s)
            self._finish()
        return False

    def cut(self, why: str) -> None:
        """End the clip with the frames in its file. Raises the errors of `write`."""
        self.notes.append(f"cut: {why}")
        self._finish()

    def drop(self, note: str, *, snapshot: bool = True) -> None:
        """Delete the unfinished clip; the event has none."""
        self.wants_snapshot = snapshot
        if self._file is not None:
            self._file.discard()
        self._file, self.start_s, self.is_done, self.notes = None, None, True, [note]

    def _until_s(self) -> float:
        """End of the clip, as far as it is certain."""
        if self.event.end_s is not None:
            until_s = self.event.end_s + self._config.post_roll
        else:
            until_s = self.event.latest_s + self._config.post_roll - self._max_end_shift_s
        return min(until_s, self._max_end_s)

    def _open_file(self) -> None:
        first, evicted_s = self.buffer.first_from(self._from_s), self.buffer.evicted_s
        assert first is not None  # `write` has checked it
        late_s = first.time_s - self._from_s - _TOLERANCE_S
        if evicted_s is not None and evicted_s >= self._from_s and late_s > _TOLERANCE_S:
            self.notes.append(f"starts {late_s:.2f} s late: earlier frames were no longer buffered")
        self._file = self._create(self.event.id)
        self.start_s = first.time_s
        self._written_s = nextafter(first.time_s, -inf)
        self._max_end_s = first.time_s + self._config.max_duration

    def _dropped_until(self, until_s: float) -> int:
        """Dropped frames at the end of the clip, estimated from the first frame after it.
        Unknown, and 0, if there is none."""
        following = self.buffer.first_from(nextafter(self._written_s, inf))
        if following is None or not self._frame_count:
            return 0
        # Assumes a constant frame rate.
        fraction = (until_s - self._written_s) / (following.time_s - self._written_s)
        dropped = following.dropped_before
        return min(dropped, int(fraction * (dropped + 1) + 1e-6))

    def _finish(self) -> None:
        if self._file is None or not self._frame_count:
            raise LookupError("the camera delivered no frames of the event")
        if self._dropped_frames:
            self.notes.append(
                f"{self._dropped_frames} frames were dropped: the machine was overloaded"
            )
        self._file.finish()
        self._file, self.is_done, self.is_complete = None, True, True
