"""A real recorder of one camera that tests feed with frames, and the files that it wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from math import inf, nextafter
from pathlib import Path

import av
import cv2
import numpy as np

from stream.capture.latest_frame import LatestFrame
from stream.config.events import EventsConfig, RecordingConfig
from stream.messages import Event, EventMedia, Frame, LoggedEvent
from stream.runtime.metrics import Metrics
from stream.sinks.clips.buffer import ClipBuffer
from stream.sinks.clips.recorder import Recorder
from tests import burnt_clock
from tests.conftest import Clock
from tests.waiting import wait_for

START_S, END_S = 8.02, 10.47


def frame_times(fps: float, seconds: float) -> list[float]:
    """Frame times in whole milliseconds, which the burnt-in clock shows exactly."""
    return [round(1000 * number / fps) / 1000 for number in range(int(seconds * fps) + 1)]


def event(event_id: str = "e1", **changes: object) -> LoggedEvent:
    """An open event that started at 8.02 s and was last seen at 10 s."""
    opened = Event(
        id=event_id,
        camera="door",
        label="wave",
        start_s=START_S,
        latest_s=10.0,
        end_s=None,
        detected_s=9.0,
        peak=0.9,
        peak_s=9.1,
        mean=0.8,
    )
    changed = replace(opened, **changes)  # type: ignore[arg-type]
    return LoggedEvent(changed, "progress", datetime(2026, 5, 1, tzinfo=timezone.utc), "motion")


class RecorderHarness:
    """A recorder of one camera; `feed` passes frames to it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.metrics = Metrics()
        self.latest_frame = LatestFrame()
        self.rows: list[EventMedia] = []
        self.allowed: Callable[[], bool] = lambda: True
        self.recorder: Recorder | None = None
        self.buffer: ClipBuffer | None = None
        self._index = 0

    def __enter__(self) -> RecorderHarness:
        return self

    def __exit__(self, *_: object) -> None:
        if self.recorder is not None:
            self.stop()

    def start(self, *, smoothing: float = 0.3, **settings: float) -> Recorder:
        values = {"pre_roll": 3.0, "post_roll": 2.0, **settings}
        recorder = self.recorder = Recorder(
            self.folder,
            RecordingConfig().model_copy(update=values),
            EventsConfig(smoothing=smoothing),
            self.metrics,
            on_media=self.rows.append,
            allowed=lambda: self.allowed(),
            now=self.clock,
        )
        self.buffer = recorder.add_camera("door", self.latest_frame)
        recorder.start()
        return recorder

    def feed(
        self, times: list[float], draw: Callable[[float], np.ndarray] = burnt_clock.draw
    ) -> None:
        """Publish frames, not faster than the buffer encodes them as JPEGs."""
        for index, time_s in enumerate(times):
            self.latest_frame.put(Frame(draw(time_s), time_s, self.clock(), self._index))
            self._index += 1
            if index % 6 == 0 or time_s == times[-1]:
                wait_for(partial(self._has_buffered, time_s))

    def row(self, number: int = 0) -> EventMedia:
        wait_for(lambda: len(self.rows) > number)
        return self.rows[number]

    def buffered_bytes(self) -> int:
        assert self.buffer is not None
        first = self.buffer.first_from(-inf)
        if first is None:
            return 0
        frames = self.buffer.between(nextafter(first.time_s, -inf), inf, 100_000)
        return sum(len(frame.jpeg) for frame in frames)

    def stop(self) -> None:
        assert self.recorder is not None
        self.recorder.request_stop()
        assert self.recorder.join(20)

    def files(self) -> list[str]:
        files = (file for file in self.folder.rglob("*") if not file.is_dir())
        return sorted(str(file.relative_to(self.folder)) for file in files)

    def clip(self, name: str = "e1") -> tuple[list[float], list[float]]:
        """The presentation times of a clip's frames, and the clocks in the frames."""
        with av.open(str(self.folder / "clips" / f"{name}.mp4")) as container:
            frames = [
                (float(frame.time), burnt_clock.read(frame.to_ndarray(format="rgb24")))
                for frame in container.decode(video=0)
            ]
        return [at for at, _ in frames], [clock for _, clock in frames]

    def snapshot(self, name: str = "e1") -> float:
        """The clock burnt into a snapshot."""
        jpeg = cv2.imread(str(self.folder / "snapshots" / f"{name}.jpg"))
        assert jpeg is not None
        return burnt_clock.read(jpeg)

    def _has_buffered(self, time_s: float) -> bool:
        assert self.buffer is not None
        return self.buffer.newest_s == time_s
