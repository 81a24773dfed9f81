"""Source type: a synthetic scene, `demo:` or `demo:SEED`."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as StopEvent

import numpy as np

from stream.messages import FrameTime
from stream.sources.base import SOURCE_TYPES, OpenOptions, Source, SourceError
from stream.synthetic.scene import Scene

_PREFIX = "demo:"
_FPS = 25.0


class DemoSource:
    """A synthetic scene, endless and in real time; frames that were not grabbed are skipped."""

    finite = False

    def __init__(self, seed: int, *, now: Callable[[], float]) -> None:
        self._scene = Scene(seed)
        self._now = now
        self._started_at: float | None = None
        self._index = -1
        self._pixels: np.ndarray | None = None

    def grab(self, stop: StopEvent) -> FrameTime | None:
        if self._started_at is None:
            self._started_at = self._now()
        elapsed_s = self._now() - self._started_at
        self._index = max(self._index + 1, int(elapsed_s * _FPS))
        time_s = self._index / _FPS
        self._pixels = self._scene.render(time_s)  # before it is due: rendering needs time
        due_at = self._started_at + time_s
        if stop.wait(max(0.0, due_at - self._now())):
            return None
        return FrameTime(time_s, due_at)

    def retrieve(self) -> np.ndarray | None:
        return self._pixels

    def close(self) -> None:
        pass


class DemoType:
    """Another seed is another scene."""

    def matches(self, spec: int | str) -> bool:
        return isinstance(spec, str) and spec.startswith(_PREFIX)

    def validate(self, spec: int | str) -> None:
        _seed(spec)

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        return DemoSource(_seed(spec), now=options.now)


def _seed(spec: int | str) -> int:
    seed = str(spec).removeprefix(_PREFIX) or "0"
    if not (seed.isascii() and seed.isdigit()):
        raise SourceError(f"source {spec}: write demo: or demo:SEED with a whole number")
    return int(seed)


SOURCE_TYPES.add("demo", DemoType())
