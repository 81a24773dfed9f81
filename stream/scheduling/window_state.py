"""What the scheduler notes: windows that are due, clips that workers have or lost, who asks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stream.messages import Clip
from stream.regions.frame_ring import FrameRing
from stream.scheduling.window_grid import WindowGrid

GUEST = "guest"  # what is counted of guests is counted of all of them


class Watched(Protocol):
    """What the scheduler sees of a stream of clips."""

    @property
    def ring(self) -> FrameRing | None: ...

    def is_still(self, start_s: float, end_s: float) -> bool: ...

    def looked(self, end_s: float) -> None: ...


@dataclass(slots=True, eq=False)  # eq=False: what comes again under a name is another one
class Seat:
    """A stream for as long as it is served."""

    name: str
    stream: Watched
    grid: WindowGrid
    is_guest: bool = False
    turn_at: float = -math.inf  # monotonic seconds from when a guest may have a window again
    taken_at: float = -math.inf  # monotonic seconds of its latest window

    @property
    def counted_as(self) -> str:
        return GUEST if self.is_guest else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A window that a worker may have."""

    waiting_s: float
    end_s: float
    seat: Seat
    ring: FrameRing
    times: np.ndarray


@dataclass(frozen=True, slots=True)
class InFlight:
    """A clip that a worker has. Its pixels are the worker's; what is needed of it stays here."""

    seat: Seat
    start_s: float
    end_s: float
    newest_at: float  # monotonic seconds of the clip's newest frame
    worker: bytes
    sent_at: float
    clip: Clip | None  # to be sent again if it is lost, where every window counts
    lost_times: int  # before


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """A clip that is to be sent again."""

    seat: Seat
    clip: Clip
    newest_at: float  # monotonic seconds when its newest frame was seen
    times: int  # that it was lost


@dataclass(slots=True)
class Asking:
    """A worker, and for how many clips it asks."""

    asked_at: float
    room: int = 0
