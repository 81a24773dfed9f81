"""Recorder: a video clip and a snapshot of each event. Its thread owns the files that it writes.

It runs beside the watch and never holds it up: what can't be written in time is dropped, and what
is reported of the event says so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from stream.capture.latest_frame import LatestPicture
from stream.config.events import RecordingConfig
from stream.messages import Event, Recorded
from stream.regions.clip_source import camera_of
from stream.runtime.metrics import Metrics
from stream.sinks.clips.buffer import ClipBuffer
from stream.sinks.clips.event_clip import EventClip
from stream.sinks.clips.mp4 import PART, ClipFile, write_whole

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.25  # whether pictures have stopped coming
_MOST_OPEN = 16  # clips that are written at a time: each has an encoder, some 20 MB
_MOST_NEWS = 1000  # events that wait for the thread
_MOST_REPORTED = 1000  # events that are remembered so that they are not begun anew
_NICENESS = 5  # encoding must not take the cores from capture and judging
_TO_GIVE_UP_S = 1.0  # of the time to stop
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class RecorderError(Exception):
    """Clips can't be written at all; the message says why and what to do, in one line."""


class Recorder:
    """Writes `clips/ID.mp4` and `snapshots/ID.jpg` in a folder between `start` and `tell_stop`.

    `on_recorded` is told once of each event that has ended, on the recorder's thread. While
    `allowed` says no, for the disk is nearly full, nothing is begun, and clips that are being
    written end with what they have. `detected_within_s` is how long after its start an event may
    be noticed and still have its pre-roll; `set_back_s`, by how much the end of an event that goes
    on may come before where it was last seen: so much of the post-roll waits for its end.
    """

    def __init__(
        self,
        folder: Path,
        config: RecordingConfig,
        metrics: Metrics,
        *,
        on_recorded: Callable[[Recorded], None],
        allowed: Callable[[], bool] = lambda: True,
        detected_within_s: float = 15.0,
        set_back_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clips, self._snapshots = folder / "clips", folder / "snapshots"
        self._config, self._metrics = config, metrics
        self._on_recorded, self._allowed = on_recorded, allowed
        self._keep_s = config.pre_roll + detected_within_s
        self._set_back_s = set_back_s
        self._now = now
        self._lock = threading.Lock()  # of the news and the buffers
        self._buffers: dict[str, ClipBuffer] = {}  # by camera; replaced, never changed
        self._leaving: list[ClipBuffer] = []  # of cameras that were removed
        self._started = False
        # By id: only the newest of each event matters.
        self._news: dict[str, tuple[Event, ClipBuffer]] = {}
        self._open: dict[str, EventClip] = {}  # the thread's own
        self._reported: deque[str] = deque(maxlen=_MOST_REPORTED)  # ids; the thread's own
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def watch(self, camera: str, picture: LatestPicture) -> ClipBuffer:
        """Record events of a camera. Returns where its pictures wait."""
        buffer = ClipBuffer(
            camera,
            picture,
            self._metrics,
            keep_s=self._keep_s,
            memory=self._config.memory,
            on_picture=self._on_picture,
            now=self._now,
        )
        with self._lock:
            self._buffers = {**self._buffers, camera: buffer}
            if self._started and not self._stop.is_set():
                buffer.start()
        return buffer

    def unwatch(self, camera: str) -> None:
        """A camera is gone, and all was said of its events. Their clips end with what is there."""
        with self._lock:
            buffer = self._buffers[camera]
            self._buffers = {name: one for name, one in self._buffers.items() if name != camera}
            self._leaving = [*(one for one in self._leaving if not one.join(0)), buffer]
        buffer.tell_stop()

    def heed(self, *, detected_within_s: float, set_back_s: float) -> None:
        """From now on events may be noticed so long after their start, or be set back so far."""
        with self._lock:
            self._keep_s = self._config.pre_roll + detected_within_s
            self._set_back_s = set_back_s
            for buffer in self._buffers.values():
                buffer.keep_for(self._keep_s)

    def start(self) -> None:
        """Raises RecorderError where the folders can't be made or written to."""
        for folder in (self._clips, self._snapshots):
            try:
                _prepare(folder)
            except OSError as error:
                raise RecorderError(
                    f"recording: {folder} can't be used: {_reason(error)}; make it a folder that"
                    " may be written to, or give another one with --data"
                ) from error
        with self._lock:
            for buffer in self._buffers.values():
                buffer.start()
            self._started = True
        self._thread.start()

    def follow(self, event: Event) -> None:
        """There is news of an event: it starts, goes on or ends. For any thread; never blocks."""
        with self._lock:
            buffer = self._buffers.get(camera_of(event.camera))
            if buffer is None:
                return
            if event.id not in self._news and len(self._news) == _MOST_NEWS:
                self._metrics.count("unrecorded_events", camera_of(event.camera))
                return
            self._news[event.id] = (event, buffer)
        self._wake.set()

    def tell_stop(self) -> None:
        """Finish what is open with what is there."""
        with self._lock:
            self._stop.set()
        for buffer in self._buffers.values():
            buffer.tell_stop()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads' end; clips that would take longer are dropped.

        False where they did not end in time.
        """
        deadline = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(max(timeout_s / 2, timeout_s - _TO_GIVE_UP_S))
            self._give_up.set()
            self._thread.join(max(0.0, deadline - time.monotonic()))
        ended = [
            buffer.join(max(0.0, deadline - time.monotonic())) for buffer in self._all_buffers()
        ]
        return all(ended) and not self._thread.is_alive()

    def _all_buffers(self) -> list[ClipBuffer]:
        with self._lock:
            return [*self._buffers.values(), *self._leaving]

    def _on_picture(self) -> None:
        if self._open:
            self._wake.set()

    def _run(self) -> None:
        try:
            _be_nice()
            while not self._stop.is_set():
                self._wake.wait(_LOOK_EVERY_S if self._open else None)
                self._wake.clear()
                if self._turn():
                    self._wake.set()
            for buffer in self._all_buffers():
                while not buffer.join(_LOOK_EVERY_S) and not self._give_up.is_set():
                    pass
            self._turn(stopping=True)  # for news that came at the end
            while self._open:
                self._turn(stopping=True)
        except Exception:  # the watch goes on without clips
            _log.exception("the recorder died; there are no more clips")
            self._metrics.count("recorder_deaths")

    def _turn(self, *, stopping: bool = False) -> bool:
        """Do a little for each event. True where there is more to do at once.

        `stopping`: all news and all pictures are there. To ask whether the stop was told would not
        do, for that may be in the middle of a turn, with news that the turn has not seen.
        """
        with self._lock:
            news, self._news = self._news, {}
        for event, buffer in news.values():
            self._take(event, buffer)
        self._keep_what_is_needed()
        more = [self._advance(clip, stopping) for clip in self._open.values()]
        for event_id, clip in list(self._open.items()):
            if clip.over and (clip.event.end_s is not None or stopping):
                del self._open[event_id]
                self._report(clip)
        self._keep_what_is_needed()
        return any(more)

    def _take(self, event: Event, buffer: ClipBuffer) -> None:
        clip = self._open.get(event.id)
        if clip is not None:
            clip.event = event
            return
        if event.id in self._reported:  # begun anew, it would take the place of what there is
            return
        file = self._clips / f"{event.id}.mp4"
        self._open[event.id] = EventClip(
            event,
            buffer,
            self._config,
            lambda: self._create(file),
            set_back_s=self._set_back_s,
        )

    def _create(self, file: Path) -> ClipFile:
        if sum(clip.is_open for clip in self._open.values()) >= _MOST_OPEN:
            raise LookupError(f"{_MOST_OPEN} others were being written")
        return ClipFile(file, self._config.width)

    def _advance(self, clip: EventClip, stopping: bool) -> bool:
        """True where there is more to write at once."""
        clip.look_at_peak()
        if clip.over:
            return False
        if self._give_up.is_set():
            self._drop(clip, "clip dropped: the watch ended before it was written")
            return False
        allowed = self._allowed()
        if not allowed and not clip.shows_event:
            self._drop(clip, "no clip: disk nearly full", snapshot=False)
            return False
        try:
            if not allowed:
                clip.cut("disk nearly full")
                return False
            return clip.write(stopping=stopping)
        except Exception as error:  # of an encoder, a disk: nothing else may stop for that
            self._drop(clip, f"clip dropped: {_reason(error)}")
            return False

    def _drop(self, clip: EventClip, note: str, *, snapshot: bool = True) -> None:
        clip.drop(note, snapshot=snapshot)
        self._metrics.count("dropped_clips", clip.buffer.camera)
        _log.warning("%s, event %s: %s", clip.event.camera, clip.event.id, note)

    def _keep_what_is_needed(self) -> None:
        for buffer in self._buffers.values():
            buffer.need_from(min(self._needed_of(buffer), default=None))

    def _needed_of(self, buffer: ClipBuffer) -> Iterator[float]:
        for clip in self._open.values():
            if clip.buffer is buffer and clip.needed_s is not None:
                yield clip.needed_s

    def _report(self, clip: EventClip) -> None:
        name, snapshot = clip.event.id, ""
        self._reported.append(name)
        if clip.snapshot is not None and clip.wants_snapshot:
            try:
                write_whole(clip.snapshot.jpeg, self._snapshots / f"{name}.jpg")
                snapshot = f"{name}.jpg"
            except OSError as error:
                clip.notes.append(f"no snapshot: {_reason(error)}")
        if clip.whole:
            self._metrics.count("clips", clip.buffer.camera)
        notes = "; ".join(clip.notes)
        if clip.whole:
            recorded = Recorded(name, f"{name}.mp4", snapshot, notes, clip.start_s)
        else:
            recorded = Recorded(name, "", snapshot, notes)
        self._on_recorded(recorded)


def _prepare(folder: Path) -> None:
    """Make a folder to write into, without what a killed run left. Raises OSError."""
    if folder.exists() and not folder.is_dir():
        raise OSError("it is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"*{PART}"):
        if not left.is_dir():  # nothing of ours
            left.unlink()
    try:  # permissions alone don't tell, of network disks for example
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _NO_ROOM:  # that may pass, and costs clips only
            raise


def _reason(error: Exception) -> str:
    """One line without paths."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _be_nice() -> None:
    """Let the other threads go first, where a thread has a priority of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # some sandboxes forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
