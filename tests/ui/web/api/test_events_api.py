"""The events API, as a client uses it."""

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
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.sync.client import connect

from stream.runtime.metrics import Metrics
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.rows import COLUMNS, iso
from stream.sinks.subscribers import EventBroadcaster
from tests import event_archive
from tests.event_archive import DESK, EVENTS, EVIL, MARKUP, OPEN, START_UTC, TRICKY, WAVE
from tests.event_samples import NASTY
from tests.web import serving
from ui.web.api import event_feed, event_files, events_api, timeline_api
from ui.web.api.errors import add_error_handlers
from ui.web.security.access import Identity


class Run:
    """The event updates of a run."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._broadcaster = EventBroadcaster(Metrics())
        self.publish = self._broadcaster.on_written
        self.subscribe = self._broadcaster.subscribe


class Anna:
    """Replaces the guard: every request is from the operator Anna."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(
            {**scope, "state": {"identity": Identity("anna", "operator")}}, receive, send
        )


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.over.set()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return event_archive.fill(tmp_path / "data")


@pytest.fixture
def api(data: Path, run: Run) -> Iterator[httpx.Client]:
    feed = event_feed.EventFeed(run.subscribe, run.over)
    # The log stays open, or its open events would count as crashed.
    with EventLog.create(data) as log:
        log.write_updates([EVENTS[-1]])
        app = FastAPI()
        add_error_handlers(app)
        app.router.routes.extend(event_feed.routes(feed))
        app.include_router(event_files.export_router(log))
        model = ("wave", "jump", "still")
        app.include_router(
            events_api.router(log, data, lambda: ["door"], lambda: model, publish=feed.publish)
        )
        app.include_router(timeline_api.router(log, lambda: ["door", "door/gate", "shed"]))
        with serving(Anna(app)) as address, httpx.Client(base_url=address, timeout=180) as client:
            yield client
            run.over.set()


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [event["id"] for event in response.json()["events"]]


def test_events_are_paged_newest_first(api: httpx.Client) -> None:
    assert ids(api.get("/api/events")) == [OPEN, DESK, MARKUP, TRICKY, WAVE]
    page = api.get("/api/events", params={"limit": 2, "offset": 1})
    assert (ids(page), page.json()["total"]) == ([DESK, MARKUP], 5)
    assert tuple(page.json()["events"][0]) == COLUMNS  # exactly the columns of the log
    assert ids(api.get("/api/events", params={"offset": 100})) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"camera": "door"}, [OPEN, MARKUP, TRICKY, WAVE]),
        ({"camera": "door/gate"}, [MARKUP]),
        ({"label": NASTY}, [TRICKY]),
        ({"label": EVIL}, [MARKUP]),
        ({"since": iso(START_UTC + timedelta(seconds=30))}, [OPEN, DESK, MARKUP]),
        ({"until": iso(START_UTC + timedelta(seconds=11))}, [WAVE]),
        ({"min_peak": 0.85}, [OPEN, WAVE]),
        ({"has_media": True}, [WAVE]),
        ({"reviewed": True}, []),
        ({"camera": "nobody"}, []),
        ({"since": "0001-01-01T00:00:00+14:00", "until": "9999-12-31T23:59:59-14:00"}, 5),
    ],
)
def test_events_are_filtered(api: httpx.Client, filters: dict, expected: list[str] | int) -> None:
    found = ids(api.get("/api/events", params=filters))
    assert (len(found) if isinstance(expected, int) else found) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"limit": 501},
        {"limit": 0},
        {"offset": -1},
        {"offset": 10**30},
        {"min_peak": "nan"},
        {"min_peak": 2},
        {"since": "yesterday"},
        {"since": "0.5"},
        {"camera": "a\0b"},
        {"label": "x" * 301},
        {"reviewed": "maybe"},
    ],
)
def test_invalid_filters_are_rejected(api: httpx.Client, filters: dict) -> None:
    assert api.get("/api/events", params=filters).status_code == 422


def test_review_is_stored_beside_the_label(api: httpx.Client) -> None:
    response = api.patch(f"/api/events/{WAVE}", json={"verdict": "corrected", "corrected": EVIL})
    assert response.status_code == 200
    event = response.json()
    assert (event["label"], event["corrected"], event["reviewed_by"]) == ("wave", EVIL, "anna")
    # A note alone keeps the verdict; another verdict keeps the note, but not the label.
    event = api.patch(f"/api/events/{WAVE}", json={"note": NASTY}).json()
    assert (event["verdict"], event["corrected"], event["note"]) == ("corrected", EVIL, NASTY)
    event = api.patch(f"/api/events/{WAVE}", json={"verdict": "confirmed"}).json()
    assert (event["verdict"], event["corrected"], event["note"]) == ("confirmed", "", NASTY)
    assert ids(api.get("/api/events", params={"reviewed": True})) == [WAVE]
    event = api.patch(f"/api/events/{WAVE}", json={"verdict": "", "note": ""}).json()
    assert (event["verdict"], event["reviewed_by"], event["reviewed_at"]) == ("", "", "")


