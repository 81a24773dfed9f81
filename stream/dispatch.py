"""What the scheduler notes: windows that are due, clips that workers have or lost, who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stream.messages import Clip
from stream.ring import FrameRing


class Watched(Protocol):
    """What the scheduler sees of a stream of clips."""

    @property
    def ring(self) -> FrameRing | None: ...

    def is_still(self, start_s: float, end_s: float) -> bool: ...

    def looked(self, end_s: float) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A window that a worker may have."""

    waiting_s: float
    end_s: float
    camera: str
    ring: FrameRing
    times: np.ndarray


@dataclass(frozen=True, slots=True)
class InFlight:
    """A clip that a worker has. Its pixels are the worker's; what is needed of it stays here."""

    camera: str
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

    clip: Clip
    newest_at: float  # monotonic seconds when its newest frame was seen
    times: int  # that it was lost


@dataclass(slots=True)
class Asking:
    """A worker, and for how many clips it asks."""

    asked_at: float
    room: int = 0
