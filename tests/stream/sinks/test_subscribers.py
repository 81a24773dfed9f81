from __future__ import annotations

import gc
import threading

import pytest

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics
from stream.sinks.subscribers import EventBroadcaster
from tests.event_samples import logged


def events(count: int) -> list[LoggedEvent]:
    return [logged("wave", float(number), number + 0.5) for number in range(count)]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def broadcaster(metrics: Metrics) -> EventBroadcaster:
    return EventBroadcaster(metrics)


def test_iterator_yields_starts_and_ends_until_it_is_over(broadcaster: EventBroadcaster) -> None:
    over = threading.Event()
    found = broadcaster.events(over.is_set)
    first, second = events(2)
    for one in (first, logged("wave", 0.0, None), second):
        broadcaster.on_written(one)
    assert next(found) == first
    over.set()
    assert [one.change for one in found] == ["start", "end"]  # what was published before
    assert list(found) == []


def test_progress_is_not_published(broadcaster: EventBroadcaster) -> None:
    received: list[LoggedEvent] = []
    broadcaster.subscribe(received.append)
    (one,) = events(1)
    broadcaster.on_written(LoggedEvent(one.event, "progress", one.start_utc, one.model))
    assert received == []


def test_iterator_that_was_never_advanced_holds_no_events_after_its_end(
    broadcaster: EventBroadcaster, metrics: Metrics
) -> None:
    closed = broadcaster.events(lambda: False)
    closed.close()
    broadcaster.events(lambda: False)  # and nobody holds it
    gc.collect()
    for one in events(1500):
        broadcaster.on_written(one)
    assert metrics.total("subscriber_overflow_events") == 0
    assert list(closed) == []


def test_slow_iterator_loses_the_newest_events(
    broadcaster: EventBroadcaster, metrics: Metrics
) -> None:
    found = broadcaster.events(lambda: True)
    published = events(1200)
    for one in published:
        broadcaster.on_written(one)
    assert list(found) == published[:1000]
    assert metrics.totals("door") == {"subscriber_overflow_events": 200}


def test_callback_receives_events_until_it_unsubscribes(broadcaster: EventBroadcaster) -> None:
    received: list[LoggedEvent] = []
    unsubscribe = broadcaster.subscribe(received.append)
    first, second = events(2)
    broadcaster.on_written(first)
    unsubscribe()
    unsubscribe()
    broadcaster.on_written(second)
    assert received == [first]


def test_failing_callback_does_not_stop_the_others(
    broadcaster: EventBroadcaster, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[LoggedEvent] = []

    def fail(_: LoggedEvent) -> None:
        raise RuntimeError("not the broadcaster's")

    broadcaster.subscribe(fail)
    broadcaster.subscribe(received.append)
    published = events(2)
    for one in published:
        broadcaster.on_written(one)
    assert received == published
    assert "not the broadcaster's" in caplog.text
