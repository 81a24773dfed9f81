"""Browser sessions over WebSocket: accepted messages and close codes."""

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
from tests.jpegs import IMAGE, claiming, jpeg_of
from ui.web.api.try_it import router

JPEG = jpeg_of(IMAGE)


def message(time_s: float, jpeg: bytes = JPEG) -> bytes:
    return struct.pack(">d", time_s) + jpeg


class Server:
    """The route on a run without a worker; tests set its model and predictions."""

    def __init__(self, pipeline: Pipeline, idle_timeout_s: float) -> None:
        self.pipeline = pipeline
        self.app = FastAPI()
        self.app.include_router(router(pipeline, idle_timeout_s=idle_timeout_s))

    @contextlib.contextmanager
    def connect(self, address: str = "10.0.0.1") -> Iterator[WebSocketTestSession]:
        client = TestClient(self.app, client=(address, 50000))
        with client.websocket_connect("/api/try") as socket:
            yield socket

    def close_code(self, socket: WebSocketTestSession) -> int:
        """The close code of a session; earlier responses are skipped."""
        while True:
            try:
                socket.receive_text()
            except WebSocketDisconnect as end:
                return end.code


def send_until_closed(socket: WebSocketTestSession, remaining: list[int]) -> None:
    while True:
        socket.send_bytes(message(len(remaining) / 30))
        remaining.append(socket.receive_json()["remaining_s"])


@pytest.fixture
def start_server(tmp_path: Path, spec: ClipSpec) -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def start_server(
            *, ready: bool = True, idle_timeout_s: float = 10.0, **limits: Any
        ) -> Server:
            settings = {
                "cameras": {"hall": {"source": "demo:0"}},
                "data": str(tmp_path),
                "worker": {"local": False, "endpoint": f"ipc://{tmp_path / 'workers'}"},
                "dashboard": {"try_it": limits},
            }
            pipeline = stack.enter_context(Pipeline(Config.model_validate(settings)))
            if ready:
                pipeline.sessions.on_model(spec, 5.0, pipeline.scheduler)
            return Server(pipeline, idle_timeout_s)

        yield start_server


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


def test_each_frame_gets_a_response(server: Server, spec: ClipSpec) -> None:
    with server.connect() as socket:
        socket.send_bytes(message(7.0))
        first = socket.receive_json()
        assert (first["labels"], first["events"]) == ([], [])
        assert first["warmup_s"] == pytest.approx(spec.span_s - spec.step_s)
        assert first["remaining_s"] == 300
        socket.send_bytes(message(7.2))
        assert socket.receive_json()["warmup_s"] == pytest.approx(0.1)


def test_session_receives_labels_and_events(server: Server, spec: ClipSpec) -> None:
    with server.connect() as socket:
        socket.send_bytes(message(0.0))
        socket.receive_json()
        for end_s in np.arange(0.4, 3.0, 0.2):
            probabilities = np.array([0.02, 0.05, 0.93], np.float32)
            prediction = Prediction(
                "browser_session:1", spec.labels, probabilities, end_s - 0.3, end_s, 1e9, 0.01
            )
            assert server.pipeline.sessions.on_prediction(prediction)
        socket.send_bytes(message(0.3))
        state = socket.receive_json()
        assert state["labels"][0] == ["run", pytest.approx(0.93, abs=0.01)]
        (event,) = state["events"]
        assert (event["label"], event["start_s"] < 0.5, event["duration_s"] > 2) == (
            "run",
            True,
            True,
        )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (message(0.0, b"not a JPEG"), 4400),
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
def test_invalid_frame_ends_the_session(server: Server, sent: bytes, code: int) -> None:
    with server.connect() as socket:
        socket.send_bytes(message(1.0))
        socket.receive_json()
        socket.send_bytes(sent)
        assert server.close_code(socket) == code
    assert len(server.pipeline.sessions) == 0


def test_text_message_ends_the_session(server: Server) -> None:
    with server.connect() as socket:
        socket.send_text("hello")
        assert server.close_code(socket) == 4400


def test_client_that_does_not_wait_for_responses_is_closed(server: Server) -> None:
    with server.connect() as socket:
        for number in range(50):
            socket.send_bytes(message(number / 30))
        assert server.close_code(socket) == 4429
    assert len(server.pipeline.sessions) == 0


def test_session_without_frames_times_out(start_server: Callable[..., Server]) -> None:
    server = start_server(idle_timeout_s=0.05)
    with server.connect() as socket:
        assert server.close_code(socket) == 4408


def test_session_ends_at_its_time_limit(start_server: Callable[..., Server]) -> None:
    server = start_server(max_duration="1s")
    remaining: list[int] = []
    with server.connect() as socket, pytest.raises(WebSocketDisconnect) as end:
        send_until_closed(socket, remaining)
    assert end.value.code == 4410
    assert remaining[0] == 1
    assert 10 < len(remaining) <= 41  # frames: the rate is limited


def test_sessions_are_limited_in_total_and_to_half_for_one_address(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(max_sessions=4)
    with server.connect(), server.connect(), server.connect("2001:db8::1"):
        with server.connect() as third:
            assert server.close_code(third) == 4409
        with server.connect("::ffff:10.0.0.1") as same:
            assert server.close_code(same) == 4409
        with server.connect("2001:db8::2"):
            with server.connect("2001:db8::3") as same_network:
                assert server.close_code(same_network) == 4409
            with server.connect("10.0.0.2") as late:
                assert server.close_code(late) == 4503
    assert len(server.pipeline.sessions) == 0
    with server.connect("10.0.0.2") as socket:
        socket.send_bytes(message(0.0))
        assert socket.receive_json()["labels"] == []


def test_localhost_may_use_all_sessions(start_server: Callable[..., Server]) -> None:
    server = start_server(max_sessions=2)
    with server.connect("127.0.0.1"), server.connect("127.0.0.1"):
        assert len(server.pipeline.sessions) == 2


def test_session_is_rejected_before_the_model_is_known(start_server: Callable[..., Server]) -> None:
    server = start_server(ready=False)
    with server.connect() as socket:
        assert server.close_code(socket) == 4425


def test_sessions_can_be_disabled(start_server: Callable[..., Server]) -> None:
    server = start_server(max_sessions=0)
    with server.connect() as socket:
        assert server.close_code(socket) == 4404


def test_limits_are_returned(start_server: Callable[..., Server]) -> None:
    server = start_server(max_sessions=3, max_duration="90s", max_pixels=100_000)
    with TestClient(server.app) as client:
        limits = client.get("/api/try/limits").json()
    assert limits == {
        "max_sessions": 3,
        "max_duration_s": 90.0,
        "max_pixels": 100_000,
        "max_message_bytes": 215_536,
    }
