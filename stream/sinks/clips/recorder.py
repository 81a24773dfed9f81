"""Recorder: a video clip and a snapshot of each event. Its thread owns the files that it writes.

It never blocks the pipeline: clips that can't be written in time are dropped, and the event's media
report says so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from stream.capture.camera import Camera
from stream.capture.latest_frame import LatestFrame
from stream.config.config import Config
from stream.config.events import EventsConfig, RecordingConfig
from stream.messages import Event, EventMedia, LoggedEvent
from stream.regions.clip_source import camera_of
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import PART, write_atomically
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.clips.buffer import ClipBuffer
from stream.sinks.clips.event_clip import EventClip
from stream.sinks.clips.mp4 import ClipFile

_log = logging.getLogger(__name__)
_POLL_INTERVAL_S = 0.25  # to notice that frames stopped arriving
_MAX_SPAN_S = 13.0  # a little more than the longest clip of the published models
_MAX_OPEN_CLIPS = 16  # each has an encoder of about 20 MB
_MAX_UPDATES = 1000  # events that wait for the thread
_MAX_REPORTED = 1000  # ids of finished events, so that they are not recorded twice
_NICENESS = 5  # capture and event detection have priority over encoding
_ABORT_RESERVE_S = 1.0  # part of the stop timeout for dropping open clips
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class RecorderError(UserError):
    """Clips can't be written at all; the message names the cause and the fix, in one line."""


