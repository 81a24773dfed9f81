from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stream.messages import EventMedia, Review
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from tests.event_samples import START_UTC, logged


def after(seconds: float) -> datetime:
    return START_UTC + timedelta(seconds=seconds)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """Events at 0, 10, ... 50 s; the first one is long, the last one is open."""
    updates = [
        logged("wave", 0.0, 35.0, camera="door"),
        logged("run", 10.0, 11.0, camera="door/left", peak=0.5),
        logged("wave", 20.0, 21.0, camera="doors"),
        logged("fall", 30.0, 31.0, camera="Door/left", peak=0.7),
        logged("wave", 40.0, 41.0, camera="yard"),
        logged("run", 50.0, None, camera="yard"),
    ]
    with EventLog.create(tmp_path) as log:
        log.write_updates([*updates, EventMedia(updates[1].event.id, "", "snap.jpg")])
        log.review(updates[2].event.id, Review("corrected", "fall"), START_UTC)
        log.review(updates[4].event.id, Review(note="hard to say"), START_UTC)
        yield log


@pytest.mark.parametrize(
    ("query", "starts"),
    [
        (EventQuery(), [0, 10, 20, 30, 40, 50]),
        (
            EventQuery(camera="door"),
            [0, 10],
        ),  # with its zones, but not a camera with the same prefix
        (EventQuery(camera="door/left"), [10]),
        (EventQuery(camera="d%"), []),
        (EventQuery(label="wave"), [0, 20, 40]),
        (EventQuery(label="fall"), [20, 30]),  # by the model or a reviewer
        (EventQuery(since=after(20)), [20, 30, 40, 50]),
        (EventQuery(until=after(20)), [0, 10]),
        (EventQuery(since=after(25), until=after(45), overlapping=True), [0, 30, 40]),
        (EventQuery(since=after(99), overlapping=True), [50]),  # an open event may last until then
        (EventQuery(since=after(35), until=after(40), overlapping=True), []),
        (EventQuery(min_peak=0.7), [0, 20, 30, 40, 50]),
        (EventQuery(reviewed=True), [20]),  # a note alone is no verdict
        (EventQuery(reviewed=False), [0, 10, 30, 40, 50]),
        (EventQuery(has_media=True), [10]),
        (
            EventQuery(camera="yard", label="run", since=after(1), min_peak=0.9, reviewed=False),
            [50],
        ),
    ],
)
def test_rows_page_and_count_agree_on_a_query(
    log: EventLog, query: EventQuery, starts: list[int]
) -> None:
    assert [row["start_s"] for row in log.rows(query)] == starts
    assert [row["start_s"] for row in log.page(query)] == starts[::-1]
    assert log.count(query) == len(starts)


def test_pages_are_disjoint_even_if_events_start_at_the_same_time(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates(
            [logged("wave", float(n // 3), n + 1.0, camera=f"camera-{n}") for n in range(10)]
        )
        pages = [log.page(limit=4, offset=offset) for offset in (0, 4, 8, 12)]
        ids = [row["id"] for row in log.rows()]
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert [row["id"] for page in pages for row in page] == ids[::-1]


def test_labels_and_cameras_of_the_events(log: EventLog, tmp_path: Path) -> None:
    log.review(next(log.rows())["id"], Review("corrected", "hop"), START_UTC)
    assert log.labels() == ["fall", "hop", "run", "wave"]
    assert log.cameras() == ["Door/left", "door", "door/left", "doors", "yard"]
    with EventLog.create(tmp_path / "empty") as empty:
        assert (empty.labels(), empty.cameras(), empty.page()) == ([], [], [])
