from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import pytest

from stream.datasets import export
from stream.datasets.export import DatasetExportError, ExportResult, export_dataset, select
from stream.messages import Event, EventMedia, LoggedEvent, Review
from stream.sinks.clips.mp4 import ClipFile
from stream.sinks.event_log.event_log import EventLog
from tests import burnt_clock

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Exporter:
    """A log of 2 s events, each 1 s after the start of its clip, and a training folder."""

    def __init__(self, folder: Path) -> None:
        self.clips, self.out = folder / "data" / "clips", folder / "out"
        self.log = EventLog.create(folder / "data")
        self.clips.mkdir()

    def event(
        self,
        number: int,
        label: str = "wave",
        verdict: str = "confirmed",
        *,
        corrected: str = "",
        camera: str = "door",
        clip: bool = True,
        clip_start_s: float | None = 9.0,
        duration_s: float = 4.0,
        end_s: float | None = 12.0,
        start_utc: datetime = NOON,
    ) -> str:
        """Add an event that starts at 10 s. Returns its id."""
        name = f"{number:032x}"
        event = Event(name, camera, label, 10.0, 12.0, end_s, 11.0, 0.9, 11.0, 0.8)
        self.log.write_updates([LoggedEvent(event, "end", start_utc, "motion")])
        if clip:
            self.write_clip(self.clips / f"{name}.mp4", duration_s)
            self.log.write_updates([EventMedia(name, f"{name}.mp4", "", "", clip_start_s)])
        self.review(name, verdict, corrected)
        return name

    def write_clip(self, file: Path, duration_s: float) -> None:
        clip = ClipFile(file, 64)
        for number in range(round(duration_s * 5)):
            _, jpeg = cv2.imencode(".jpg", burnt_clock.draw(number / 5, width=64, height=48))
            clip.add(jpeg.tobytes(), number / 5)
        clip.finish()

    def review(self, name: str, verdict: str, corrected: str = "") -> None:
        self.log.review(name, Review(verdict, corrected), NOON)

    def export(
        self, *, negative_label: str | None = None, unreviewed: bool = False
    ) -> ExportResult:
        selection = select(self.log.rows(), negative_label=negative_label, unreviewed=unreviewed)
        return export_dataset(self.out, selection, self.clips)

    @property
    def listed(self) -> list[dict[str, str]]:
        with (self.out / "clips.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @property
    def files(self) -> list[str]:
        """The names of exported files, without leading zeros."""
        found = (path for path in self.out.rglob("*") if path.is_file())
        paths = (path.relative_to(self.out) for path in found)
        return sorted(str(path.parent / path.name.lstrip("0")) for path in paths)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    exporter = Exporter(tmp_path)
    yield exporter
    exporter.log.close()


def test_close_events_across_the_hour_have_one_source(exporter: Exporter) -> None:
    for number, minutes in enumerate((30, 59.5, 60.2, 90)):
        exporter.event(number, start_utc=NOON + timedelta(minutes=minutes))
    exporter.event(9, camera="yard", start_utc=NOON + timedelta(minutes=60.1))
    exporter.export()
    assert [row["source"] for row in exporter.listed] == [
        *["door 2026-05-01T12"] * 3,  # in the same hour, or close to such an event
        "door 2026-05-01T13",
        "yard 2026-05-01T13",
    ]


def test_zones_of_a_camera_have_one_source(exporter: Exporter) -> None:
    exporter.event(1, camera="door/porch")
    exporter.event(2, camera="door/gate")
    exporter.export()
    assert [row["source"] for row in exporter.listed] == ["door 2026-05-01T12"] * 2


def test_export_has_a_folder_per_label_and_a_list(exporter: Exporter) -> None:
    exporter.event(1, "wave")
    exporter.event(2, "wave", "corrected", corrected="hop/skip")
    exporter.event(3, "run", "rejected")
    exporter.event(4, "run", "")
    exporter.event(5, "run", clip=False)
    result = exporter.export()
    assert (result.clips, result.labels, result.new, result.untrimmed) == (2, 2, 2, 0)
    assert result.skipped == {"rejected": 1, "not reviewed": 1, "without a clip": 1}
    hop = export.label_dirname("hop/skip")
    assert exporter.files == ["clips.csv", f"{hop}/2.mp4", "wave/1.mp4"]
    assert exporter.listed == [
        {
            "path": f"{hop}/{2:032x}.mp4",
            "label": "hop/skip",
            "start": "1.000",
            "end": "3.000",
            "camera": "door",
            "event": f"{2:032x}",
            "source": "door 2026-05-01T12",
        },
        {
            "path": f"wave/{1:032x}.mp4",
            "label": "wave",
            "start": "1.000",
            "end": "3.000",
            "camera": "door",
            "event": f"{1:032x}",
            "source": "door 2026-05-01T12",
        },
    ]
    copied, clip = exporter.out / exporter.listed[1]["path"], exporter.clips / f"{1:032x}.mp4"
    assert copied.read_bytes() == clip.read_bytes()


def test_unreviewed_and_rejected_events_can_be_included(exporter: Exporter) -> None:
    exporter.event(1, "wave", "")
    exporter.event(2, "wave", "rejected")
    exporter.event(3, "wave", "", clip=False, end_s=None)
    assert exporter.export(negative_label="other", unreviewed=True).skipped == {"without a clip": 1}
    assert exporter.files == ["clips.csv", "other/2.mp4", "wave/1.mp4"]


def test_times_are_relative_to_the_clip_and_clamped_to_it(exporter: Exporter) -> None:
    exporter.event(1, clip_start_s=10.5)  # the camera had just started
    exporter.event(2, clip_start_s=9.0, duration_s=2.0)  # cut, as the disk was nearly full
    exporter.event(3, clip_start_s=None)  # unknown
    exporter.event(4, clip_start_s=20.0)
    result = exporter.export()
    assert [(row["start"], row["end"]) for row in exporter.listed] == [
        ("0.000", "1.500"),
        ("1.000", "2.000"),
        ("", ""),
    ]
    assert result.untrimmed == 1
    assert result.skipped == {"outside their clip": 1}


def test_missing_and_broken_clips_are_counted(exporter: Exporter) -> None:
    (exporter.clips / f"{exporter.event(1)}.mp4").unlink()
    (exporter.clips / f"{exporter.event(2)}.mp4").write_bytes(b"no video")
    exporter.event(3)
    assert exporter.export().skipped == {"whose clip is missing": 1, "whose clip can't be read": 1}
    assert exporter.files == ["clips.csv", "wave/3.mp4"]


def test_second_export_changes_nothing(exporter: Exporter) -> None:
    exporter.event(1)
    exporter.export()
    file = exporter.out / exporter.listed[0]["path"]
    before = (file.stat().st_ino, exporter.listed)
    result = exporter.export()
    assert (file.stat().st_ino, exporter.listed) == before
    assert (result.clips, result.new) == (1, 0)


def test_corrected_event_moves_and_rejected_event_is_removed(
    exporter: Exporter,
) -> None:
    first, second = exporter.event(1), exporter.event(2, "run")
    exporter.export()
    exporter.review(first, "corrected", "hop")
    exporter.review(second, "rejected")
    assert exporter.export().clips == 1
    assert exporter.files == ["clips.csv", "hop/1.mp4"]
    assert sorted(os.listdir(exporter.out)) == ["clips.csv", "hop"]  # no empty folders
    assert [row["label"] for row in exporter.listed] == ["hop"]


def test_exported_copy_outlives_its_clip_and_can_be_corrected(exporter: Exporter) -> None:
    name = exporter.event(1)
    exporter.export()
    (exporter.clips / f"{name}.mp4").unlink()
    exporter.review(name, "corrected", "hop")
    assert exporter.export().skipped == {}
    assert exporter.files == ["clips.csv", "hop/1.mp4"]


def test_foreign_files_and_rows_stay(exporter: Exporter) -> None:
    mine = exporter.event(1)
    exporter.out.mkdir()
    (exporter.out / "wave").mkdir()
    (exporter.out / "wave" / "holiday.mp4").write_bytes(b"sea")
    (exporter.out / "notes.txt").write_text("mine")
    header = "path,label,start,end,camera,event\n"
    foreign = [
        "wave/holiday.mp4,wave,,,,",
        f"../data/clips/{1:032x}.mp4,wave,,,,{1:032x}",  # not a path that we export
        f"run/{9:032x}.mp4,run,1.0,2.0,yard,{9:032x}",  # of another log
    ]
    (exporter.out / "clips.csv").write_text(header + "\n".join(foreign) + "\n")
    exporter.export()
    exporter.review(mine, "rejected")
    exporter.export()
    assert exporter.files == ["clips.csv", "notes.txt", "wave/holiday.mp4"]
    assert sorted(row["path"] for row in exporter.listed) == sorted(
        line.split(",")[0] for line in foreign
    )
    assert (exporter.clips / f"{1:032x}.mp4").exists()


def test_foreign_list_is_not_touched(exporter: Exporter) -> None:
    exporter.event(1)
    exporter.out.mkdir()
    for text in ("path,label\na,b\n", "path,label,start,end,camera,event\na,b\n", "", "\ufeff"):
        (exporter.out / "clips.csv").write_text(text)
        with pytest.raises(DatasetExportError, match=r"clips\.csv must be a list with the columns"):
            exporter.export()
        assert (exporter.out / "clips.csv").read_text() == text
        assert os.listdir(exporter.out) == ["clips.csv"]


def test_failed_export_changes_nothing(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter.event(1)
    exporter.export()
    before = (exporter.files, exporter.listed)
    exporter.event(2, "run")
    exporter.event(3, "run")
    copies = iter([shutil.copy2])

    def fail_when_full(source: Path, target: Path) -> None:
        for copy in copies:
            copy(source, target)
            return
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(export.shutil, "copy2", fail_when_full)
    with pytest.raises(DatasetExportError, match="No space left on device; free some disk space"):
        exporter.export()
    assert (exporter.files, exporter.listed) == before
    assert sorted(os.listdir(exporter.out)) == ["clips.csv", "wave"]


def test_files_of_a_killed_export_are_deleted(exporter: Exporter) -> None:
    exporter.event(1)
    stale = exporter.out / ".clips-abc.part"
    stale.mkdir(parents=True)
    (stale / "half").write_bytes(b"half")
    exporter.export()
    assert exporter.files == ["clips.csv", "wave/1.mp4"]


def test_concurrent_export_is_an_error(exporter: Exporter) -> None:
    exporter.event(1)
    exporter.out.mkdir()
    with (
        export._locked(exporter.out),
        pytest.raises(DatasetExportError, match="another export is writing"),
    ):
        exporter.export()
    exporter.export()


def test_unwritable_folder_is_named_in_the_error(exporter: Exporter) -> None:
    exporter.event(1)
    exporter.out.write_text("a file")
    with pytest.raises(DatasetExportError, match="out can't be written: File exists"):
        exporter.export()
