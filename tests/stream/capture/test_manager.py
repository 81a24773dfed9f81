from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stream.capture.camera import Camera
from stream.capture.manager import CameraManager
from stream.config.config import CameraConfig
from stream.runtime.metrics import Metrics
from stream.sources.base import SourceError
from tests.waiting import wait_for


class HangingSources:
    """Sources that hang while they are opened, until they are released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.opening = threading.Semaphore(0)  # counts the calls of `open`

    def open(self, *_: object, **__: object) -> None:
        self.opening.release()
        self.released.wait()
        raise SourceError("released")


@contextmanager
def run_of(*names: str) -> Iterator[tuple[CameraManager, HangingSources, threading.Event]]:
    sources, metrics, all_finished = HangingSources(), Metrics(), threading.Event()
    cameras = CameraManager(
        configs(*names),
        lambda name, config: Camera(name, config, metrics, opener=sources.open),
        on_all_finished=all_finished.set,
    )
    cameras.start()
    try:
        yield cameras, sources, all_finished
    finally:
        sources.released.set()
        cameras.request_stop()
        cameras.join(lambda name, join, at_least_s: join(60))


def configs(*names: str) -> dict[str, CameraConfig]:
    return {name: CameraConfig(source=f"demo:{index}") for index, name in enumerate(names)}


def test_hanging_camera_is_removed_at_once() -> None:
    with run_of("door", "gate") as (cameras, sources, _):
        before = time.monotonic()
        cameras.apply_changes(cameras.plan(configs("door")))
        assert time.monotonic() - before < 1
        assert set(cameras.active) == {"door"}
        sources.released.set()


def test_number_of_hanging_cameras_is_limited() -> None:
    with run_of("door") as (cameras, sources, _):
        for number in range(16):  # each time it is changed
            assert sources.opening.acquire(timeout=30)  # else it would stop without hanging
            cameras.apply_changes(cameras.plan({"door": CameraConfig(source=f"demo:{number + 5}")}))
        before = cameras.active
        with pytest.raises(SourceError, match="16 cameras that were removed still hang"):
            cameras.plan(configs("gate"))
        assert cameras.active is before
        sources.released.set()

        def is_planned() -> bool:
            try:
                return bool(cameras.plan(configs("gate")))
            except SourceError:
                return False

        wait_for(is_planned)


def test_invalid_plan_names_the_camera() -> None:
    with run_of("door") as (cameras, _, _):
        wrong = {"door": CameraConfig(source="demo:0"), "gate": CameraConfig(source="ftp://x/")}
        with pytest.raises(SourceError, match=r"^cameras\.gate: source ftp://x/"):
            cameras.plan(wrong)


def test_new_camera_with_a_former_name_has_not_finished() -> None:
    with run_of("door", "gate") as (cameras, _, all_finished):
        former = cameras.active["door"]
        cameras.finish(former)
        assert cameras.finished == {"door"}
        changed = {**configs("door", "gate"), "door": CameraConfig(source="demo:9")}
        cameras.apply_changes(cameras.plan(changed))
        cameras.finish(former)  # a late message about the former camera
        assert cameras.finished == set()
        cameras.finish(cameras.active["gate"])
        assert not all_finished.is_set()
        cameras.finish(cameras.active["door"])
        assert all_finished.is_set()


def test_removal_of_the_last_active_camera_ends_the_run() -> None:
    with run_of("door", "gate") as (cameras, _, all_finished):
        cameras.finish(cameras.active["door"])
        assert not all_finished.is_set()
        cameras.apply_changes(cameras.plan(configs("door")))
        assert all_finished.is_set()