@pytest.mark.parametrize(
    ("review", "status"),
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
def test_invalid_review_changes_nothing(api: httpx.Client, review: object, status: int) -> None:
    assert api.patch(f"/api/events/{WAVE}", json=review).status_code == status
    assert api.get(f"/api/events/{WAVE}").json()["verdict"] == ""


def test_lone_surrogate_is_rejected_with_a_valid_response(api: httpx.Client) -> None:
    response = api.patch(
        f"/api/events/{WAVE}",
        content=b'{"note": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422


def test_delete_removes_the_files_of_an_event(api: httpx.Client, data: Path) -> None:
    assert api.delete(f"/api/events/{WAVE}").status_code == 204
    assert api.get(f"/api/events/{WAVE}").status_code == 404
    assert api.delete(f"/api/events/{WAVE}").status_code == 404
    assert api.patch(f"/api/events/{WAVE}", json={"note": "late"}).status_code == 404
    assert not [*(data / "clips").iterdir(), *(data / "snapshots").iterdir()]


def test_open_event_can_not_be_deleted(api: httpx.Client) -> None:
    response = api.delete(f"/api/events/{OPEN}")
    assert response.status_code == 409
    assert "still open" in response.json()["detail"]
    assert OPEN in ids(api.get("/api/events"))


@pytest.mark.parametrize("id", ["x", WAVE.upper(), f"{WAVE}0", f"{WAVE}%0A", "..%2f..%2fetc"])
def test_invalid_ids_are_rejected(api: httpx.Client, id: str) -> None:
    assert api.get(f"/api/events/{id}").status_code in (404, 422)


def test_choices_list_cameras_and_labels(api: httpx.Client) -> None:
    assert api.get("/api/events/choices").json()["cameras"] == ["door", "desk", "door/gate"]
    assert set(api.get("/api/labels").json()) == {"wave", "jump", "still", NASTY, EVIL}


@pytest.mark.parametrize(
    ("format", "suffix", "start"),
    [
        ("jsonl", "jsonl", b"{"),
        ("csv", "csv", b"id,camera,label,"),
        ("webvtt", "vtt", b"WEBVTT"),
        ("activitynet", "json", b"{"),
        ("elan", "eaf", b"<?xml"),
        ("parquet", "parquet", b"PAR1"),
    ],
)
def test_exports_are_downloads(api: httpx.Client, format: str, suffix: str, start: bytes) -> None:
    response = api.get("/api/events/export", params={"format": format})
    assert response.status_code == 200
    name = response.headers["Content-Disposition"]
    assert name == f'attachment; filename="actionwatch-events.{suffix}"'
    assert response.content.startswith(start)


def test_export_is_filtered_and_preserves_the_labels(api: httpx.Client) -> None:
    response = api.get(
        "/api/events/export", params={"format": "csv", "camera": "door", "until": "9999-01-01"}
    )
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["id"] for row in rows] == [WAVE, TRICKY, MARKUP, OPEN]
    assert [row["label"] for row in rows] == ["wave", NASTY, EVIL, "jump"]
    (line,) = api.get("/api/events/export", params={"label": NASTY}).content.splitlines()
    assert json.loads(line)["label"] == NASTY
    assert api.get("/api/events/export", params={"format": "docx"}).status_code == 422


def test_timeline_includes_overlapping_events(api: httpx.Client) -> None:
    span = {
        "since": iso(START_UTC + timedelta(seconds=12)),
        "until": iso(START_UTC + timedelta(seconds=61)),
    }
    timeline = api.get("/api/timeline", params=span).json()
    lanes = {
        lane["camera"]: [event["id"] for event in lane["events"]] for lane in timeline["lanes"]
    }
    assert lanes == {"door": [WAVE, TRICKY], "shed": [], "desk": [DESK], "door/gate": [MARKUP]}
    assert timeline["omitted"] == {}
    api.patch(f"/api/events/{DESK}", json={"verdict": "corrected", "corrected": "sit"})
    timeline = api.get("/api/timeline", params=span).json()
    (desk,) = [lane["events"] for lane in timeline["lanes"] if lane["camera"] == "desk"]
    assert (desk[0]["label"], desk[0]["verdict"]) == ("sit", "corrected")
    backwards = {"since": span["until"], "until": span["since"]}
    timeline = api.get("/api/timeline", params=backwards).json()
    assert not [event for lane in timeline["lanes"] for event in lane["events"]]


def live(api: httpx.Client) -> str:
    return str(api.base_url).replace("http", "ws", 1) + "/api/events/live"


def test_all_subscribers_receive_event_updates_and_reviews(api: httpx.Client, run: Run) -> None:
    with connect(live(api)) as first, connect(live(api)) as second:
        run.publish(EVENTS[2])
        for subscriber in (first, second):
            update = json.loads(subscriber.recv(timeout=60))
            assert (update["change"], update["dropped"]) == ("end", 0)
            assert (update["event"]["id"], update["event"]["label"]) == (MARKUP, EVIL)
        api.patch(f"/api/events/{DESK}", json={"verdict": "rejected"})
        update = json.loads(second.recv(timeout=60))
        assert (update["change"], update["event"]["verdict"]) == ("review", "rejected")


def test_subscribers_are_closed_when_the_run_ends(api: httpx.Client, run: Run) -> None:
    with connect(live(api)) as subscriber:
        run.over.set()
        with pytest.raises(Exception, match="1001"):
            subscriber.recv(timeout=60)
