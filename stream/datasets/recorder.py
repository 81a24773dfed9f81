"""Takes of what is to be taught: recorded from a camera, or copied from films.

They lie in FOLDER/LABEL/NAME.mp4. Where a label is no name for a folder, FOLDER/clips.csv says what
the label is. A file is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event as StopEvent

import cv2
import numpy as np

from stream.capture.frame_quality import PictureCheck
from stream.datasets.export import LIST
from stream.datasets.labels import class_folder
from stream.messages import Moment
from stream.sinks.clips.mp4 import PART, ClipFile, settle, write_whole
from stream.sources.base import Source
from stream.sources.opencv_capture import SourceError
from stream.sources.video_file import open_recording

_WIDEST = 640  # pixels; models see less
_QUALITY = 95
_MOST_REFUSED = 3  # one after another
_OURS = re.compile(r"take-(\d+)\.mp4")
_SIZE = (48, 36)  # at which pictures are compared: each value is that of one pixel


class TakesError(Exception):
    """Takes that can't be recorded or kept. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a recording tells how it goes. Takes are numbered from 1."""

    pausing: Callable[[int, float], None] = lambda take, left_s: None  # at each picture
    recording: Callable[[int], None] = lambda take: None
    refused: Callable[[int, str], None] = lambda take, why: None  # it is recorded again
    kept: Callable[[int], None] = lambda take: None


def count_takes(takes: Path, label: str) -> int:
    """How many takes of a label there are."""
    folder = takes / class_folder(label)
    found = folder.iterdir() if folder.is_dir() else ()
    return sum(file.suffix != PART and not file.name.startswith(".") for file in found)


def record(
    source: Source,
    takes: Path,
    label: str,
    count: int,
    *,
    seconds: float,
    pause_s: float,
    stop: StopEvent,
    told: Told | None = None,
) -> int:
    """Record so many takes of a label from a camera, with a pause before each.

    Time goes by the source's own clock. A take that shows nothing is recorded again. Returns how
    many were kept, less than `count` only where `stop` was set. What was kept stays in any case.
    Raises SourceError where the source breaks off or ends, TakesError where it shows nothing
    several times, or the folder takes no more.
    """
    told = told or Told()
    folder = _folder(takes, label)
    moments = _moments(source, stop)
    for take in range(1, count + 1):
        for _ in range(1 + _MOST_REFUSED):
            _pause(moments, pause_s, partial(told.pausing, take))
            if stop.is_set():
                return take - 1
            told.recording(take)
            file = _next_file(folder)
            with _writing(folder):
                fault = _record_one(source, moments, file, seconds, stop)
            if stop.is_set():
                return take - 1
            if not fault:
                break
            told.refused(take, fault)
        else:
            raise TakesError(
                f"take {take} was refused again and again ({fault}); see to the camera"
            )
        _list(takes, file, label)
        told.kept(take)
    return count


def add_films(takes: Path, label: str, films: Iterable[Path]) -> tuple[int, list[str]]:
    """Copy films that show a label, but for those that are there already.

    Returns how many are new, and a line for each that can't be a take. Raises TakesError.
    """
    folder = _folder(takes, label)
    new, problems = 0, []
    for film in films:
        try:
            _check(film)
        except SourceError as error:
            problems.append(str(error))
            continue
        with _writing(folder):
            file = _free_name(folder, film)
            if file is None:
                continue
            part = file.with_name(file.name + PART)
            try:
                shutil.copyfile(film, part)
                settle(part, file)
            finally:
                part.unlink(missing_ok=True)
        _list(takes, file, label)
        new += 1
    return new, problems


def _folder(takes: Path, label: str) -> Path:
    """The folder of a label's takes, made where there is none, without what a kill left in it."""
    folder = takes / class_folder(label)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"*{PART}"):
            left.unlink()
    return folder


def _moments(source: Source, stop: StopEvent) -> Iterator[Moment]:
    """Until `stop` is set. Raises SourceError where the source ends by itself."""
    while (moment := source.grab(stop)) is not None:
        yield moment
    if not stop.is_set():
        raise SourceError("the source has ended; takes are recorded from cameras")