class Recorder(EventSink):
    """Writes `clips/ID.mp4` and `snapshots/ID.jpg` in a folder between `start` and `request_stop`.

    `on_media` is called once per ended event, on the recorder's thread. While `allowed` returns
    False (the disk is nearly full), no clip is started, and open ones end early.
    """

    name = "recorder"
    feeds_log = True
    min_stop_s = 2.0  # finishes open clips

    def __init__(
        self,
        folder: Path,
        config: RecordingConfig,
        events: EventsConfig,
        metrics: Metrics,
        *,
        on_media: Callable[[EventMedia], object],
        allowed: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clips, self._snapshots = folder / "clips", folder / "snapshots"
        self._config, self._events, self._metrics = config, events, metrics
        self._on_media, self._allowed = on_media, allowed
        self._now = now
        self._lock = threading.Lock()  # guards updates and buffers
        self._buffers: dict[str, ClipBuffer] = {}  # by camera; replaced, never mutated
        self._removed_buffers: list[ClipBuffer] = []  # of removed cameras
        self._started = False
        # By event id: only the latest update of each event matters.
        self._updates: dict[str, tuple[Event, ClipBuffer]] = {}
        self._open: dict[str, EventClip] = {}  # used by the thread only
        self._reported: deque[str] = deque(maxlen=_MAX_REPORTED)  # event ids, used likewise
        self._wake = threading.Event()
        self._abort = threading.Event()
        # The run continues without clips after a crash.
        self._thread = ServiceThread(
            self.name, self._run, metrics=metrics, crashes="recorder_crashes"
        )

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        for camera in removed:
            self.remove_camera(camera.name)
        for camera in added:
            self.add_camera(camera.name, camera.latest_frame)

    def add_camera(self, camera: str, latest_frame: LatestFrame) -> ClipBuffer:
        """Record events of a camera. Returns its buffer."""
        buffer = ClipBuffer(
            camera,
            latest_frame,
            self._metrics,
            duration_s=self._buffer_s(),
            max_bytes=self._config.max_buffer,
            on_buffered=self._on_buffered,
            now=self._now,
        )
        with self._lock:
            self._buffers = {**self._buffers, camera: buffer}
            if self._started and not self._thread.stopping.is_set():
                buffer.start()
        return buffer

    def remove_camera(self, camera: str) -> None:
        """Stop recording a camera, after its last event update. Open clips end early."""
        with self._lock:
            buffer = self._buffers[camera]
            self._buffers = {name: one for name, one in self._buffers.items() if name != camera}
            self._removed_buffers = [
                *(one for one in self._removed_buffers if not one.join(0)),
                buffer,
            ]
        buffer.request_stop()

    def update_config(self, config: Config) -> None:
        with self._lock:
            self._events = config.events
            for buffer in self._buffers.values():
                buffer.set_duration(self._buffer_s())

    def _buffer_s(self) -> float:
        return self._config.pre_roll + max_detection_delay_s(self._events)

    def start(self) -> None:
        """Raises RecorderError if the folders can't be created or written to."""
        for folder in (self._clips, self._snapshots):
            try:
                _prepare_folder(folder)
            except OSError as error:
                raise RecorderError(
                    f"recording: {folder} can't be used: {reason_of(error)}; make it a"
                    " writable folder, or choose another one with --data"
                ) from error
        with self._lock:
            for buffer in self._buffers.values():
                buffer.start()
            self._started = True
        self._thread.start()

    def on_event(self, logged: LoggedEvent) -> None:
        """Queue an event update. Any thread may call it."""
        event = logged.event
        with self._lock:
            buffer = self._buffers.get(camera_of(event.camera))
            if buffer is None:
                return
            if event.id not in self._updates and len(self._updates) == _MAX_UPDATES:
                self._metrics.count("recorder_dropped_events", camera_of(event.camera))
                return
            self._updates[event.id] = (event, buffer)
        self._wake.set()

    def request_stop(self) -> None:
        """Finish the open clips with the frames that are buffered."""
        with self._lock:
            self._thread.request_stop()
        for buffer in self._buffers.values():
            buffer.request_stop()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the threads end; clips that would take longer are dropped.

        Returns whether they ended in time.
        """
        deadline = time.monotonic() + timeout_s
        self._thread.join(max(timeout_s / 2, timeout_s - _ABORT_RESERVE_S))
        self._abort.set()
        ended = self._thread.join(max(0.0, deadline - time.monotonic()))
        for buffer in self._all_buffers():
            ended &= buffer.join(max(0.0, deadline - time.monotonic()))
        return ended

    def _all_buffers(self) -> list[ClipBuffer]:
        with self._lock:
            return [*self._buffers.values(), *self._removed_buffers]

    def _on_buffered(self) -> None:
        if self._open:
            self._wake.set()

    def _run(self) -> None:
        _lower_priority()
        while not self._thread.stopping.is_set():
            self._wake.wait(_POLL_INTERVAL_S if self._open else None)
            self._wake.clear()
            if self._step():
                self._wake.set()
        for buffer in self._all_buffers():
            while not buffer.join(_POLL_INTERVAL_S) and not self._abort.is_set():
                pass
        self._step(stopping=True)  # for the last updates
        while self._open:
            self._step(stopping=True)

    def _step(self, *, stopping: bool = False) -> bool:
        """Write a few frames of each clip. Returns True if there is more to write at once.

        `stopping`: all updates and all frames have arrived. The stop event does not say that: it
        may be set in the middle of a step, with updates that the step has not seen.
        """
        with self._lock:
            updates, self._updates = self._updates, {}
        for event, buffer in updates.values():
            self._apply_update(event, buffer)
        self._retain_needed_frames()
        more = [self._advance(clip, stopping) for clip in self._open.values()]
        for event_id, clip in list(self._open.items()):
            if clip.is_done and (clip.event.end_s is not None or stopping):
                del self._open[event_id]
                self._report(clip)
        self._retain_needed_frames()
        return any(more)

    def _apply_update(self, event: Event, buffer: ClipBuffer) -> None:
        clip = self._open.get(event.id)
        if clip is not None:
            clip.event = event
            return
        if event.id in self._reported:  # a second recording would overwrite the first
            return
        self._open[event.id] = EventClip(
            event,
            buffer,
            self._config,
            self._create_file,
            max_end_shift_s=max_end_shift_s(self._events),
        )

    def _create_file(self, event_id: str) -> ClipFile:
        if sum(clip.is_open for clip in self._open.values()) >= _MAX_OPEN_CLIPS:
            raise LookupError(f"{_MAX_OPEN_CLIPS} other clips were open")
        return ClipFile(self._clips / f"{event_id}.mp4", self._config.width)

    def _advance(self, clip: EventClip, stopping: bool) -> bool:
        """Returns True if there is more to write at once."""
        clip.update_snapshot()
        if clip.is_done:
            return False
        if self._abort.is_set():
            self._drop(clip, "clip dropped: the run ended before it was written")
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
        except Exception as error:  # of an encoder or disk: other clips must continue
            self._drop(clip, f"clip dropped: {reason_of(error)}")
            return False

    def _drop(self, clip: EventClip, note: str, *, snapshot: bool = True) -> None:
        clip.drop(note, snapshot=snapshot)
        self._metrics.count("dropped_clips", clip.buffer.camera)
        _log.warning("%s, event %s: %s", clip.event.camera, clip.event.id, note)

    def _retain_needed_frames(self) -> None:
        for buffer in self._buffers.values():
            clips = [clip for clip in self._open.values() if clip.buffer is buffer]
            buffer.retain_from(min((clip.needed_from_s for clip in clips), default=math.inf))

    def _report(self, clip: EventClip) -> None:
        name, snapshot = clip.event.id, ""
        self._reported.append(name)
        if clip.snapshot is not None and clip.wants_snapshot:
            try:
                write_atomically(self._snapshots / f"{name}.jpg", clip.snapshot.jpeg)
                snapshot = f"{name}.jpg"
            except OSError as error:
                clip.notes.append(f"no snapshot: {reason_of(error)}")
        file = f"{name}.mp4" if clip.is_complete else ""
        if file:
            self._metrics.count("clips", clip.buffer.camera)
        self._on_media(EventMedia(name, file, snapshot, "; ".join(clip.notes), clip.start_s))


@SINKS.register(Recorder.name)
def _make(context: SinkContext) -> EventSink | None:
    if not context.config.recording.enabled:
        return None
    return Recorder(
        context.folder,
        context.config.recording,
        context.config.events,
        context.metrics,
        on_media=context.writer.put,
        allowed=lambda: context.disk.clips_allowed,
        now=context.now,
    )


def max_detection_delay_s(policy: EventsConfig) -> float:
    """Maximum delay from an event's start to its detection; its pre-roll stays buffered so long."""
    min_duration = max(policy.policy(label).min_duration for label in ("", *policy.labels))
    return _MAX_SPAN_S + min_duration + 5 * policy.smoothing


def max_end_shift_s(policy: EventsConfig) -> float:
    """By how much the end of an open event may move back when the event closes."""
    release = min(policy.policy(label).release_threshold for label in ("", *policy.labels))
    return max(1.0, policy.smoothing * math.log(1 / max(release, 0.05)))


def _prepare_folder(folder: Path) -> None:
    """Create a writable folder, and delete unfinished files of a killed run. Raises OSError."""
    if folder.exists() and not folder.is_dir():
        raise OSError("it is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(f"*{PART}"):
        if not part.is_dir():  # not one of our files
            part.unlink()
    try:  # permissions alone are not enough, for example on network disks
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _DISK_FULL:  # may be temporary, and loses clips only
            raise


def _lower_priority() -> None:
    """Give this thread a lower priority, on systems with priorities per thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # some sandboxes forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
