"""The cameras of a run: the active ones, and which of them have finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.capture.camera import FAILED, Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec
from stream.regions.clip_source import RegionClipSource
from stream.sources.base import SourceError

_MAX_LEAVING = 16  # removed cameras whose threads hang in a read


@dataclass(frozen=True, slots=True)
class CameraChanges:
    """Cameras to remove, cameras to add, and the active cameras after it."""

    removed: tuple[Camera, ...]
    added: tuple[Camera, ...]
    active: Mapping[str, Camera]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


class CameraManager:
    """`active` is replaced as a whole and never modified, so that any thread may iterate over it.

    `make` creates a camera from its name and configuration. `on_all_finished` is called when all
    active cameras have finished. With `max_concurrent`, only that many cameras are started at
    first, and each one that finishes starts the next.
    Raises SourceError for a spec that can't be a source.
    """

    def __init__(
        self,
        configs: Mapping[str, CameraConfig],
        make: Callable[[str, CameraConfig], Camera],
        *,
        on_all_finished: Callable[[], None],
        max_concurrent: int | None = None,
    ) -> None:
        self._make, self._on_all_finished = make, on_all_finished
        self._max_concurrent = max_concurrent
        self.active: Mapping[str, Camera] = {name: make(name, one) for name, one in configs.items()}
        self._lock = threading.Lock()  # of all below
        self._waiting = list(self.active.values())  # to be started
        self._spec: ClipSpec | None = None
        self._finished: set[Camera] = set()
        self._leaving: list[Camera] = []  # removed cameras whose threads may still run

    @property
    def streams(self) -> dict[str, RegionClipSource]:
        """The clip sources of all cameras, by name."""
        return {stream.name: stream for camera in self.active.values() for stream in camera.streams}

    def start(self) -> None:
        for _ in range(self._max_concurrent or len(self.active)):
            self._start_next()

    def _start_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            camera, spec = self._waiting.pop(0), self._spec
        if spec is not None:
            camera.start_buffering(spec)
        camera.start()

    def start_buffering(self, spec: ClipSpec) -> None:
        """The model is known: store frames in its input format from now on."""
        with self._lock:
            self._spec = spec
            started = [one for one in self.active.values() if one not in self._waiting]
        for camera in started:
            camera.start_buffering(spec)

    def plan(self, configs: Mapping[str, CameraConfig]) -> CameraChanges:
        """The changes that lead to these configurations; a changed camera is removed and added.

        Changes nothing yet. Raises SourceError for a spec that can't be a source, and if too many
        removed cameras still hang.
        """
        same = {name for name, one in self.active.items() if configs.get(name) == one.config}
        removed = tuple(one for name, one in self.active.items() if name not in same)
        with self._lock:
            self._leaving = [one for one in self._leaving if not one.join(0)]
            hanging = len(self._leaving)
        if removed and hanging >= _MAX_LEAVING:
            raise SourceError(
                f"{hanging} cameras that were removed still hang; restart actionwatch"
            )
        added: dict[str, Camera] = {}
        for name, one in configs.items():
            if name not in same:
                try:
                    added[name] = self._make(name, one)
                except SourceError as error:
                    raise SourceError(f"cameras.{name}: {error}") from error
        active = {name: added.get(name) or self.active[name] for name in configs}
        return CameraChanges(removed, tuple(added.values()), active)

    def apply_changes(self, planned: CameraChanges) -> None:
        """Stop the removed cameras, without waiting for them, and start the added ones."""
        with self._lock:
            self.active = planned.active
            self._waiting += planned.added
            self._leaving += planned.removed
            self._finished.difference_update(planned.removed)
        for camera in planned.removed:
            camera.request_stop()
            camera.release_buffers()
        for _ in planned.added:
            self._start_next()
        self._report_finished()

    def finish(self, camera: Camera) -> None:
        """A camera delivers no more frames, and all its windows are processed."""
        with self._lock:
            if self.active.get(camera.name) is camera:
                self._finished.add(camera)
        if self._max_concurrent is not None:
            camera.release_buffers()
            self._start_next()
        self._report_finished()

    # On any thread: the last camera may finish while another one is removed.
    def _report_finished(self) -> None:
        with self._lock:
            all_finished = all(camera in self._finished for camera in self.active.values())
        if all_finished:
            self._on_all_finished()

    @property
    def finished(self) -> set[str]:
        """The names of the active cameras that have finished."""
        with self._lock:
            return {name for name, camera in self.active.items() if camera in self._finished}

    @property
    def failures(self) -> list[str]:
        """The cameras that never connected, or failed, and why. For the end of a run."""
        return [
            f"camera {camera.name}: {camera.reason}"
            for camera in self.active.values()
            if camera.state == FAILED or (camera.reason and camera.started_at is None)
        ]

    def request_stop(self) -> None:
        for camera in self.active.values():
            camera.request_stop()

    def join(self, await_: Callable[[str, Callable[[float], bool], float], bool]) -> None:
        """Call `await_` with each camera's thread name, join method and minimal timeout in s."""
        for camera in (*self.active.values(), *self._leaving):
            await_(f"camera {camera.name}", camera.join, 0.0)
