from __future__ import annotations

import itertools
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
from stream.sinks.alerts.dispatcher import pauses
from stream.sinks.alerts.filter import AlertFilter
from stream.workers.transport import TransportError
from tests.alerting import Receiver, news
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
    """Starts alerts that try again soon; they are stopped at the end."""
    running: list[Alerts] = []

    def start(config: AlertConfig, **more: int) -> Alerts:
        alerts = Alerts({"phone": config}, tmp_path, metrics, first_pause_s=0.02, **more)
        running.append(alerts)
        alerts.start()
        return alerts

    yield start
    for alerts in running:
        stop(alerts)


def stop(alerts: Alerts) -> None:
    alerts.tell_stop()
    assert alerts.join(20)


def told(config: AlertConfig, *happened: object) -> list[str]:
    """Which of the news an alert is told of."""
    wanted = AlertFilter(config)
    return [f"{one.event.id}-{one.change}" for one in happened if wanted.wants(one)]  # type: ignore[attr-defined]


def test_progress_is_never_told() -> None:
    happened = [news("a", "start"), news("a", "progress"), news("a", "end")]
    assert told(AlertConfig(webhook="http://x"), *happened) == ["a-start", "a-end"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"when": "start"}, ["a-start", "b-start", "c-start"]),
        ({"when": ["end"]}, ["a-end", "b-end", "c-end"]),
        ({"cameras": ["door"]}, ["a-start", "a-end", "b-start", "b-end"]),
        ({"cameras": ["door/gate"]}, ["b-start", "b-end"]),
        ({"labels": ["run"], "when": "end"}, ["c-end"]),
        ({"labels": ["run"], "cameras": ["door"]}, []),
    ],
)
def test_filters(chosen: dict, expected: list[str]) -> None:
    happened = [
        *(news("a", change) for change in ("start", "end")),
        *(news("b", change, camera="door/gate") for change in ("start", "end")),
        *(news("c", change, camera="doorway", label="run") for change in ("start", "end")),
    ]
    assert told(AlertConfig(webhook="http://x", **chosen), *happened) == expected


def test_the_cool_down_counts_from_start_to_start_and_holds_ends_back_too() -> None:
    config = AlertConfig(webhook="http://x", cool_down=10)
    happened = [
        *(news("a", change, 0) for change in ("start", "end")),
        *(news("b", change, 5) for change in ("start", "end")),
        *(news("c", change, 9.9, label="run") for change in ("start", "end")),
        *(news("d", change, 9.9) for change in ("start", "end")),
        *(news("e", change, 10) for change in ("start", "end")),
        *(news("f", change, 2) for change in ("start", "end")),  # the clock was set back
    ]
    assert told(config, *happened) == [
        *("a-start", "a-end", "c-start", "c-end", "e-start", "e-end", "f-start", "f-end")
    ]


def test_without_starts_the_cool_down_counts_from_end_to_end() -> None:
    config = AlertConfig(webhook="http://x", cool_down=10, when={"end"})
    happened = [
        *(news("a", change, 0, lasts_s=30) for change in ("start", "end")),
        *(news("b", change, 32) for change in ("start", "end")),
        *(news("c", change, 45) for change in ("start", "end")),
    ]
    assert told(config, *happened) == ["a-end", "c-end"]


def test_an_end_whose_start_a_former_run_told_is_told() -> None:
    assert told(AlertConfig(webhook="http://x", cool_down=10), news("a", "end")) == ["a-end"]


def test_pauses_double_to_a_minute_with_some_chance_in_them() -> None:
    longest = list(itertools.islice(pauses(1.0, between=lambda _, most: most), 8))
    assert longest == [1.25 * pause for pause in (1, 2, 4, 8, 16, 32, 60, 60)]
    assert len(set(itertools.islice(pauses(1.0), 100))) == 100


def test_alerts_come_in_order_and_once(run: Callable[..., Alerts], receiver: Receiver) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    for number in range(5):
        alerts.put(news(f"e{number}", "start", number))
        alerts.put(news(f"e{number}", "progress", number))
        alerts.put(news(f"e{number}", "end", number))
    wait_for(lambda: len(receiver.ids) >= 10)
    stop(alerts)
    assert receiver.ids == [f"e{n}-{change}" for n in range(5) for change in ("start", "end")]
    assert alerts.queues == {"alert phone": 0}


