from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.config.events import AlertConfig
from stream.runtime.metrics import Metrics
from stream.sinks.alerts.alerts import Alerts
from stream.sinks.alerts.filter import AlertFilter
from stream.sinks.alerts.sender import AlertError
from tests.alerting import Receiver, event_update
from tests.mosquitto import Broker, Subscriber, mosquitto
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def run(tmp_path: Path, metrics: Metrics) -> Iterator[Callable[..., Alerts]]:
    """Starts alerts with short retry delays; stops them at the end."""
    running: list[Alerts] = []

    def start(config: AlertConfig, **more: int) -> Alerts:
        alerts = Alerts({"phone": config}, tmp_path, metrics, first_delay_s=0.02, **more)
        running.append(alerts)
        alerts.start()
        return alerts

    yield start
    for alerts in running:
        stop(alerts)


def stop(alerts: Alerts) -> None:
    alerts.request_stop()
    assert alerts.join(20)


def sent(config: AlertConfig, *updates: object) -> list[str]:
    """The updates that pass an alert's filter."""
    alert_filter = AlertFilter(config)
    return [f"{one.event.id}-{one.change}" for one in updates if alert_filter.should_send(one)]  # type: ignore[attr-defined]


def test_progress_is_never_sent() -> None:
    updates = [event_update("a", "start"), event_update("a", "progress"), event_update("a", "end")]
    assert sent(AlertConfig(webhook="http://x"), *updates) == ["a-start", "a-end"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"notify_on": "start"}, ["a-start", "b-start", "c-start"]),
        ({"notify_on": ["end"]}, ["a-end", "b-end", "c-end"]),
        ({"cameras": ["door"]}, ["a-start", "a-end", "b-start", "b-end"]),
        ({"cameras": ["door/gate"]}, ["b-start", "b-end"]),
        ({"labels": ["run"], "notify_on": "end"}, ["c-end"]),
        ({"labels": ["run"], "cameras": ["door"]}, []),
    ],
)
def test_filters_select_camera_label_and_change(settings: dict, expected: list[str]) -> None:
    updates = [
        *(event_update("a", change) for change in ("start", "end")),
        *(event_update("b", change, camera="door/gate") for change in ("start", "end")),
        *(event_update("c", change, camera="doorway", label="run") for change in ("start", "end")),
    ]
    assert sent(AlertConfig(webhook="http://x", **settings), *updates) == expected


def test_cooldown_is_measured_between_starts_and_suppresses_ends_too() -> None:
    config = AlertConfig(webhook="http://x", cooldown=10)
    updates = [
        *(event_update("a", change, 0) for change in ("start", "end")),
        *(event_update("b", change, 5) for change in ("start", "end")),
        *(event_update("c", change, 9.9, label="run") for change in ("start", "end")),
        *(event_update("d", change, 9.9) for change in ("start", "end")),
        *(event_update("e", change, 10) for change in ("start", "end")),
        *(event_update("f", change, 2) for change in ("start", "end")),  # the clock was set back
    ]
    assert sent(config, *updates) == [
        *("a-start", "a-end", "c-start", "c-end", "e-start", "e-end", "f-start", "f-end")
    ]


def test_cooldown_without_starts_is_measured_between_ends() -> None:
    config = AlertConfig(webhook="http://x", cooldown=10, notify_on={"end"})
    updates = [
        *(event_update("a", change, 0, duration_s=30) for change in ("start", "end")),
        *(event_update("b", change, 32) for change in ("start", "end")),
        *(event_update("c", change, 45) for change in ("start", "end")),
    ]
    assert sent(config, *updates) == ["a-end", "c-end"]


def test_end_is_sent_if_a_previous_run_sent_the_start() -> None:
    assert sent(AlertConfig(webhook="http://x", cooldown=10), event_update("a", "end")) == ["a-end"]


def test_alerts_arrive_in_order_and_once(run: Callable[..., Alerts], receiver: Receiver) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    for number in range(5):
        alerts.on_written(event_update(f"e{number}", "start", number))
        alerts.on_written(event_update(f"e{number}", "progress", number))
        alerts.on_written(event_update(f"e{number}", "end", number))
    wait_for(lambda: len(receiver.ids) >= 10)
    stop(alerts)
    assert receiver.ids == [f"e{n}-{change}" for n in range(5) for change in ("start", "end")]
    assert alerts.queues == {"alert phone": 0}


