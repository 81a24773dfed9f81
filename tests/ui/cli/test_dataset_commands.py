"""`actionwatch events export-dataset`, through the command line."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result

from stream.messages import Event, EventMedia, LoggedEvent, Review
from stream.sinks.clips.mp4 import ClipFile
from stream.sinks.event_log.event_log import EventLog
from tests.cli import invoke

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def write_video(file: Path) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
    clip = ClipFile(file, 64)
    for number in range(10):
        clip.add(jpeg.tobytes(), number / 5)
    clip.finish()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log with four "wave" events: confirmed, corrected to "hop", rejected, not reviewed."""
    folder = tmp_path / "data"
    (folder / "clips").mkdir(parents=True)
    verdicts = (("confirmed", ""), ("corrected", "hop"), ("rejected", ""), ("", ""))
    with EventLog.create(folder) as log:
        for number, (verdict, corrected) in enumerate(verdicts):
            name = f"{number:032x}"
            event = Event(name, "door", "wave", 1.0, 2.0, 2.0, 1.5, 0.9, 1.5, 0.8)
            start_utc = NOON + timedelta(hours=number)
            write_video(folder / "clips" / f"{name}.mp4")
            recorded = EventMedia(name, f"{name}.mp4", "", "", 0.5)
            log.write_updates([LoggedEvent(event, "end", start_utc, "motion"), recorded])
            log.review(name, Review(verdict, corrected), NOON)
    return folder


def export_dataset(data: Path, out: Path, *more: object) -> Result:
    arguments = ["events", "export-dataset", "--data", data, "--out", out, *more]
    return invoke(*arguments)


def exported_labels(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out).parent) for path in out.rglob("*.mp4"))


def test_reviewed_events_are_exported(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export_dataset(data, out)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        f"2 clips of 2 labels in {out}, 2 of them new; skipped: 1 not reviewed, 1 rejected\n"
    )
    assert exported_labels(out) == ["hop", "wave"]
    assert (out / "clips.csv").read_text().splitlines() == [
        "path,label,start,end,camera,event,source",
        f"hop/{1:032x}.mp4,hop,0.500,1.500,door,{1:032x},door 2026-05-01T13",
        f"wave/{0:032x}.mp4,wave,0.500,1.500,door,{0:032x},door 2026-05-01T12",
    ]


def test_options_add_rejected_and_unreviewed_events_or_limit_the_time(
    data: Path, tmp_path: Path
) -> None:
    done = export_dataset(data, tmp_path / "all", "--negative-label", "other", "--unreviewed")
    assert done.stdout.startswith("4 clips of 3 labels in ")
    assert exported_labels(tmp_path / "all") == ["hop", "other", "wave", "wave"]
    times = ("--since", "2026-05-01T12:30", "--until", "2026-05-01T13:30")
    done = export_dataset(data, tmp_path / "some", *times)
    assert done.stdout == f"1 clip of 1 label in {tmp_path / 'some'}, 1 of them new\n"
    again = export_dataset(data, tmp_path / "some")
    assert again.stdout.startswith("2 clips of 2 labels in ")


def test_errors_are_one_line_and_write_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    late = ("--since", "2026-05-01T13:30")
    for out, more, message in (
        (tmp_path / "out", ("--negative-label", " "), "must be a label, such as 'other'"),
        (tmp_path / "out", late, "no events to export; skipped: 1 not reviewed, 1 rejected"),
        (data, (), "must be a separate folder"),
        (data / "clips", (), "must be a separate folder"),
        (tmp_path / "file", (), "must be a separate folder"),
    ):
        done = export_dataset(data, out, *more)
        assert (done.exit_code, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert export_dataset(tmp_path / "none", tmp_path / "out").stderr.startswith(
        "actionwatch: no event log in "
    )
