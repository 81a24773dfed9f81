from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import pytest

from stream.datasets import export as training_folder
from stream.datasets.export import Made, TrainingFolderError, add_to, choose
from stream.messages import Event, LoggedEvent, Recorded, Review
from stream.sinks.clips.mp4 import ClipFile
from stream.sinks.event_log.event_log import EventLog
from tests import burnt_clock

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Watched:
    """A log with events of 2 s whose clips show them from 1 s on, and a training folder."""

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
        lasts_s: float = 4.0,
        end_s: float | None = 12.0,
        opened: datetime = NOON,
    ) -> str:
        """Its id. It starts at 10 s."""
        name = f"{number:032x}"
        event = Event(name, camera, label, 10.0, 12.0, end_s, 11.0, 0.9, 11.0, 0.8)
        self.log.save([LoggedEvent(event, "end", opened, "motion")])
        if clip:
            self.film(self.clips / f"{name}.mp4", lasts_s)
            self.log.save([Recorded(name, f"{name}.mp4", "", "", clip_start_s)])
        self.review(name, verdict, corrected)
        return name

    def film(self, file: Path, lasts_s: float) -> None:
        clip = ClipFile(file, 64)
        for number in range(round(lasts_s * 5)):
            _, jpeg = cv2.imencode(".jpg", burnt_clock.draw(number / 5, width=64, height=48))
            clip.add(jpeg.tobytes(), number / 5)
        clip.finish()

    def review(self, name: str, verdict: str, corrected: str = "") -> None:
        self.log.review(name, Review(verdict, corrected), NOON)

    def make(self, *, rejected_as: str | None = None, unreviewed: bool = False) -> Made:
        chosen = choose(self.log.rows(), rejected_as=rejected_as, unreviewed=unreviewed)
        return add_to(self.out, chosen, self.clips)

    @property
    def lines(self) -> list[dict[str, str]]:
        with (self.out / "clips.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @property
    def files(self) -> list[str]:
        """By their names without the zeros in front."""
        found = (path for path in self.out.rglob("*") if path.is_file())
        paths = (path.relative_to(self.out) for path in found)
        return sorted(str(path.parent / path.name.lstrip("0")) for path in paths)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.log.close()


def test_events_that_go_on_over_the_hour_are_of_one_source(watched: Watched) -> None:
    for number, minutes in enumerate((30, 59.5, 60.2, 90)):
        watched.event(number, opened=NOON + timedelta(minutes=minutes))
    watched.event(9, camera="yard", opened=NOON + timedelta(minutes=60.1))
    watched.make()
    assert [line["source"] for line in watched.lines] == [
        *["door 2026-05-01T12"] * 3,  # what is in the same hour, and close to that
        "door 2026-05-01T13",
        "yard 2026-05-01T13",
    ]


def test_events_in_two_zones_of_a_camera_are_of_one_source(watched: Watched) -> None:
    watched.event(1, camera="door/porch")
    watched.event(2, camera="door/gate")
    watched.make()
    assert [line["source"] for line in watched.lines] == ["door 2026-05-01T12"] * 2


def test_a_folder_for_each_label_and_a_list_of_all(watched: Watched) -> None:
    watched.event(1, "wave")
    watched.event(2, "wave", "corrected", corrected="hop/skip")
    watched.event(3, "run", "rejected")
    watched.event(4, "run", "")
    watched.event(5, "run", clip=False)
    made = watched.make()
    assert (made.clips, made.labels, made.new, made.whole) == (2, 2, 2, 0)
    assert made.left_out == {"rejected": 1, "not reviewed": 1, "without a clip": 1}
    hop = training_folder.class_folder("hop/skip")
    assert watched.files == ["clips.csv", f"{hop}/2.mp4", "wave/1.mp4"]
    assert watched.lines == [
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
    copied, clip = watched.out / watched.lines[1]["path"], watched.clips / f"{1:032x}.mp4"
    assert copied.read_bytes() == clip.read_bytes()


def test_what_nobody_reviewed_and_what_was_rejected_can_be_wanted(watched: Watched) -> None:
    watched.event(1, "wave", "")
    watched.event(2, "wave", "rejected")
    watched.event(3, "wave", "", clip=False, end_s=None)
    assert watched.make(rejected_as="other", unreviewed=True).left_out == {"without a clip": 1}
    assert watched.files == ["clips.csv", "other/2.mp4", "wave/1.mp4"]


def test_times_are_those_of_the_clip_as_far_as_it_goes(watched: Watched) -> None:
    watched.event(1, clip_start_s=10.5)  # the camera had just begun
    watched.event(2, clip_start_s=9.0, lasts_s=2.0)  # cut, as the disk was nearly full
    watched.event(3, clip_start_s=None)  # recorded when nobody noted it
    watched.event(4, clip_start_s=20.0)
    made = watched.make()
    assert [(line["start"], line["end"]) for line in watched.lines] == [
        ("0.000", "1.500"),
        ("1.000", "2.000"),
        ("", ""),
    ]
    assert made.whole == 1
    assert made.left_out == {"that are not in their clip": 1}


def test_clips_that_are_gone_or_broken_are_counted(watched: Watched) -> None:
    (watched.clips / f"{watched.event(1)}.mp4").unlink()
    (watched.clips / f"{watched.event(2)}.mp4").write_bytes(b"no film")
    watched.event(3)
    assert watched.make().left_out == {"whose clip is gone": 1, "whose clip can't be read": 1}
    assert watched.files == ["clips.csv", "wave/3.mp4"]


def test_the_same_again_changes_nothing(watched: Watched) -> None:
    watched.event(1)
    watched.make()
    file = watched.out / watched.lines[0]["path"]
    before = (file.stat().st_ino, watched.lines)
    made = watched.make()
    assert (file.stat().st_ino, watched.lines) == before
    assert (made.clips, made.new) == (1, 0)


def test_an_event_moves_when_its_label_was_corrected_and_goes_when_it_was_rejected(
    watched: Watched,
) -> None:
    first, second = watched.event(1), watched.event(2, "run")
    watched.make()
    watched.review(first, "corrected", "hop")
    watched.review(second, "rejected")
    assert watched.make().clips == 1
    assert watched.files == ["clips.csv", "hop/1.mp4"]
    assert sorted(os.listdir(watched.out)) == ["clips.csv", "hop"]  # no empty folders
    assert [line["label"] for line in watched.lines] == ["hop"]


def test_a_copy_outlives_its_clip_and_can_still_be_corrected(watched: Watched) -> None:
    name = watched.event(1)
    watched.make()
    (watched.clips / f"{name}.mp4").unlink()
    watched.review(name, "corrected", "hop")
    assert watched.make().left_out == {}
    assert watched.files == ["clips.csv", "hop/1.mp4"]


def test_what_others_put_there_stays(watched: Watched) -> None:
    mine = watched.event(1)
    watched.out.mkdir()
    (watched.out / "wave").mkdir()
    (watched.out / "wave" / "holiday.mp4").write_bytes(b"sea")
    (watched.out / "notes.txt").write_text("mine")
    header = "path,label,start,end,camera,event\n"
    theirs = [
        "wave/holiday.mp4,wave,,,,",
        f"../data/clips/{1:032x}.mp4,wave,,,,{1:032x}",  # not a place of ours
        f"run/{9:032x}.mp4,run,1.0,2.0,yard,{9:032x}",  # of another log
    ]
    (watched.out / "clips.csv").write_text(header + "\n".join(theirs) + "\n")
    watched.make()
    watched.review(mine, "rejected")
    watched.make()
    assert watched.files == ["clips.csv", "notes.txt", "wave/holiday.mp4"]
    assert sorted(line["path"] for line in watched.lines) == sorted(
        line.split(",")[0] for line in theirs
    )
    assert (watched.clips / f"{1:032x}.mp4").exists()


def test_a_list_that_is_not_one_of_ours_is_left_alone(watched: Watched) -> None:
    watched.event(1)
    watched.out.mkdir()
    for text in ("path,label\na,b\n", "path,label,start,end,camera,event\na,b\n", "", "\ufeff"):
        (watched.out / "clips.csv").write_text(text)
        with pytest.raises(TrainingFolderError, match=r"clips\.csv is no list with the columns"):
            watched.make()
        assert (watched.out / "clips.csv").read_text() == text
        assert os.listdir(watched.out) == ["clips.csv"]


def test_what_fails_changes_nothing_and_leaves_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.event(1)
    watched.make()
    before = (watched.files, watched.lines)
    watched.event(2, "run")
    watched.event(3, "run")
    copies = iter([shutil.copy2])

    def full(source: Path, target: Path) -> None:
        for copy in copies:
            copy(source, target)
            return
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(training_folder.shutil, "copy2", full)
    with pytest.raises(TrainingFolderError, match="No space left on device; make room"):
        watched.make()
    assert (watched.files, watched.lines) == before
    assert sorted(os.listdir(watched.out)) == ["clips.csv", "wave"]


def test_what_a_killed_one_left_is_cleared_away(watched: Watched) -> None:
    watched.event(1)
    left = watched.out / ".clips-abc.part"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    watched.make()
    assert watched.files == ["clips.csv", "wave/1.mp4"]


def test_two_at_once_do_not_mix(watched: Watched) -> None:
    watched.event(1)
    watched.out.mkdir()
    with (
        training_folder._held(watched.out),
        pytest.raises(TrainingFolderError, match="another `events dataset`"),
    ):
        watched.make()
    watched.make()


def test_a_folder_that_cannot_be_written_is_named(watched: Watched) -> None:
    watched.event(1)
    watched.out.write_text("a file")
    with pytest.raises(TrainingFolderError, match="out can't be written: File exists"):
        watched.make()
