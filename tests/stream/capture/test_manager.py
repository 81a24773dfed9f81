from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stream.capture.camera import Camera
from stream.capture.manager import Cameras
from stream.config.config import CameraConfig
from stream.runtime.metrics import Metrics
from stream.sources.opencv_capture import SourceError
from tests.waiting import wait_for


class Stuck:
    """Sources that hang while they are opened, until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def open(self, *_: object, **__: object) -> None:
        self.let_go.wait()
        raise SourceError("it was let go")


@contextmanager
def run_of(*names: str) -> Iterator[tuple[Cameras, Stuck]]:
    stuck, metrics = Stuck(), Metrics()
    cameras = Cameras(
        configs(*names),
        lambda name, config: Camera(name, config, metrics, opener=stuck.open),
    )
    cameras.start()
    try:
        yield cameras, stuck
    finally:
        stuck.let_go.set()
        cameras.tell_stop()
        cameras.join(lambda name, join, at_least_s: join(10))


def configs(*names: str) -> dict[str, CameraConfig]:
    return {name: CameraConfig(source=f"demo:{place}") for place, name in enumerate(names)}


def test_a_camera_that_hangs_is_let_go_at_once() -> None:
    with run_of("door", "gate") as (cameras, stuck):
        before = time.monotonic()
        cameras.carry_out(cameras.plan(configs("door")))
        assert time.monotonic() - before < 1
        assert set(cameras.now) == {"door"}
        stuck.let_go.set()


def test_cameras_that_hang_do_not_pile_up_for_ever() -> None:
    with run_of("door") as (cameras, stuck):
        for number in range(16):  # each time it is changed
            cameras.carry_out(cameras.plan({"door": CameraConfig(source=f"demo:{number + 5}")}))
        before = cameras.now
        with pytest.raises(SourceError, match="16 cameras that were removed still hang"):
            cameras.plan(configs("gate"))
        assert cameras.now is before
        stuck.let_go.set()

        def is_tidied() -> bool:
            try:
                return bool(cameras.plan(configs("gate")))
            except SourceError:
                return False

        wait_for(is_tidied)


def test_a_plan_that_holds_a_mistake_names_the_camera() -> None:
    with run_of("door") as (cameras, _):
        wrong = {"door": CameraConfig(source="demo:0"), "gate": CameraConfig(source="ftp://x/")}
        with pytest.raises(SourceError, match=r"^cameras\.gate: source ftp://x/"):
            cameras.plan(wrong)


def test_one_that_comes_again_under_a_name_has_not_finished() -> None:
    with run_of("door", "gate") as (cameras, _):
        former = cameras.now["door"]
        assert not cameras.finish(former)
        assert cameras.finished == {"door"}
        changed = {**configs("door", "gate"), "door": CameraConfig(source="demo:9")}
        cameras.carry_out(cameras.plan(changed))
        assert not cameras.finish(former)  # news of it that was still under way
        assert cameras.finished == set()
        assert not cameras.finish(cameras.now["gate"])
        assert cameras.finish(cameras.now["door"])