def _pause(moments: Iterator[Moment], pause_s: float, tell: Callable[[float], None]) -> None:
    """Pictures are fetched all the while, or old ones would wait in the camera's line."""
    until_s: float | None = None
    for moment in moments:
        if until_s is None:
            until_s = moment.time_s + pause_s
        if moment.time_s >= until_s:
            return
        tell(until_s - moment.time_s)


def _record_one(
    source: Source, moments: Iterator[Moment], file: Path, seconds: float, stop: StopEvent
) -> str:
    """Record a take. Returns what is wrong with it; then, or when stopped, there is no file."""
    began_s: float | None = None
    looks = _Looks()
    with contextlib.ExitStack() as stack:
        clip = ClipFile(file, _WIDEST)
        stack.callback(clip.discard)
        for moment in moments:
            pixels = source.picture()
            if pixels is None:  # damaged
                continue
            began_s = moment.time_s if began_s is None else began_s
            looks.see(pixels, moment.time_s)
            clip.add(_jpeg(pixels), moment.time_s)
            if moment.time_s - began_s >= seconds:
                break
        if stop.is_set() or looks.fault:
            return looks.fault
        clip.finish()
        stack.pop_all()
    return ""


class _Looks:
    """Whether the pictures of one take show anything."""

    def __init__(self) -> None:
        self._check = PictureCheck()
        self._first: np.ndarray | None = None
        self._changes = False

    def see(self, pixels: np.ndarray, time_s: float) -> None:
        self._check.see(pixels, time_s)
        small = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_NEAREST)
        if self._first is None:
            self._first = small
        # Not a single value: cameras have noise, also where nothing moves.
        self._changes = self._changes or not np.array_equal(small, self._first)

    @property
    def fault(self) -> str:
        return self._check.fault or ("" if self._changes else "the picture does not change")


def _jpeg(pixels: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    return jpeg.tobytes()


def _next_file(folder: Path) -> Path:
    numbers = (int(found[1]) for file in folder.iterdir() if (found := _OURS.fullmatch(file.name)))
    return folder / f"take-{max(numbers, default=0) + 1:03}.mp4"


def _free_name(folder: Path, film: Path) -> Path | None:
    """A name for a copy of a film; None where it lies there already."""
    with contextlib.suppress(OSError):
        if film.resolve().parent == folder.resolve():
            return None
    names = {file.name: file for file in folder.iterdir()}
    if any(filecmp.cmp(file, film, shallow=False) for file in names.values() if file.is_file()):
        return None
    name, number = film.name.lstrip("."), 1  # with a dot it would be hidden
    while name in names:
        number += 1
        name = f"{film.stem.lstrip('.')}-{number}{film.suffix}"
    return folder / name


def _check(film: Path) -> None:
    """Raise SourceError for what can't be decoded at all."""
    with contextlib.closing(open_recording(str(film))) as recording:
        recording.advance()


def _list(takes: Path, take: Path, label: str) -> None:
    """Let the list say what a take shows, where its folder can't be called just so."""
    if take.parent.name == label:
        return
    file = takes / LIST
    with _writing(takes):
        try:
            text = file.read_text(encoding="utf-8-sig") if file.exists() else "path,label\n"
        except UnicodeDecodeError:
            text = ""
        columns = next(csv.reader(io.StringIO(text)), [])
        if not {"path", "label"} <= set(columns):
            raise TakesError(f"{file} must begin with path,label; mend it, or take it away")
        row = io.StringIO()
        writer = csv.DictWriter(row, columns, lineterminator="\n")
        writer.writerow({"path": f"{take.parent.name}/{take.name}", "label": label})
        write_whole((text.rstrip("\n") + "\n" + row.getvalue()).encode(), file)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise TakesError(
            f"{place} can't be written ({error.strerror or error}); make room, or go elsewhere"
        ) from error
