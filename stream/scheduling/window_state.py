"""Scheduler state: due windows, in-flight and lost clips, idle workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stream.messages import Clip
from stream.regions.frame_ring import FrameRing
from stream.scheduling.window_grid import WindowGrid

BROWSER_SESSION = "browser_session"  # all browser sessions share one label in the metrics


class ClipSource(Protocol):
    """A stream as the scheduler needs it."""

    @property
    def ring(self) -> FrameRing | None: ...

    def is_gated(self, start_s: float, end_s: float) -> bool: ...

    def mark_scored(self, end_s: float) -> None: ...


@dataclass(slots=True, eq=False)  # eq=False: a stream that is added again is another stream
class StreamState:
    """A stream from `add` to `remove`."""

    name: str
    source: ClipSource
    grid: WindowGrid
    is_browser_session: bool = False
    next_window_at: float = -math.inf  # monotonic seconds; a browser session has to wait until then
    last_window_at: float = -math.inf  # monotonic seconds

    @property
    def metrics_label(self) -> str:
        return BROWSER_SESSION if self.is_browser_session else self.name


@dataclass(frozen=True, slots=True, eq=False)
class DueWindow:
    """A complete window that no worker has yet."""

    waiting_s: float
    end_s: float
    stream: StreamState
    ring: FrameRing
    times: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CutClip:
    """A clip that is sent to a worker for the first time, or again after it was lost."""

    stream: StreamState
    clip: Clip
    newest_at: float  # monotonic seconds when its newest frame was seen
    losses: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class InFlight:
    """A clip that was sent to a worker. Its pixels are retained only for a retry."""

    stream: StreamState
    times: np.ndarray  # of the clip
    newest_at: float
    worker: bytes
    sent_at: float
    retry: CutClip | None  # None unless lossless


@dataclass(slots=True)
class WorkerState:
    """A worker and the number of clips that it is ready for."""

    ready_at: float  # monotonic seconds of its latest message
    capacity: int = 0
