"""Training samples: short videos of a label, recorded from a camera or copied from video files.

They are FOLDER/LABEL/NAME.mp4. If a label is no valid folder name, FOLDER/clips.csv maps the file
to the label. Files are written atomically.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Event as StopEvent

import cv2
import numpy as np

from stream.capture.frame_quality import FrameQualityCheck
from stream.datasets.export import LIST, label_dirname
from stream.messages import FrameTime
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import PART, replacing, write_atomically
from stream.sinks.clips.mp4 import ClipFile
from stream.sources.base import Source, SourceError
from stream.sources.video_file import open_video

_MAX_WIDTH = 640  # pixels; models use less
_JPEG_QUALITY = 95
_MAX_RETRIES = 3  # of one sample
_RECORDED = re.compile(r"sample-(\d+)\.mp4")
_COMPARE_SIZE = (48, 36)  # frames are compared at this size, nearest neighbor


class SampleError(UserError):
    """Samples can't be recorded or stored. The message is one line for the user."""


class RecordingListener:
    """Receives the progress of a recording. Samples are numbered from 1."""

    def on_countdown(self, sample: int, left_s: float) -> None:
        """Called for each frame before the sample."""

    def on_recording(self, sample: int) -> None:
        """The sample starts now."""

    def on_rejected(self, sample: int, reason: str) -> None:
        """The sample is recorded again."""

    def on_saved(self, sample: int) -> None:
        """The sample is stored."""


def count_samples(samples_dir: Path, label: str) -> int:
    """The number of samples of a label."""
    folder = samples_dir / label_dirname(label)
    files = folder.iterdir() if folder.is_dir() else ()
    return sum(file.suffix != PART and not file.name.startswith(".") for file in files)


def record_samples(
    source: Source,
    samples_dir: Path,
    label: str,
    count: int,
    *,
    duration_s: float,
    countdown_s: float,
    stop: StopEvent,
    listener: RecordingListener | None = None,
) -> int:
    """Record samples of a label from a camera, with a countdown before each.

    Times are on the source's clock. A black or static sample is recorded again. Returns the number
    of saved samples, less than `count` only if `stop` was set. Raises SourceError if the source
    fails or ends, SampleError if a sample is rejected several times or the folder can't be written;
    saved samples stay.
    """
    listener = listener or RecordingListener()
    folder = _folder(samples_dir, label)
    frame_times = _frame_times(source, stop)
    for sample in range(1, count + 1):
        for _ in range(1 + _MAX_RETRIES):
            _countdown(frame_times, countdown_s, partial(listener.on_countdown, sample))
            if stop.is_set():
                return sample - 1
            listener.on_recording(sample)
            file = _next_file(folder)
            with _writing(folder):
                fault = _record_one(source, frame_times, file, duration_s, stop)
            if stop.is_set():
                return sample - 1
            if not fault:
                break
            listener.on_rejected(sample, fault)
        else:
            raise SampleError(
                f"sample {sample} was rejected {1 + _MAX_RETRIES} times ({fault}); check the camera"
            )
        _add_to_list(samples_dir, file, label)
        listener.on_saved(sample)
    return count


def add_videos(samples_dir: Path, label: str, videos: Iterable[Path]) -> tuple[int, list[str]]:
    """Copy video files of a label, except those that were copied before.

    Returns the number of new samples, and a line for each unusable file. Raises SampleError.
    """
    folder = _folder(samples_dir, label)
    new, problems = 0, []
    for video in videos:
        try:
            _check(video)
        except SourceError as error:
            problems.append(str(error))
            continue
        with _writing(folder):
            file = _unused_path(folder, video)
            if file is None:
                continue
            with replacing(file) as part:
                shutil.copyfile(video, part)
        _add_to_list(samples_dir, file, label)
        new += 1
    return new, problems


def _folder(samples_dir: Path, label: str) -> Path:
    """Create the folder of a label's samples, and delete unfinished files in it."""
    folder = samples_dir / label_dirname(label)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(f"*{PART}"):
            unfinished.unlink()
    return folder


def _frame_times(source: Source, stop: StopEvent) -> Iterator[FrameTime]:
    """Grab frames until `stop` is set. Raises SourceError if the source ends first."""
    while (frame_time := source.grab(stop)) is not None:
        yield frame_time
    if not stop.is_set():
        raise SourceError("the source has ended; samples are recorded from cameras")


