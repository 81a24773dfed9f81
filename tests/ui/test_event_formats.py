"""A format from outside: registered, it is in the command line, the API and the ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stream.evaluation.ground_truth import read_ground_truth
from stream.formats.base import FORMATS, EventFormat, Options, export_file
from stream.formats.ground_truth import GroundTruth, checked_segment
from stream.sinks.event_log.event_log import EventLog
from tests.cli import invoke
from tests.event_samples import ROWS, logged
from ui.web.api import event_files


def write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    for one in options.relative(rows):
        file.write(f"{one.camera} {one.label} {one.start_s} {one.end_s}\n".encode())


def read(path: Path, label_from: str) -> GroundTruth:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    segments = [checked_segment(str(path), *line[:2], *map(float, line[2:])) for line in lines]
    return GroundTruth(tuple({one.file: None for one in segments}), tuple(segments))


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    FORMATS.add("toy", EventFormat("Toy", ".toy", "text/x-toy", write, read, is_relative=True))
    yield
    FORMATS.remove("toy")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with EventLog.create(tmp_path / "data") as log:
        log.write_updates([logged("wave", 1.5, 4.0), logged("run", 5.0, 6.0)])
    return tmp_path / "data"


def actionwatch(*arguments: object) -> str:
    done = invoke(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_added_format_is_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "events.TOY"
    rows = [one for one in ROWS if one["label"].isalpha()]
    assert export_file(rows, file, "toy") == 1  # an open event
    assert file.read_text() == "door wave 1.5 4.0\ndesk wave 5.0 6.0\n"
    assert [one.start_s for one in read_ground_truth(file).segments] == [1.5, 5.0]


def test_command_line_knows_an_added_format(tmp_path: Path, data: Path) -> None:
    assert any(line.startswith("toy ") for line in actionwatch("events", "formats").splitlines())
    truth = tmp_path / "truth.toy"
    truth.write_text(actionwatch("events", "export", "--data", data, "--format", "toy"))
    assert truth.read_text() == "door wave 1.5 4.0\ndoor run 5.0 6.0\n"
    report = actionwatch("evaluate-events", "--truth", truth, "--log", data)
    assert [line.split()[3] for line in report.splitlines()[1:4]] == ["1.00"] * 3


def test_api_knows_an_added_format(data: Path) -> None:
    api = FastAPI()
    with EventLog.open(data) as log:
        api.include_router(event_files.export_router(log))
        with TestClient(api) as client:
            choices = client.get("/api/events/formats").json()
            assert {"name": "toy", "title": "Toy"} in choices
            operation = client.get("/openapi.json").json()["paths"]["/api/events/export"]["get"]
            (schema,) = [
                one["schema"] for one in operation["parameters"] if one["name"] == "format"
            ]
            assert set(schema["enum"]) == {one["name"] for one in choices} == set(FORMATS)
            response = client.get(
                "/api/events/export", params={"format": "toy", "time_base": "media"}
            )
    assert response.text == "door wave 1.5 4.0\ndoor run 5.0 6.0\n"
    assert response.headers["Content-Disposition"].endswith('"actionwatch-events.toy"')
    assert response.headers["Content-Type"].startswith("text/x-toy")
