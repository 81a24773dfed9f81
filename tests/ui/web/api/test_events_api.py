"""The API about events, as a program uses it."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.sync.client import connect

from stream.messages import LoggedEvent
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.rows import COLUMNS, iso
from tests import event_archive
from tests.event_archive import BEGAN, DESK, EVENTS, EVIL, MARKUP, OPEN, TRICKY, WAVE
from tests.event_samples import NASTY
from tests.web import serving
from ui.web.api import event_export, event_feed, events_api, invalid, timeline_api
from ui.web.security.access import Identity


class Watch:
    """What a run tells, for as long as it goes on."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._news: list[LoggedEvent] = []
        self._changed = threading.Condition()

    def tell(self, logged: LoggedEvent) -> None:
        with self._changed:
            self._news.append(logged)
            self._changed.notify()

    def stop(self) -> None:
        self.over.set()
        with self._changed:
            self._changed.notify()

    def events(self) -> Iterator[LoggedEvent]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news or self.over.is_set())
                if not self._news:
                    return
                one = self._news.pop(0)
            yield one


class Anna:
    """Stands where the guard stands, and lets in who is an operator called Anna."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "state": {"who": Identity("anna", "operator")}}, receive, send)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return event_archive.fill(tmp_path / "data")


@pytest.fixture
def api(data: Path, watch: Watch) -> Iterator[httpx.Client]:
    feed = event_feed.EventFeed(watch.events, watch.over)
    # A run that goes on, or what is open would count as broken off.
    with EventLog.create(data) as log:
        log.save([EVENTS[-1]])
        app = FastAPI(exception_handlers={RequestValidationError: invalid.refuse})
        app.router.routes.extend(event_feed.routes(feed))
        app.include_router(event_export.router(log))
        model = ("wave", "jump", "still")
        app.include_router(
            events_api.router(log, data, lambda: ["door"], lambda: model, tell=feed.tell)
        )
        app.include_router(timeline_api.router(log, lambda: ["door", "door/gate", "shed"]))
        with serving(Anna(app)) as address, httpx.Client(base_url=address) as client:
            yield client
            watch.stop()


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["events"]]


def test_the_newest_come_first_in_pages(api: httpx.Client) -> None:
    assert ids(api.get("/api/events")) == [OPEN, DESK, MARKUP, TRICKY, WAVE]
    page = api.get("/api/events", params={"limit": 2, "offset": 1})
    assert (ids(page), page.json()["total"]) == ([DESK, MARKUP], 5)
    assert tuple(page.json()["events"][0]) == COLUMNS  # all that the log has, and no more
    assert ids(api.get("/api/events", params={"offset": 100})) == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"camera": "door"}, [OPEN, MARKUP, TRICKY, WAVE]),
        ({"camera": "door/gate"}, [MARKUP]),
        ({"label": NASTY}, [TRICKY]),
        ({"label": EVIL}, [MARKUP]),
        ({"since": iso(BEGAN + timedelta(seconds=30))}, [OPEN, DESK, MARKUP]),
        ({"until": iso(BEGAN + timedelta(seconds=11))}, [WAVE]),
        ({"score": 0.85}, [OPEN, WAVE]),
        ({"recorded": True}, [WAVE]),
        ({"reviewed": True}, []),
        ({"camera": "nobody"}, []),
        ({"since": "0001-01-01T00:00:00+14:00", "until": "9999-12-31T23:59:59-14:00"}, 5),
    ],
)
def test_events_are_found_by(api: httpx.Client, asked: dict, found: list[str] | int) -> None:
    seen = ids(api.get("/api/events", params=asked))
    assert (len(seen) if isinstance(found, int) else seen) == found


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 501},
        {"limit": 0},
        {"offset": -1},
        {"offset": 10**30},
        {"score": "nan"},
        {"score": 2},
        {"since": "yesterday"},
        {"since": "0.5"},
        {"camera": "a\0b"},
        {"label": "x" * 301},
        {"reviewed": "maybe"},
    ],
)
def test_what_can_not_be_meant_is_refused(api: httpx.Client, asked: dict) -> None:
    assert api.get("/api/events", params=asked).status_code == 422


def test_a_review_is_kept_beside_the_label(api: httpx.Client) -> None:
    said = api.patch(f"/api/events/{WAVE}", json={"verdict": "corrected", "corrected": EVIL})
    assert said.status_code == 200
    event = said.json()
    assert (event["label"], event["corrected"], event["reviewed_by"]) == ("wave", EVIL, "anna")
    # A note alone leaves the verdict, another verdict leaves the note but no label.
    event = api.patch(f"/api/events/{WAVE}", json={"note": NASTY}).json()
    assert (event["verdict"], event["corrected"], event["note"]) == ("corrected", EVIL, NASTY)
    event = api.patch(f"/api/events/{WAVE}", json={"verdict": "confirmed"}).json()
    assert (event["verdict"], event["corrected"], event["note"]) == ("confirmed", "", NASTY)
    assert ids(api.get("/api/events", params={"reviewed": True})) == [WAVE]
    event = api.patch(f"/api/events/{WAVE}", json={"verdict": "", "note": ""}).json()
    assert (event["verdict"], event["reviewed_by"], event["reviewed_at"]) == ("", "", "")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"verdict": "corrected"}, 409),
        ({"verdict": "corrected", "corrected": "  "}, 409),
        ({"verdict": "confirmed", "corrected": "jump"}, 409),
        ({"corrected": "jump"}, 409),
        ({"verdict": "perhaps"}, 422),
        ({"note": "x" * 2001}, 422),
        ({"note": "zero \0"}, 422),
        (["no object"], 422),
    ],
)
def test_a_review_that_says_nothing_clear_changes_nothing(
    api: httpx.Client, said: object, status: int
) -> None:
    assert api.patch(f"/api/events/{WAVE}", json=said).status_code == status
    assert api.get(f"/api/events/{WAVE}").json()["verdict"] == ""


def test_half_a_character_is_refused_in_an_answer_that_can_be_sent(api: httpx.Client) -> None:
    answer = api.patch(
        f"/api/events/{WAVE}",
        content=b'{"note": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422


def test_a_deleted_event_takes_its_files_with_it(api: httpx.Client, data: Path) -> None:
    assert api.delete(f"/api/events/{WAVE}").status_code == 204
    assert api.get(f"/api/events/{WAVE}").status_code == 404
    assert api.delete(f"/api/events/{WAVE}").status_code == 404
    assert api.patch(f"/api/events/{WAVE}", json={"note": "late"}).status_code == 404
    assert not [*(data / "clips").iterdir(), *(data / "snapshots").iterdir()]


def test_what_goes_on_can_not_be_deleted(api: httpx.Client) -> None:
    answer = api.delete(f"/api/events/{OPEN}")
    assert answer.status_code == 409
    assert "goes on" in answer.json()["detail"]
    assert OPEN in ids(api.get("/api/events"))


@pytest.mark.parametrize("id", ["x", WAVE.upper(), f"{WAVE}0", f"{WAVE}%0A", "..%2f..%2fetc"])
def test_ids_are_just_ids(api: httpx.Client, id: str) -> None:
    assert api.get(f"/api/events/{id}").status_code in (404, 422)


def test_what_can_be_asked_for_is_told(api: httpx.Client) -> None:
    assert api.get("/api/events/choices").json()["cameras"] == ["door", "desk", "door/gate"]
    assert set(api.get("/api/labels").json()) == {"wave", "jump", "still", NASTY, EVIL}


@pytest.mark.parametrize(
    ("format", "suffix", "begins"),
    [
        ("jsonl", "jsonl", b"{"),
        ("csv", "csv", b"id,camera,label,"),
        ("webvtt", "vtt", b"WEBVTT"),
        ("activitynet", "json", b"{"),
        ("elan", "eaf", b"<?xml"),
        ("parquet", "parquet", b"PAR1"),
    ],
)
def test_exports_are_downloads(api: httpx.Client, format: str, suffix: str, begins: bytes) -> None:
    answer = api.get("/api/events/export", params={"format": format})
    assert answer.status_code == 200
    name = answer.headers["Content-Disposition"]
    assert name == f'attachment; filename="actionwatch-events.{suffix}"'
    assert answer.content.startswith(begins)


def test_an_export_has_what_was_asked_for_and_as_it_is(api: httpx.Client) -> None:
    answer = api.get(
        "/api/events/export", params={"format": "csv", "camera": "door", "until": "9999-01-01"}
    )
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["id"] for row in rows] == [WAVE, TRICKY, MARKUP, OPEN]
    assert [row["label"] for row in rows] == ["wave", NASTY, EVIL, "jump"]
    (line,) = api.get("/api/events/export", params={"label": NASTY}).content.splitlines()
    assert json.loads(line)["label"] == NASTY
    assert api.get("/api/events/export", params={"format": "docx"}).status_code == 422


def test_a_timeline_holds_what_reaches_into_it(api: httpx.Client) -> None:
    span = {
        "since": iso(BEGAN + timedelta(seconds=12)),
        "until": iso(BEGAN + timedelta(seconds=61)),
    }
    told = api.get("/api/timeline", params=span).json()
    lanes = {lane["camera"]: [event["id"] for event in lane["events"]] for lane in told["lanes"]}
    assert lanes == {"door": [WAVE, TRICKY], "shed": [], "desk": [DESK], "door/gate": [MARKUP]}
    assert told["more"] == {}
    api.patch(f"/api/events/{DESK}", json={"verdict": "corrected", "corrected": "sit"})
    told = api.get("/api/timeline", params=span).json()
    (desk,) = [lane["events"] for lane in told["lanes"] if lane["camera"] == "desk"]
    assert (desk[0]["label"], desk[0]["verdict"]) == ("sit", "corrected")
    backwards = {"since": span["until"], "until": span["since"]}
    told = api.get("/api/timeline", params=backwards).json()
    assert not [event for lane in told["lanes"] for event in lane["events"]]


def live(api: httpx.Client) -> str:
    return str(api.base_url).replace("http", "ws", 1) + "/api/events/live"


def test_all_who_listen_hear_of_starts_and_ends_and_of_what_people_do(
    api: httpx.Client, watch: Watch
) -> None:
    with connect(live(api)) as one, connect(live(api)) as other:
        watch.tell(EVENTS[2])
        for listener in (one, other):
            news = json.loads(listener.recv(timeout=10))
            assert (news["change"], news["dropped"]) == ("end", 0)
            assert (news["event"]["id"], news["event"]["label"]) == (MARKUP, EVIL)
        api.patch(f"/api/events/{DESK}", json={"verdict": "rejected"})
        news = json.loads(other.recv(timeout=10))
        assert (news["change"], news["event"]["verdict"]) == ("review", "rejected")


def test_listeners_are_let_go_when_the_run_is_over(api: httpx.Client, watch: Watch) -> None:
    with connect(live(api)) as listener:
        watch.stop()
        with pytest.raises(Exception, match="1001"):
            listener.recv(timeout=5)
