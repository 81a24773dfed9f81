"""The line of visitors who try the model: what they may send, and when they have to go."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from stream.config.config import Config
from stream.messages import ClipSpec, Prediction
from stream.pipeline import Pipeline
from tests.jpegs import PICTURE, claiming, jpeg_of
from ui.web.api.try_it import router

JPEG = jpeg_of(PICTURE)


def message(time_s: float, jpeg: bytes = JPEG) -> bytes:
    return struct.pack(">d", time_s) + jpeg


class House:
    """The line over a run that has no worker; what its model would be is told by the test."""

    def __init__(self, pipeline: Pipeline, idle_s: float) -> None:
        self.pipeline = pipeline
        self.app = FastAPI()
        self.app.include_router(router(pipeline, idle_s=idle_s))

    @contextlib.contextmanager
    def visit(self, address: str = "10.0.0.1") -> Iterator[WebSocketTestSession]:
        client = TestClient(self.app, client=(address, 50000))
        with client.websocket_connect("/api/try") as line:
            yield line

    def ended(self, line: WebSocketTestSession) -> int:
        """The code with which a visit ends now, whatever is answered before."""
        while True:
            try:
                line.receive_text()
            except WebSocketDisconnect as end:
                return end.code


def visit_for_ever(line: WebSocketTestSession, left: list[int]) -> None:
    while True:
        line.send_bytes(message(len(left) / 30))
        left.append(line.receive_json()["seconds_left"])


@pytest.fixture
def open_house(tmp_path: Path, spec: ClipSpec) -> Iterator[Callable[..., House]]:
    with contextlib.ExitStack() as stack:

        def open_house(*, ready: bool = True, idle_s: float = 10.0, **visitors: Any) -> House:
            settings = {
                "cameras": {"hall": {"source": "demo:0"}},
                "data": str(tmp_path),
                "worker": {"local": False, "endpoint": f"ipc://{tmp_path / 'workers'}"},
                "dashboard": {"visitors": visitors},
            }
            pipeline = stack.enter_context(Pipeline(Config.model_validate(settings)))
            if ready:
                pipeline.guests.expect(spec, 5.0)
            return House(pipeline, idle_s)

        yield open_house


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    return open_house()


def test_each_picture_is_answered(house: House, spec: ClipSpec) -> None:
    with house.visit() as line:
        line.send_bytes(message(7.0))
        first = line.receive_json()
        assert (first["labels"], first["events"]) == ([], [])
        assert first["waiting_s"] == pytest.approx(spec.span_s - spec.step_s)
        assert first["seconds_left"] == 300
        line.send_bytes(message(7.2))
        assert line.receive_json()["waiting_s"] == pytest.approx(0.1)


def test_a_visitor_is_told_what_the_model_said(house: House, spec: ClipSpec) -> None:
    with house.visit() as line:
        line.send_bytes(message(0.0))
        line.receive_json()
        for end_s in np.arange(0.4, 3.0, 0.2):
            shares = np.array([0.02, 0.05, 0.93], np.float32)
            said = Prediction("guest:1", spec.labels, shares, end_s - 0.3, end_s, 1e9, 0.01)
            assert house.pipeline.guests.take(said)
        line.send_bytes(message(0.3))
        told = line.receive_json()
        assert told["labels"][0] == ["run", pytest.approx(0.93, abs=0.01)]
        (event,) = told["events"]
        assert (event["label"], event["start_s"] < 0.5, event["seconds"] > 2) == ("run", True, True)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (message(0.0, b"no picture"), 4400),
        (message(0.0, b""), 4400),
        (b"1234", 4400),
        (b"", 4400),
        (message(float("nan")), 4400),
        (message(float("inf")), 4400),
        (message(-1.0), 4400),
        (message(0.0, claiming(JPEG, 65500, 65500)), 4413),
        (message(0.0, jpeg_of(np.zeros((500, 650, 3), np.uint8))), 4413),
        (message(0.0, JPEG + bytes(600_000)), 4413),
    ],
    ids=["text", "cut", "short", "empty", "nan", "infinite", "negative", "bomb", "large", "long"],
)
def test_what_is_no_picture_ends_the_visit(house: House, sent: bytes, code: int) -> None:
    with house.visit() as line:
        line.send_bytes(message(1.0))
        line.receive_json()
        line.send_bytes(sent)
        assert house.ended(line) == code
    assert len(house.pipeline.guests) == 0


def test_words_instead_of_pictures_end_the_visit(house: House) -> None:
    with house.visit() as line:
        line.send_text("hello")
        assert house.ended(line) == 4400


def test_who_does_not_wait_for_answers_has_to_go(house: House) -> None:
    with house.visit() as line:
        for number in range(50):
            line.send_bytes(message(number / 30))
        assert house.ended(line) == 4429
    assert len(house.pipeline.guests) == 0


def test_a_place_without_pictures_is_given_back(open_house: Callable[..., House]) -> None:
    house = open_house(idle_s=0.05)
    with house.visit() as line:
        assert house.ended(line) == 4408


def test_everybodys_time_is_over_some_time(open_house: Callable[..., House]) -> None:
    house = open_house(longest="1s")
    left: list[int] = []
    with house.visit() as line, pytest.raises(WebSocketDisconnect) as end:
        visit_for_ever(line, left)
    assert end.value.code == 4410
    assert left[0] == 1
    assert 10 < len(left) <= 41  # pictures; more in a second are of no use


def test_there_are_so_many_places_and_half_of_them_for_one_address(
    open_house: Callable[..., House],
) -> None:
    house = open_house(most=4)
    with house.visit(), house.visit(), house.visit("2001:db8::1"):
        with house.visit() as third:
            assert house.ended(third) == 4409
        with house.visit("::ffff:10.0.0.1") as same:
            assert house.ended(same) == 4409
        with house.visit("2001:db8::2"):
            with house.visit("2001:db8::3") as neighbour:
                assert house.ended(neighbour) == 4409
            with house.visit("10.0.0.2") as late:
                assert house.ended(late) == 4503
    assert len(house.pipeline.guests) == 0
    with house.visit("10.0.0.2") as line:
        line.send_bytes(message(0.0))
        assert line.receive_json()["labels"] == []


def test_this_machine_may_take_all_places(open_house: Callable[..., House]) -> None:
    house = open_house(most=2)
    with house.visit("127.0.0.1"), house.visit("127.0.0.1"):
        assert len(house.pipeline.guests) == 2


def test_nobody_comes_in_before_the_model_is_known(open_house: Callable[..., House]) -> None:
    house = open_house(ready=False)
    with house.visit() as line:
        assert house.ended(line) == 4425


def test_it_can_be_turned_off(open_house: Callable[..., House]) -> None:
    house = open_house(most=0)
    with house.visit() as line:
        assert house.ended(line) == 4404


def test_limits_are_told(open_house: Callable[..., House]) -> None:
    house = open_house(most=3, longest="90s", pixels=100_000)
    with TestClient(house.app) as client:
        told = client.get("/api/visitors").json()
    assert told == {"most": 3, "longest_s": 90.0, "pixels": 100_000, "bytes": 215_536}
