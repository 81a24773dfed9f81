"""`actionwatch events dataset`, as a person runs it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream.messages import Event, LoggedEvent, Recorded, Review
from stream.sinks.clips.mp4 import ClipFile
from stream.sinks.event_log.event_log import EventLog
from ui.cli.main import app

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def film(file: Path) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
    clip = ClipFile(file, 64)
    for number in range(10):
        clip.add(jpeg.tobytes(), number / 5)
    clip.finish()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A wave that was confirmed, one that was a hop, one that was nothing, and a new one."""
    folder = tmp_path / "data"
    (folder / "clips").mkdir(parents=True)
    verdicts = (("confirmed", ""), ("corrected", "hop"), ("rejected", ""), ("", ""))
    with EventLog.create(folder) as log:
        for number, (verdict, corrected) in enumerate(verdicts):
            name = f"{number:032x}"
            event = Event(name, "door", "wave", 1.0, 2.0, 2.0, 1.5, 0.9, 1.5, 0.8)
            began = NOON + timedelta(hours=number)
            film(folder / "clips" / f"{name}.mp4")
            recorded = Recorded(name, f"{name}.mp4", "", "", 0.5)
            log.save([LoggedEvent(event, "end", began, "motion"), recorded])
            log.review(name, Review(verdict, corrected), NOON)
    return folder


def dataset(data: Path, out: Path, *more: object) -> Result:
    arguments = ["events", "dataset", "--data", data, "--out", out, *more]
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="actionwatch")


def made(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out).parent) for path in out.rglob("*.mp4"))


def test_makes_a_training_folder_of_what_was_reviewed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = dataset(data, out)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        f"2 clips of 2 labels in {out}, 2 of them new; left out: 1 not reviewed, 1 rejected\n"
    )
    assert made(out) == ["hop", "wave"]
    assert (out / "clips.csv").read_text().splitlines() == [
        "path,label,start,end,camera,event,source",
        f"hop/{1:032x}.mp4,hop,0.500,1.500,door,{1:032x},door 2026-05-01T13",
        f"wave/{0:032x}.mp4,wave,0.500,1.500,door,{0:032x},door 2026-05-01T12",
    ]


def test_takes_more_where_that_is_wanted_and_less_by_time(data: Path, tmp_path: Path) -> None:
    done = dataset(data, tmp_path / "all", "--rejected-as", "other", "--unreviewed")
    assert done.stdout.startswith("4 clips of 3 labels in ")
    assert made(tmp_path / "all") == ["hop", "other", "wave", "wave"]
    times = ("--since", "2026-05-01T12:30", "--until", "2026-05-01T13:30")
    done = dataset(data, tmp_path / "some", *times)
    assert done.stdout == f"1 clip of 1 label in {tmp_path / 'some'}, 1 of them new\n"
    again = dataset(data, tmp_path / "some")
    assert again.stdout.startswith("2 clips of 2 labels in ")


def test_mistakes_are_told_in_one_line_and_make_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    late = ("--since", "2026-05-01T13:30")
    for out, more, told in (
        (tmp_path / "out", ("--rejected-as", " "), "must be a label, such as 'other'"),
        (tmp_path / "out", late, "no event to learn from; left out: 1 not reviewed, 1 rejected"),
        (data, (), "must be a folder of its own"),
        (data / "clips", (), "must be a folder of its own"),
        (tmp_path / "file", (), "must be a folder of its own"),
    ):
        done = dataset(data, out, *more)
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert dataset(tmp_path / "none", tmp_path / "out").stderr.startswith(
        "actionwatch: no event log in "
    )