def test_restarted_receiver_gets_each_alert_once_in_order(
    run: Callable[..., Alerts], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    alerts.on_written(event_update("e0", "start"))
    wait_for(lambda: receiver.ids == ["e0-start"])
    receiver.stop()
    for number in range(1, 6):
        alerts.on_written(event_update(f"e{number}", "start", number))
    wait_for(lambda: "can't be delivered" in caplog.text)
    assert alerts.queues == {"alert phone": 5}
    receiver.start()
    for status in (0, 503, 429):  # it disconnects, then fails at first
        receiver.status, count = status, len(receiver.requests)
        wait_for(lambda count=count: len(receiver.requests) > count + 1)  # type: ignore[misc]
    receiver.status = 200
    wait_for(lambda: len(receiver.ids) >= 6)
    stop(alerts)
    assert receiver.ids == [f"e{number}-start" for number in range(6)]
    assert "works again" in caplog.text


def test_queued_alerts_are_delivered_by_the_next_run(
    run: Callable[..., Alerts], receiver: Receiver
) -> None:
    receiver.stop()
    config = AlertConfig(webhook=receiver.address)
    first = run(config)
    for number in range(3):
        first.on_written(event_update(f"e{number}", "start", number))
    stop(first)
    receiver.start()
    run(config)
    wait_for(lambda: len(receiver.ids) >= 3)
    assert receiver.ids == ["e0-start", "e1-start", "e2-start"]


def test_last_alerts_are_delivered_before_the_stop(
    run: Callable[..., Alerts], receiver: Receiver
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    for number in range(10):
        alerts.on_written(event_update(f"e{number}", "end", number))
    stop(alerts)
    assert len(receiver.ids) == 10


def test_alerts_can_be_queued_before_the_start(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    alerts = Alerts({"phone": AlertConfig(webhook=receiver.address)}, tmp_path, metrics)
    alerts.on_written(event_update("e0", "start"))
    alerts.start()
    stop(alerts)
    assert receiver.ids == ["e0-start"]


def test_alerts_can_be_stopped_without_a_start(tmp_path: Path) -> None:
    alerts = Alerts({"phone": AlertConfig(webhook="http://127.0.0.1:9")}, tmp_path, Metrics())
    stop(alerts)


def test_rejected_alert_is_logged_once_counted_and_dropped(
    run: Callable[..., Alerts],
    receiver: Receiver,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    receiver.status = 404
    for number in range(3):
        alerts.on_written(event_update(f"e{number}", "start", number))
        wait_for(lambda number=number: metrics.total("rejected_alerts") == number + 1)  # type: ignore[misc]
    receiver.status = 200
    alerts.on_written(event_update("e3", "start", 3))
    wait_for(lambda: receiver.ids == ["e3-start"])
    assert metrics.counts()["rejected_alerts", "door"] == 3
    wait_for(lambda: "works again" in caplog.text)
    (line,) = [one.getMessage() for one in caplog.records if "rejected:" in one.getMessage()]
    assert "alert phone is rejected: answered 404 Not Found" in line


def test_full_queue_drops_the_oldest_and_logs_an_error(
    run: Callable[..., Alerts],
    receiver: Receiver,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.stop()
    alerts = run(AlertConfig(webhook=receiver.address), max_queued=3)
    alerts.on_written(event_update("e0", "start"))
    wait_for(lambda: "can't be delivered" in caplog.text)
    for number in range(1, 10):
        alerts.on_written(event_update(f"e{number}", "start", number))
    assert metrics.total("dropped_alerts") == 7
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the oldest are dropped" in line.getMessage()
    receiver.start()
    wait_for(lambda: len(receiver.ids) >= 3)
    assert receiver.ids == ["e7-start", "e8-start", "e9-start"]


QUEUE_AND_WAIT = """
import sys
from pathlib import Path
from stream.sinks.alerts.alerts import Alerts
from stream.config.events import AlertConfig
from stream.runtime.metrics import Metrics
from tests.alerting import event_update

alerts = Alerts({"phone": AlertConfig(webhook=sys.argv[1])}, Path(sys.argv[2]), Metrics())
alerts.start()
for number in range(20):
    alerts.on_written(event_update(f"e{number}", "start", number))
print("all", flush=True)
sys.stdin.read()
"""


def test_queue_of_a_killed_process_is_delivered_by_the_next(
    run: Callable[..., Alerts], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 503
    with subprocess.Popen(
        [sys.executable, "-c", QUEUE_AND_WAIT, receiver.address, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all\n"
        wait_for(lambda: bool(receiver.requests))
        process.kill()
    receiver.status = 200
    run(AlertConfig(webhook=receiver.address))
    wait_for(lambda: len(receiver.ids) >= 20)
    assert receiver.ids == [f"e{number}-start" for number in range(20)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"webhook": "https://x/${NO_SUCH_TOKEN}"}, r"alert phone: \$\{NO_SUCH_TOKEN\}.*set it"),
        ({"webhook": "https://x", "secret": "${file:/no/such}"}, "alert phone: file:/no/such"),
        ({"webhook": "x"}, "alert phone: webhook must be an address"),
        ({"mqtt": "mqtt://u:pw@x/y"}, "alert phone: mqtt must be an address"),
    ],
)
def test_invalid_config_is_reported_at_once(tmp_path: Path, config: dict, message: str) -> None:
    with pytest.raises(AlertError, match=message) as caught:
        Alerts({"phone": AlertConfig(**config)}, tmp_path, Metrics())
    assert not re.search(r"pw|\n", str(caught.value))


@mosquitto
def test_restarted_broker_forwards_each_alert_once_in_order(
    run: Callable[..., Alerts],
    broker: Broker,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alerts = run(AlertConfig(mqtt=f"mqtt://127.0.0.1:{broker.port}", topic="site"))

    def ids() -> list[str]:
        return [json.loads(message)["id"] for message in subscriber.payloads("site/door/events")]

    for number in range(3):
        alerts.on_written(event_update(f"e{number}", "start", number))
        alerts.on_written(event_update(f"e{number}", "end", number))
    wait_for(lambda: len(ids()) == 6 and alerts.queues == {"alert phone": 0})
    subscriber.sync()
    broker.stop()
    for number in range(3, 6):
        alerts.on_written(event_update(f"e{number}", "start", number))
        alerts.on_written(event_update(f"e{number}", "end", number))
    wait_for(lambda: "can't be delivered" in caplog.text)
    broker.start()
    wait_for(lambda: len(ids()) >= 12)
    stop(alerts)
    wait_for(lambda: subscriber.payloads("site/status")[-1:] == ["offline"])
    assert ids() == [f"e{n}-{change}" for n in range(6) for change in ("start", "end")]
    assert subscriber.payloads("site/door/wave")[-1] == "OFF"
    assert "works again" in caplog.text


@mosquitto
def test_states_ignore_the_cooldown_and_are_announced_at_once(
    run: Callable[..., Alerts], broker: Broker, subscriber: Subscriber
) -> None:
    address = f"mqtt://127.0.0.1:{broker.port}"
    config = AlertConfig(mqtt=address, cooldown=100, notify_on="start", labels=["wave", "run"])
    alerts = run(config)
    alerts.announce([f"camera-{number}" for number in range(60)], ["wave", "run"])  # too many
    alerts.announce(["door", "desk"], ["wave", "fall"])
    wait_for(lambda: subscriber.payloads("actionwatch/desk/wave") == ["OFF"])
    for number in range(2):
        alerts.on_written(event_update(f"e{number}", "start", number))
        alerts.announce(["door"], ["wave"])  # leaves an open state as it is
        alerts.on_written(event_update(f"e{number}", "end", number))
    wait_for(
        lambda: subscriber.payloads("actionwatch/door/wave") == ["OFF", "ON", "OFF", "ON", "OFF"]
    )
    wait_for(lambda: len(subscriber.payloads("actionwatch/door/events")) == 1)
    stop(alerts)
    assert len(subscriber.payloads("actionwatch/door/events")) == 1
    topics = {topic for topic, _ in subscriber.received}
    assert not any("fall" in topic or "camera-" in topic for topic in topics)
    assert sum(topic.startswith("homeassistant/") for topic in topics) == 2
