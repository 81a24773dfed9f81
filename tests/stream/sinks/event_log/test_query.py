from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stream.messages import Recorded, Review
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from tests.event_samples import BEGAN, logged


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """Events at 0, 10, ... 50 s, of which that at 0 s lasts for long and the last one goes on."""
    news = [
        logged("wave", 0.0, 35.0, camera="door"),
        logged("run", 10.0, 11.0, camera="door/left", peak=0.5),
        logged("wave", 20.0, 21.0, camera="doors"),
        logged("fall", 30.0, 31.0, camera="Door/left", peak=0.7),
        logged("wave", 40.0, 41.0, camera="yard"),
        logged("run", 50.0, None, camera="yard"),
    ]
    with EventLog.create(tmp_path) as made:
        made.save([*news, Recorded(news[1].event.id, "", "snap.jpg")])
        made.review(news[2].event.id, Review("corrected", "fall"), BEGAN)
        made.review(news[4].event.id, Review(note="hard to say"), BEGAN)
        yield made


@pytest.mark.parametrize(
    ("query", "starts"),
    [
        (EventQuery(), [0, 10, 20, 30, 40, 50]),
        (EventQuery(camera="door"), [0, 10]),  # with its zones, and no camera called alike
        (EventQuery(camera="door/left"), [10]),
        (EventQuery(camera="d%"), []),
        (EventQuery(label="wave"), [0, 20, 40]),
        (EventQuery(label="fall"), [20, 30]),  # by the model or by a person
        (EventQuery(since=after(20)), [20, 30, 40, 50]),
        (EventQuery(until=after(20)), [0, 10]),
        (EventQuery(since=after(25), until=after(45), reaching=True), [0, 30, 40]),
        (EventQuery(since=after(99), reaching=True), [50]),  # who knows when it will end
        (EventQuery(since=after(35), until=after(40), reaching=True), []),
        (EventQuery(score=0.7), [0, 20, 30, 40, 50]),
        (EventQuery(reviewed=True), [20]),  # a note alone is no verdict
        (EventQuery(reviewed=False), [0, 10, 30, 40, 50]),
        (EventQuery(recorded=True), [10]),
        (EventQuery(camera="yard", label="run", since=after(1), score=0.9, reviewed=False), [50]),
    ],
)
def test_a_query_means_the_same_to_all_who_ask(
    log: EventLog, query: EventQuery, starts: list[int]
) -> None:
    assert [row["start_s"] for row in log.rows(query)] == starts
    assert [row["start_s"] for row in log.page(query)] == starts[::-1]
    assert log.count(query) == len(starts)


def test_pages_follow_one_another_even_where_events_start_at_once(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.save([logged("wave", float(n // 3), n + 1.0, camera=f"camera-{n}") for n in range(10)])
        pages = [log.page(limit=4, offset=offset) for offset in (0, 4, 8, 12)]
        all_of_them = [row["id"] for row in log.rows()]
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert [row["id"] for page in pages for row in page] == all_of_them[::-1]


def test_labels_and_cameras_are_those_that_occur(log: EventLog, tmp_path: Path) -> None:
    log.review(next(log.rows())["id"], Review("corrected", "hop"), BEGAN)
    assert log.labels() == ["fall", "hop", "run", "wave"]
    assert log.cameras() == ["Door/left", "door", "door/left", "doors", "yard"]
    with EventLog.create(tmp_path / "empty") as empty:
        assert (empty.labels(), empty.cameras(), empty.page()) == ([], [], [])
