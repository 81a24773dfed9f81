"""The cameras of a run: which there are now, and which have finished or left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.capture.camera import FAILED, Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec
from stream.regions.clip_source import ClipStream
from stream.sources.opencv_capture import SourceError

_MOST_LEAVING = 16  # cameras that were removed, and whose threads hang in a read


@dataclass(frozen=True, slots=True)
class Exchange:
    """Cameras that go, cameras that come, and which there are after it."""

    configs: Mapping[str, CameraConfig]
    gone: tuple[Camera, ...]
    new: tuple[Camera, ...]
    now: Mapping[str, Camera]

    def __bool__(self) -> bool:
        return bool(self.gone or self.new)


class Cameras:
    """`now` is replaced as a whole and never changed, so that any thread may iterate over it.

    `make` makes a camera of its name and configuration. With `at_once` so many are started at a
    time, each further one by `start_next`.
    Raises SourceError for what can't be a source.
    """

    def __init__(
        self,
        configs: Mapping[str, CameraConfig],
        make: Callable[[str, CameraConfig], Camera],
        *,
        at_once: int | None = None,
    ) -> None:
        self._make = make
        self._at_once = at_once
        self._configs = configs
        self.now: Mapping[str, Camera] = {name: make(name, one) for name, one in configs.items()}
        self._lock = threading.Lock()  # of all below
        self._waiting = list(self.now.values())  # to be started
        self._spec: ClipSpec | None = None
        self._done: set[Camera] = set()  # nothing more will come from these
        self._leaving: list[Camera] = []  # removed ones whose threads may not have ended

    @property
    def streams(self) -> dict[str, ClipStream]:
        """By name, those of all cameras."""
        return {stream.name: stream for camera in self.now.values() for stream in camera.streams}

    def start(self) -> None:
        for _ in range(self._at_once or len(self.now)):
            self.start_next()

    def start_next(self) -> None:
        """Start one that waits, if any does."""
        with self._lock:
            if not self._waiting:
                return
            camera, spec = self._waiting.pop(0), self._spec
        if spec is not None:
            camera.watch(spec)
        camera.start()

    def expect(self, spec: ClipSpec) -> None:
        """The model is known: from now on frames are kept as it wants them."""
        with self._lock:
            self._spec = spec
            started = [one for one in self.now.values() if one not in self._waiting]
        for camera in started:
            camera.watch(spec)

    def plan(self, configs: Mapping[str, CameraConfig]) -> Exchange:
        """What has to come and go so that there are these; one that differs does both.

        Nothing is changed yet. Raises SourceError for what can't be a source, and where too many
        that were removed still hang.
        """
        same = {name for name, one in configs.items() if self._configs.get(name) == one}
        gone = tuple(one for name, one in self.now.items() if name not in same)
        with self._lock:
            self._leaving = [one for one in self._leaving if not one.join(0)]
            hanging = len(self._leaving)
        if gone and hanging >= _MOST_LEAVING:
            raise SourceError(
                f"{hanging} cameras that were removed still hang; end the watch and start it again"
            )
        new: dict[str, Camera] = {}
        for name, one in configs.items():
            if name not in same:
                try:
                    new[name] = self._make(name, one)
                except SourceError as error:
                    raise SourceError(f"cameras.{name}: {error}") from error
        now = {name: new.get(name) or self.now[name] for name in configs}
        return Exchange(configs, gone, tuple(new.values()), now)

    def carry_out(self, planned: Exchange) -> None:
        """Let go those that go, without waiting for them, and start those that come."""
        with self._lock:
            self._configs, self.now = planned.configs, planned.now
            self._waiting += planned.new
            self._leaving += planned.gone
            self._done.difference_update(planned.gone)
        for camera in planned.gone:
            camera.tell_stop()
            camera.forget()
        for _ in planned.new:
            self.start_next()

    def finish(self, camera: Camera) -> bool:
        """Nothing more will come from this one. True where that holds for all there are."""
        with self._lock:
            if self.now.get(camera.name) is camera:
                self._done.add(camera)
        return self.all_finished

    @property
    def all_finished(self) -> bool:
        with self._lock:
            return all(camera in self._done for camera in self.now.values())

    @property
    def finished(self) -> set[str]:
        """The names of those from which nothing more will come."""
        with self._lock:
            return {name for name, camera in self.now.items() if camera in self._done}

    @property
    def failures(self) -> list[str]:
        """Which cameras were never there, or failed, and why. At the end."""
        return [
            f"camera {camera.name}: {camera.reason}"
            for camera in self.now.values()
            if camera.state == FAILED or (camera.reason and camera.began_at is None)
        ]

    def tell_stop(self) -> None:
        for camera in self.now.values():
            camera.tell_stop()

    def join(self, await_: Callable[[str, Callable[[float], bool], float], bool]) -> None:
        """`await_` is given what to wait for, how, and for how long at least, in seconds."""
        for camera in (*self.now.values(), *self._leaving):
            await_(f"camera {camera.name}", camera.join, 0.0)
