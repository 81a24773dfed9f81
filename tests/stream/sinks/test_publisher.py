from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from stream.messages import Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.rows import COLUMNS
from stream.sinks.publisher import Publisher, PublishError
from tests.alerting import event_update
from tests.conftest import Clock
from tests.waiting import wait_for

DOCS = Path(__file__).parents[3] / "docs" / "alerts.md"
NOW = datetime(2026, 1, 31, 8, tzinfo=timezone.utc)


def prediction(camera: str = "door", labels: int = 12) -> Prediction:
    probabilities = np.arange(1, labels + 1, dtype=np.float32)
    return Prediction(
        camera=camera,
        labels=tuple(f"label {number}" for number in range(labels)),
        probabilities=probabilities / probabilities.sum(),
        start_s=1.0,
        end_s=3.0,
        newest_at=99.75,
        inference_s=0.01,
    )


@pytest.fixture
def publisher(clock: Clock) -> Iterator[Publisher]:
    publisher = Publisher("tcp://127.0.0.1:*", Metrics(), now=clock, now_utc=lambda: NOW)
    publisher.start()
    yield publisher
    publisher.request_stop()
    assert publisher.join(60)


@pytest.fixture
def subscribe(publisher: Publisher) -> Iterator[Callable[[str], zmq.Socket]]:
    """Connects a subscriber; when it returns, the subscriber receives every later message."""
    context = zmq.Context()
    sockets: list[zmq.Socket] = []

    def connect(topic: str) -> zmq.Socket:
        socket = context.socket(zmq.SUB)
        sockets.append(socket)
        socket.connect(publisher.endpoint)
        for prefix in (topic, "event/probe"):
            socket.subscribe(prefix)

        def is_connected() -> bool:
            publisher.on_written(event_update("probe", "start", camera="probe"))
            return bool(socket.poll(100))

        wait_for(is_connected)
        return socket

    yield connect
    for socket in sockets:
        socket.close(linger=0)
    context.term()


def received(socket: zmq.Socket, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next `count` messages, without the probes."""
    messages: list[tuple[str, dict[str, Any]]] = []
    while len(messages) < count:
        assert socket.poll(10_000)
        topic, message = socket.recv_multipart()
        if topic != b"event/probe":
            messages.append((topic.decode(), json.loads(message)))
    return messages


def test_prediction_has_its_ten_most_likely_labels(
    publisher: Publisher, subscribe: Callable[[str], zmq.Socket]
) -> None:
    socket = subscribe("prediction/")
    publisher.on_prediction(prediction("door/gate"), NOW)
    ((topic, message),) = received(socket, 1)
    assert topic == "prediction/door/gate"
    labels = message.pop("labels")
    assert len(labels) == 10
    assert labels[0] == {"label": "label 11", "probability": round(12 / 78, 4)}
    assert message == {
        "v": 1,
        "n": 1,
        "sent_at": "2026-01-31T08:00:00.000Z",
        "camera": "door/gate",
        "start_s": 1.0,
        "end_s": 3.0,
        "age_s": 0.25,
    }


def test_event_has_the_columns_of_the_log_and_message_numbers(
    publisher: Publisher, subscribe: Callable[[str], zmq.Socket]
) -> None:
    socket = subscribe("event/door")
    for change in ("start", "progress", "end"):
        publisher.on_written(event_update("e1", change))
    messages = [message for _, message in received(socket, 3)]
    assert [message["change"] for message in messages] == ["start", "progress", "end"]
    assert [message["n"] for message in messages] == [1, 2, 3]
    assert tuple(messages[0]["event"]) == COLUMNS


def test_full_queue_drops_and_counts_messages() -> None:
    metrics = Metrics()
    publisher = Publisher("tcp://127.0.0.1:*", metrics, max_queued=5)  # not started: no thread
    for _ in range(8):
        publisher.on_prediction(prediction(), NOW)
    publisher.on_written(event_update("e1", "start"))
    assert metrics.totals() == {"dropped_publications": 4}
    publisher.request_stop()
    assert publisher.join(0)


def test_stop_does_not_wait_for_a_subscriber_that_does_not_read(
    publisher: Publisher, subscribe: Callable[[str], zmq.Socket]
) -> None:
    subscribe("")
    for _ in range(5000):
        publisher.on_prediction(prediction(labels=200), NOW)
    publisher.request_stop()
    assert publisher.join(60)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "tcp://no-such-host:1", "tcp://x"])
def test_unusable_address_is_a_one_line_error(publisher: Publisher, address: str) -> None:
    address = address.format(port=publisher.endpoint.rpartition(":")[2])
    other = Publisher(address, Metrics())
    with pytest.raises(PublishError, match=f"publish: {address} can't be used: .*; give") as e:
        other.start()
    assert "\n" not in str(e.value)
    assert other.join(0)


def test_ipc_address_can_be_reused(tmp_path: Path) -> None:
    for _ in range(2):
        publisher = Publisher(f"ipc://{tmp_path}/events", Metrics())
        publisher.start()
        publisher.request_stop()
        assert publisher.join(60)


def test_subscriber_of_the_docs_works(publisher: Publisher, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(import json, sys.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    (tmp_path / "subscriber.py").write_text(code)
    command = [sys.executable, "-W", "error", "subscriber.py", publisher.endpoint]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()

        def has_printed() -> bool:
            publisher.on_prediction(prediction(), NOW)
            publisher.on_written(event_update("e1", "start"))
            return bool(lines)

        wait_for(has_printed)
        process.kill()
        reader.join()
    assert re.fullmatch(r"event/door start wave \d+\n", lines[0])