def _countdown(
    frame_times: Iterator[FrameTime], countdown_s: float, on_countdown: Callable[[float], None]
) -> None:
    """Keeps grabbing frames, so that no old ones queue up in the camera's connection."""
    until_s: float | None = None
    for frame_time in frame_times:
        if until_s is None:
            until_s = frame_time.time_s + countdown_s
        if frame_time.time_s >= until_s:
            return
        on_countdown(until_s - frame_time.time_s)


def _record_one(
    source: Source,
    frame_times: Iterator[FrameTime],
    file: Path,
    duration_s: float,
    stop: StopEvent,
) -> str:
    """Record a sample. Returns its fault; with a fault, or after a stop, no file is written."""
    start_s: float | None = None
    quality = _SampleQuality()
    with contextlib.ExitStack() as stack:
        clip = ClipFile(file, _MAX_WIDTH)
        stack.callback(clip.discard)
        for frame_time in frame_times:
            pixels = source.retrieve()
            if pixels is None:  # damaged
                continue
            start_s = frame_time.time_s if start_s is None else start_s
            quality.update(pixels, frame_time.time_s)
            clip.add(_jpeg(pixels), frame_time.time_s)
            if frame_time.time_s - start_s >= duration_s:
                break
        if stop.is_set() or quality.fault:
            return quality.fault
        clip.finish()
        stack.pop_all()
    return ""


class _SampleQuality:
    """Checks that the frames of one sample are neither black nor static."""

    def __init__(self) -> None:
        self._check = FrameQualityCheck()
        self._first: np.ndarray | None = None
        self._changes = False

    def update(self, pixels: np.ndarray, time_s: float) -> None:
        self._check.update(pixels, time_s)
        small = cv2.resize(pixels, _COMPARE_SIZE, interpolation=cv2.INTER_NEAREST)
        if self._first is None:
            self._first = small
        # Exact equality: camera noise changes the pixels even of a static scene.
        self._changes = self._changes or not np.array_equal(small, self._first)

    @property
    def fault(self) -> str:
        return self._check.fault or ("" if self._changes else "the image does not change")


def _jpeg(pixels: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    return jpeg.tobytes()


def _next_file(folder: Path) -> Path:
    matches = (_RECORDED.fullmatch(file.name) for file in folder.iterdir())
    numbers = (int(match[1]) for match in matches if match)
    return folder / f"sample-{max(numbers, default=0) + 1:03}.mp4"


def _unused_path(folder: Path, video: Path) -> Path | None:
    """A path for a copy of a video; None if the folder has the video already."""
    with contextlib.suppress(OSError):
        if video.resolve().parent == folder.resolve():
            return None
    names = {file.name: file for file in folder.iterdir()}
    if any(filecmp.cmp(file, video, shallow=False) for file in names.values() if file.is_file()):
        return None
    name, number = video.name.lstrip("."), 1  # a leading dot would hide it
    while name in names:
        number += 1
        name = f"{video.stem.lstrip('.')}-{number}{video.suffix}"
    return folder / name


def _check(video: Path) -> None:
    """Raise SourceError if no frame can be decoded."""
    with contextlib.closing(open_video(str(video))) as reader:
        reader.advance()


def _add_to_list(samples_dir: Path, sample: Path, label: str) -> None:
    """Add a sample to the list, if its folder's name differs from the label."""
    if sample.parent.name == label:
        return
    file = samples_dir / LIST
    with _writing(samples_dir):
        try:
            text = file.read_text(encoding="utf-8-sig") if file.exists() else "path,label\n"
        except UnicodeDecodeError:
            text = ""
        columns = next(csv.reader(io.StringIO(text)), [])
        if not {"path", "label"} <= set(columns):
            raise SampleError(f"{file} must have the columns path,label; fix it, or remove it")
        row = io.StringIO()
        writer = csv.DictWriter(row, columns, lineterminator="\n")
        writer.writerow({"path": f"{sample.parent.name}/{sample.name}", "label": label})
        write_atomically(file, text.rstrip("\n") + "\n" + row.getvalue())


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = error.filename or folder
        raise SampleError(
            f"{path} can't be written ({reason_of(error)}); free some disk space, or use "
            "another folder"
        ) from error
