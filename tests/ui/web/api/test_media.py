"""Clips and snapshots: only files that the log names, whole and as byte ranges."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from stream.messages import EventMedia
from stream.sinks.event_log.event_log import EventLog
from tests import event_archive
from tests.event_archive import DESK, MARKUP, TRICKY, WAVE
from tests.web import serving
from ui.web.api.event_files import media_routes

CLIP = f"/media/clips/{WAVE}.mp4"
SNAPSHOT = f"/media/snapshots/{WAVE}.jpg"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return event_archive.fill(tmp_path_factory.mktemp("media") / "data")


@pytest.fixture(scope="module")
def host(data: Path) -> Iterator[str]:
    with EventLog.open(data) as log:
        app = Starlette(routes=media_routes(log, data))
        with serving(app) as address:
            yield address.removeprefix("http://")


def requested(
    host: str, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send the path unchanged: httpx would normalize `..` first."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [(CLIP, "video/mp4"), (SNAPSHOT, "image/jpeg")],
    ids=["clip", "snapshot"],
)
def test_files_have_their_media_type(host: str, data: Path, path: str, media_type: str) -> None:
    response, content = requested(host, path)
    assert (response.status, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert content == (data / path.removeprefix("/media/")).read_bytes()
    head, body = requested(host, path, "HEAD")
    assert (head.status, body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content))


def test_byte_ranges_are_served(host: str) -> None:
    _, whole = requested(host, CLIP)
    part, content = requested(host, CLIP, Range="bytes=10-19")
    assert (part.status, content) == (206, whole[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    end, content = requested(host, CLIP, Range="bytes=-5")
    assert (end.status, content) == (206, whole[-5:])
    beyond, _ = requested(host, CLIP, Range=f"bytes={len(whole)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    assert requested(host, CLIP, Range="bytes=5-1")[0].status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/media/",
        "/media/clips",
        "/media/clips/",
        "/media/clips/..",
        "/media/clips/../events.sqlite",
        "/media/clips/%2e%2e/events.sqlite",
        "/media/clips/..%2fevents.sqlite",
        "/media/clips/%2e%2e%2fevents.sqlite",
        "/media/clips/..%252fevents.sqlite",
        "/media/clips/..%5cevents.sqlite",
        "/media/clips//etc/passwd",
        "/media/clips/%2fetc%2fpasswd",
        f"{CLIP}%00",
        f"{CLIP}%0a",
        f"{CLIP}.part",
        f"/media/clips/{WAVE.upper()}.mp4",
        f"/media/clips/{WAVE}.jpg",
        f"/media/clips/{WAVE}",
        f"/media/snapshots/{WAVE}.mp4",
        f"/media/clips/{TRICKY}.mp4",  # an event without a clip
        f"/media/clips/{'0' * 32}.mp4",  # no event
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_paths_are_not_found(host: str, path: str, method: str) -> None:
    assert requested(host, path, method)[0].status == 404


def test_file_without_an_event_is_not_found(host: str, data: Path) -> None:
    leftover = data / "clips" / f"{TRICKY}.mp4"
    leftover.write_bytes(b"left by a crash")
    assert requested(host, f"/media/clips/{TRICKY}.mp4")[0].status == 404
    leftover.unlink()


def test_links_folders_and_missing_files_are_not_served(host: str, data: Path) -> None:
    names = [f"{one}.mp4" for one in (DESK, MARKUP, TRICKY)]
    with EventLog.create(data) as log:
        log.write_updates([EventMedia(name.removesuffix(".mp4"), name, "") for name in names])
    os.symlink("/etc/passwd", data / "clips" / names[0])
    (data / "clips" / names[1]).mkdir()
    assert [requested(host, f"/media/clips/{name}")[0].status for name in names] == [404] * 3
    (data / "clips" / names[0]).unlink()
    (data / "clips" / names[1]).rmdir()
    with EventLog.create(data) as log:
        log.write_updates([EventMedia(name.removesuffix(".mp4"), "", "") for name in names])


def test_files_are_read_only(host: str) -> None:
    assert [requested(host, CLIP, method)[0].status for method in ("POST", "DELETE")] == [405, 405]
