from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event as StopEvent

import numpy as np
import pytest

from stream.datasets.recorder import TakesError, Told, add_films, count_takes, record
from stream.messages import Moment
from stream.sources.base import open_source
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import picture_times


class Shown:
    """A camera that shows these pictures, ten a second, and then goes away."""

    finite = False

    def __init__(self, pictures: list[np.ndarray | None]) -> None:
        self._pictures = pictures
        self._number = -1

    def grab(self, stop: StopEvent) -> Moment | None:
        if stop.is_set():
            return None
        self._number += 1
        if self._number == len(self._pictures):
            raise SourceError("source 0 gives no more pictures")
        return Moment(self._number / 10, self._number / 10)

    def picture(self) -> np.ndarray | None:
        return self._pictures[self._number]

    def close(self) -> None:
        pass


def noise(count: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(count)]


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_takes_are_recorded_with_pauses_by_the_clock_of_the_camera(
    tmp_path: Path, clock, clock_stop
) -> None:
    told: list[str] = []
    camera = open_source("demo:3", now=clock)
    kept = record(
        camera,
        tmp_path,
        "move",
        2,
        seconds=1.0,
        pause_s=2.0,
        stop=clock_stop,
        told=Told(
            recording=lambda take: told.append(f"{clock() - 100:.1f} s: {take}"),
            kept=lambda take: told.append(f"{clock() - 100:.1f} s: kept {take}"),
        ),
    )
    assert kept == count_takes(tmp_path, "move") == 2
    assert files(tmp_path) == ["move/take-001.mp4", "move/take-002.mp4"]
    assert picture_times(tmp_path / "move" / "take-001.mp4")[-1] == pytest.approx(1.0, abs=0.05)
    assert told == ["2.0 s: 1", "3.0 s: kept 1", "5.1 s: 2", "6.1 s: kept 2"]
    record(camera, tmp_path, "move", 1, seconds=0.2, pause_s=0.0, stop=clock_stop)
    assert "move/take-003.mp4" in files(tmp_path)


def test_a_camera_that_goes_away_leaves_the_whole_takes(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gives no more pictures"):
        record(Shown(noise(25)), tmp_path, "move", 3, seconds=1.0, pause_s=0.1, stop=StopEvent())
    assert files(tmp_path) == ["move/take-001.mp4"]


def test_one_who_stops_leaves_the_whole_takes(tmp_path: Path) -> None:
    stop = StopEvent()

    def stop_in_the_second(take: int) -> None:
        if take == 2:
            stop.set()

    told = Told(recording=stop_in_the_second)
    kept = record(
        Shown(noise(99)), tmp_path, "a/b", 3, seconds=1.0, pause_s=0.1, stop=stop, told=told
    )
    assert kept == 1
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert files(folder) == ["take-001.mp4"]
    # The folder can't be called so: the list says what it shows.
    assert (tmp_path / "clips.csv").read_text() == f"path,label\n{folder.name}/take-001.mp4,a/b\n"


def test_what_shows_nothing_is_recorded_again_and_then_given_up(tmp_path: Path) -> None:
    refused: list[str] = []
    told = Told(refused=lambda take, why: refused.append(f"{take}: {why}"))
    grey: list[np.ndarray | None] = [np.full((48, 64, 3), 90, np.uint8)] * 6
    dark: list[np.ndarray | None] = [np.zeros((48, 64, 3), np.uint8)] * 6
    camera = Shown([*grey, None, *dark, *noise(20)])
    assert (
        record(camera, tmp_path, "move", 1, seconds=0.4, pause_s=0.0, stop=StopEvent(), told=told)
        == 1
    )
    assert refused == ["1: the picture does not change", "1: black picture"]
    with pytest.raises(TakesError, match=r"refused again and again .the picture does not"):
        record(Shown(grey * 9), tmp_path, "move", 1, seconds=0.4, pause_s=0.0, stop=StopEvent())
    assert files(tmp_path) == ["move/take-001.mp4"]


def test_films_are_copied_once_each(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    takes = tmp_path / "takes"
    (takes / "run").mkdir(parents=True)
    (takes / "run" / "a.mp4.part").write_bytes(b"half, of a killed one")
    first = write_video(noise(5), name="a.mp4")
    (tmp_path / "none.mp4").write_bytes(b"no film")
    new, problems = add_films(takes, "run", [first, tmp_path / "none.mp4"])
    assert new == 1
    assert len(problems) == 1
    assert "none.mp4: not a video" in problems[0]
    assert add_films(takes, "run", [first, takes / "run" / "a.mp4"]) == (0, [])
    second = write_video(noise(7), name="a.mp4")
    assert add_films(takes, "run", [second]) == (1, [])
    assert files(takes) == ["run/a-2.mp4", "run/a.mp4"]


def test_a_list_of_somebody_else_stays_and_keeps_its_columns(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    film = write_video(noise(5))
    takes = tmp_path / "takes"
    takes.mkdir()
    (takes / "clips.csv").write_text("label,path,source\nrun,run/x.mp4,hall")
    add_films(takes, "a/b", [film])
    first, second, third = (takes / "clips.csv").read_text().splitlines()
    assert (first, second) == ("label,path,source", "run,run/x.mp4,hall")
    assert third.startswith("a/b,a_b-")
    (takes / "clips.csv").write_text("holidays")
    with pytest.raises(TakesError, match=r"clips\.csv must begin with path,label; mend it"):
        add_films(takes, "c/d", [film])


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    (tmp_path / "takes").write_text("a file")
    with pytest.raises(TakesError, match=r"takes.* can't be written"):
        add_films(tmp_path / "takes", "run", [write_video(noise(5))])
