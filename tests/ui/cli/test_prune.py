"""`actionwatch events prune`, through the command line."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stream.messages import EventMedia
from stream.sinks.event_log.event_log import EventLog
from tests.cli import invoke
from tests.event_samples import logged


def run_prune(*arguments: object) -> tuple[int, str]:
    """Exit code and output."""
    result = invoke("events", "prune", *arguments)
    return result.exit_code, result.output


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with events of two years ago and of yesterday, each with a clip."""
    folder = tmp_path / "data"
    now = datetime.now(timezone.utc)
    with EventLog.create(folder) as log:
        (folder / "clips").mkdir()
        for number, days_ago in ((1, 730), (2, 1)):
            one = logged("wave", 1.0, 2.0, start_utc=now - timedelta(days=days_ago))
            name = f"{number:032x}"
            one = replace(one, event=replace(one.event, id=name))
            log.write_updates([one, EventMedia(name, f"{name}.mp4", "")])
            (folder / "clips" / f"{name}.mp4").write_bytes(bytes(2_000_000))
    return folder


def labels(data: Path) -> list[tuple[str, str]]:
    with EventLog.open(data) as log:
        return [(row["id"][-1], row["clip"][-5:]) for row in log.rows()]


def test_dry_run_lists_files_and_removes_nothing(data: Path) -> None:
    code, output = run_prune("--data", data, "--dry-run")
    assert code == 0
    old = data / "clips" / f"{1:032x}.mp4"
    assert output.splitlines() == [
        str(old),
        "would remove 0 events, 1 clips (2.0 MB), 0 snapshots (0.0 MB), 0 score files (0.0 MB)",
    ]
    assert old.exists()
    assert labels(data) == [("1", "1.mp4"), ("2", "2.mp4")]


def test_prune_reports_what_it_removed(data: Path) -> None:
    code, output = run_prune("--data", data)
    assert code == 0
    assert output.startswith("removed 0 events, 1 clips (2.0 MB)")
    assert labels(data) == [("1", ""), ("2", "2.mp4")]
    assert [file.name[-5:] for file in (data / "clips").iterdir()] == ["2.mp4"]


def test_retention_of_the_configuration_is_used(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("retention: {events: 365d}\n")
    code, output = run_prune("--data", data, "--config", config)
    assert (code, output[:17]) == (0, "removed 1 events,")
    assert labels(data) == [("2", "2.mp4")]


def test_prune_works_while_a_run_writes(data: Path) -> None:
    with EventLog.create(data) as log:
        assert run_prune("--data", data)[0] == 0
        log.write_updates([logged("run", 5.0, 6.0)])
    assert len(labels(data)) == 3


def test_errors_are_one_line(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("retention: {events: soon}\n")
    for arguments, words in (
        (("--data", tmp_path / "none"), "no event log in"),
        (("--data", data, "--config", config), "retention.events"),
    ):
        code, output = run_prune(*arguments)
        assert code == 2
        assert words in output
        assert len(output.splitlines()) == 1