def test_a_receiver_that_is_killed_and_comes_back_gets_each_alert_once_in_order(
    run: Callable[..., Alerts], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    alerts.put(news("e0", "start"))
    wait_for(lambda: receiver.ids == ["e0-start"])
    receiver.stop()
    for number in range(1, 6):
        alerts.put(news(f"e{number}", "start", number))
    wait_for(lambda: "can't be delivered" in caplog.text)
    assert alerts.queues == {"alert phone": 5}
    receiver.start()
    for answer in (0, 503, 429):  # it breaks off, and is not well at first
        receiver.answer, before = answer, len(receiver.requests)
        wait_for(lambda before=before: len(receiver.requests) > before + 1)  # type: ignore[misc]
    receiver.answer = 200
    wait_for(lambda: len(receiver.ids) >= 6)
    stop(alerts)
    assert receiver.ids == [f"e{number}-start" for number in range(6)]
    assert "works again" in caplog.text


def test_what_waits_is_delivered_by_the_next_run(
    run: Callable[..., Alerts], receiver: Receiver
) -> None:
    receiver.stop()
    config = AlertConfig(webhook=receiver.address)
    first = run(config)
    for number in range(3):
        first.put(news(f"e{number}", "start", number))
    stop(first)
    receiver.start()
    run(config)
    wait_for(lambda: len(receiver.ids) >= 3)
    assert receiver.ids == ["e0-start", "e1-start", "e2-start"]


def test_what_is_told_last_is_delivered_before_it_stops(
    run: Callable[..., Alerts], receiver: Receiver
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    for number in range(10):
        alerts.put(news(f"e{number}", "end", number))
    stop(alerts)
    assert len(receiver.ids) == 10


def test_it_takes_alerts_before_it_is_started(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    alerts = Alerts({"phone": AlertConfig(webhook=receiver.address)}, tmp_path, metrics)
    alerts.put(news("e0", "start"))
    alerts.start()
    stop(alerts)
    assert receiver.ids == ["e0-start"]


def test_alerts_that_are_never_started_leave_nothing_open(tmp_path: Path) -> None:
    alerts = Alerts({"phone": AlertConfig(webhook="http://127.0.0.1:9")}, tmp_path, Metrics())
    stop(alerts)


def test_a_refusal_is_logged_once_counted_and_dropped(
    run: Callable[..., Alerts],
    receiver: Receiver,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alerts = run(AlertConfig(webhook=receiver.address))
    receiver.answer = 404
    for number in range(3):
        alerts.put(news(f"e{number}", "start", number))
        wait_for(lambda number=number: metrics.total("refused_alerts") == number + 1)  # type: ignore[misc]
    receiver.answer = 200
    alerts.put(news("e3", "start", 3))
    wait_for(lambda: receiver.ids == ["e3-start"])
    assert metrics.counts()["refused_alerts", "door"] == 3
    wait_for(lambda: "works again" in caplog.text)
    (line,) = [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]
    assert "alert phone is refused: answered 404 Not Found" in line


def test_when_too_many_wait_the_oldest_go_loudly(
    run: Callable[..., Alerts],
    receiver: Receiver,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.stop()
    alerts = run(AlertConfig(webhook=receiver.address), most_waiting=3)
    alerts.put(news("e0", "start"))
    wait_for(lambda: "can't be delivered" in caplog.text)
    for number in range(1, 10):
        alerts.put(news(f"e{number}", "start", number))
    assert metrics.total("dropped_alerts") == 7
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the oldest are dropped" in line.getMessage()
    receiver.start()
    wait_for(lambda: len(receiver.ids) >= 3)
    assert receiver.ids == ["e7-start", "e8-start", "e9-start"]


KILLED = """
import sys
from pathlib import Path
from stream.sinks.alerts.alerts import Alerts
from stream.config.events import AlertConfig
from stream.runtime.metrics import Metrics
from tests.alerting import news

alerts = Alerts({"phone": AlertConfig(webhook=sys.argv[1])}, Path(sys.argv[2]), Metrics())
alerts.start()
for number in range(20):
    alerts.put(news(f"e{number}", "start", number))
print("all", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_held_is_delivered_by_the_next(
    run: Callable[..., Alerts], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer = 503
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, receiver.address, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all\n"
        wait_for(lambda: bool(receiver.requests))
        process.kill()
    receiver.answer = 200
    run(AlertConfig(webhook=receiver.address))
    wait_for(lambda: len(receiver.ids) >= 20)
    assert receiver.ids == [f"e{number}-start" for number in range(20)]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"webhook": "https://x/${NO_SUCH_TOKEN}"}, r"alert phone: \$\{NO_SUCH_TOKEN\}.*set it"),
        ({"webhook": "https://x", "secret": "${file:/no/such}"}, "alert phone: file:/no/such"),
        ({"webhook": "x"}, "alert phone: webhook must be an address"),
        ({"mqtt": "mqtt://u:pw@x/y"}, "alert phone: mqtt must be an address"),
    ],
)
def test_what_can_not_work_is_told_at_once(tmp_path: Path, config: dict, words: str) -> None:
    with pytest.raises(TransportError, match=words) as caught:
        Alerts({"phone": AlertConfig(**config)}, tmp_path, Metrics())
    assert not re.search(r"pw|\n", str(caught.value))


@mosquitto
def test_a_broker_that_is_restarted_passes_each_alert_on_once_in_order(
    run: Callable[..., Alerts],
    broker: Broker,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alerts = run(AlertConfig(mqtt=f"mqtt://127.0.0.1:{broker.port}", topic="watch"))

    def ids() -> list[str]:
        return [json.loads(message)["id"] for message in subscriber.of("watch/door/events")]

    for number in range(3):
        alerts.put(news(f"e{number}", "start", number))
        alerts.put(news(f"e{number}", "end", number))
    wait_for(lambda: len(ids()) == 6 and alerts.queues == {"alert phone": 0})
    subscriber.settle()
    broker.stop()
    for number in range(3, 6):
        alerts.put(news(f"e{number}", "start", number))
        alerts.put(news(f"e{number}", "end", number))
    wait_for(lambda: "can't be delivered" in caplog.text)
    broker.start()
    wait_for(lambda: len(ids()) >= 12)
    stop(alerts)
    wait_for(lambda: subscriber.of("watch/status")[-1:] == ["offline"])
    assert ids() == [f"e{n}-{change}" for n in range(6) for change in ("start", "end")]
    assert subscriber.of("watch/door/wave")[-1] == "OFF"
    assert "works again" in caplog.text


@mosquitto
def test_states_know_no_cool_down_and_what_is_announced_is_there_at_once(
    run: Callable[..., Alerts], broker: Broker, subscriber: Subscriber
) -> None:
    address = f"mqtt://127.0.0.1:{broker.port}"
    config = AlertConfig(mqtt=address, cool_down=100, when="start", labels=["wave", "run"])
    alerts = run(config)
    alerts.announce([f"camera-{number}" for number in range(60)], ["wave", "run"])  # too many
    alerts.announce(["door", "desk"], ["wave", "fall"])
    wait_for(lambda: subscriber.of("actionwatch/desk/wave") == ["OFF"])
    for number in range(2):
        alerts.put(news(f"e{number}", "start", number))
        alerts.announce(["door"], ["wave"])  # what goes on goes on
        alerts.put(news(f"e{number}", "end", number))
    wait_for(lambda: subscriber.of("actionwatch/door/wave") == ["OFF", "ON", "OFF", "ON", "OFF"])
    wait_for(lambda: len(subscriber.of("actionwatch/door/events")) == 1)
    stop(alerts)
    assert len(subscriber.of("actionwatch/door/events")) == 1
    topics = {topic for topic, _ in subscriber.got}
    assert not any("fall" in topic or "camera-" in topic for topic in topics)
    assert sum(topic.startswith("homeassistant/") for topic in topics) == 2
