"""Reviewed events as a training folder: a folder of clips for each label, and a list of them all.

That is DIR/LABEL/EVENT.mp4 and DIR/clips.csv. The folder may grow: each event has one clip there at
most, and what somebody else put there is left alone.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av

from stream.datasets.labels import class_folder
from stream.regions.clip_source import camera_of
from stream.runtime.files import THERE_ARE, take
from stream.sinks.clips.mp4 import settle
from stream.sinks.event_log.rows import moment

LIST = "clips.csv"
# Start and end are seconds in the clip; events of one source are seen as alike.
COLUMNS = ("path", "label", "start", "end", "camera", "event", "source")
BEFORE = COLUMNS[:-1]  # of lists of earlier versions
_PARTS = (".clips-", ".part")  # begin and end the name of the folder of what is not whole yet
_CLOSE = timedelta(minutes=1)
_ID = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"(?!\.)[^/\\]+/([0-9a-f]{32})\.mp4")  # a path in the list

Line = dict[str, str]  # of the list, by COLUMNS


class TrainingFolderError(Exception):
    """A folder that can't be read or written. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Example:
    """An event with a clip of which somebody says what it shows."""

    event: str
    camera: str
    source: str  # see `_sources`
    label: str
    start_s: float  # of the event, on the camera's clock
    end_s: float
    clip_start_s: float | None  # when the clip begins; None where nobody noted it


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a log is to be learnt from."""

    examples: tuple[Example, ...]
    left_out: Mapping[str, int]  # how many events, by the reason
    rejected: frozenset[str]  # those among them of which no clip may stay


@dataclass(frozen=True, slots=True)
class Made:
    """What a training folder holds now."""

    clips: int
    labels: int
    new: int  # clips of events that were not there
    whole: int  # clips of this log without start and end, for nobody noted when they begin
    left_out: Mapping[str, int]  # how many events, by the reason


def choose(
    rows: Iterable[Mapping[str, Any]], *, rejected_as: str | None = None, unreviewed: bool = False
) -> Chosen:
    """The events of a log that are examples of something.

    A confirmed event is one of its label, a corrected one of the label that a person gave. A
    rejected one is nothing, or with `rejected_as` an example of that. With `unreviewed`, those that
    nobody reviewed are examples of what the model said.
    """
    usable: list[tuple[Mapping[str, Any], str]] = []
    left_out: Counter[str] = Counter()
    rejected: set[str] = set()
    for row in rows:
        label = row["corrected"] or row["label"]
        if row["verdict"] == "rejected":
            if rejected_as is None:
                left_out["rejected"] += 1
                rejected.add(row["id"])
                continue
            label = rejected_as
        if not row["verdict"] and not unreviewed:
            left_out["not reviewed"] += 1
        elif (
            row["end"] is None or row["clip"] != f"{row['id']}.mp4" or not _ID.fullmatch(row["id"])
        ):
            left_out["without a clip"] += 1
        else:
            usable.append((row, label))
    sources = _sources(row for row, _ in usable)
    examples = (
        Example(
            *(row["id"], row["camera"], sources[row["id"]], label),
            *(row["start_s"], row["end_s"], row["clip_start_s"]),
        )
        for row, label in usable
    )
    return Chosen(tuple(examples), left_out, frozenset(rejected))


def _sources(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The source of each event: its camera in an hour (UTC), in which all looks alike.

    Events close to each other share pictures, in what their clips show before and after. So where
    they go on over the full hour they stay with the hour before.
    """
    found: dict[str, str] = {}
    latest: dict[str, tuple[datetime, str]] = {}  # of each camera when it ended, and its source
    for row in sorted(rows, key=lambda row: str(row["start"])):
        camera, began = camera_of(row["camera"]), moment(row["start"])
        ended, source = latest.get(camera, (began - 2 * _CLOSE, ""))
        if began - ended > _CLOSE:
            source = f"{camera} {row['start'][:13]}"
        latest[camera] = (max(ended, moment(row["end"])), source)
        found[row["id"]] = source
    return found


def add_to(folder: Path, chosen: Chosen, clips: Path) -> Made:
    """Bring what was chosen into a training folder, making it where there is none.

    `clips` is the folder of the log's clips. An event that is there already is replaced, under
    another label if that was corrected since, and goes if a person rejected it. Raises
    TrainingFolderError, having changed nothing, where that can't be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder), _parts(folder) as parts:
            return _add_to(folder, chosen, clips, parts)
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise TrainingFolderError(
            f"{place} can't be written: {error.strerror or error}; make room, or give another --out"
        ) from error


def _add_to(folder: Path, chosen: Chosen, clips: Path, parts: Path) -> Made:
    listed = _listed(folder / LIST)
    before = {line["event"]: line["path"] for line in listed if _is_ours(line)}
    left_out = Counter(chosen.left_out)
    fresh: dict[str, Line] = {}
    for one in chosen.examples:
        # The copy may outlive the clip, which is removed when it is old.
        places = [clips / f"{one.event}.mp4"]
        places += [folder / before[one.event]] if one.event in before else []
        source = next((place for place in places if place.is_file()), None)
        if source is None:
            left_out["whose clip is gone"] += 1
            continue
        path = f"{class_folder(one.label)}/{one.event}.mp4"
        line, why_not = _line(one, path, source)
        if line is None:
            left_out[why_not] += 1
            continue
        fresh[one.event] = line
        if not _is_copy(folder / path, source):
            shutil.copy2(source, parts / one.event)
    replaced = set(before) & (chosen.rejected | set(fresh))
    kept = [line for line in listed if not (_is_ours(line) and line["event"] in replaced)]
    lines = sorted([*kept, *fresh.values()], key=lambda line: line["path"])
    _write_list(parts / LIST, lines)
    # Until here nothing was changed; what follows takes no room.
    for line in fresh.values():
        (folder / line["path"]).parent.mkdir(exist_ok=True)
    for event, line in fresh.items():
        if (parts / event).exists():
            settle(parts / event, folder / line["path"])
    settle(parts / LIST, folder / LIST)
    for path in {before[event] for event in replaced} - {line["path"] for line in lines}:
        (folder / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not empty
            (folder / path).parent.rmdir()
    return Made(
        clips=len(lines),
        labels=len({line["label"] for line in lines}),
        new=len(set(fresh) - set(before)),
        whole=sum(not line["end"] for line in fresh.values()),
        left_out=left_out,
    )


def _line(one: Example, path: str, clip: Path) -> tuple[Line | None, str]:
    """What the list says of an example; or why there is nothing to say."""
    lasts_s = _duration(clip)
    if lasts_s is None:
        return None, "whose clip can't be read"
    start, end = "", ""
    if one.clip_start_s is not None:
        start_s = max(0.0, one.start_s - one.clip_start_s)
        end_s = min(lasts_s, one.end_s - one.clip_start_s)  # a long clip is cut
        if end_s <= start_s:
            return None, "that are not in their clip"
        start, end = f"{start_s:.3f}", f"{end_s:.3f}"
    cells = (path, one.label, start, end, one.camera, one.event, one.source)
    return dict(zip(COLUMNS, cells, strict=True)), ""


def _duration(clip: Path) -> float | None:
    """Seconds of a clip, None where it is none."""
    try:
        with av.open(str(clip.resolve())) as container:
            if container.streams.video and container.duration:
                return container.duration / av.time_base
    except (av.FFmpegError, OSError):
        pass
    return None


def _is_copy(file: Path, source: Path) -> bool:
    with contextlib.suppress(OSError):
        found, wanted = file.stat(), source.stat()
        return (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
    return False


def _is_ours(line: Line) -> bool:
    named = _OURS.fullmatch(line["path"])
    return named is not None and named[1] == line["event"]


def _listed(file: Path) -> list[Line]:
    """The list of a folder, which somebody may have added to. Raises TrainingFolderError."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header, *rows = csv.reader(text, strict=True)
            known = tuple(header) in (COLUMNS, BEFORE)
            if known and all(len(row) in (0, len(header)) for row in rows):
                return [
                    {"source": "", **dict(zip(header, row, strict=True))} for row in rows if row
                ]
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error):  # no text, no header
        pass
    raise TrainingFolderError(
        f"{file} is no list with the columns {','.join(COLUMNS)}; mend it, or give another --out"
    )


def _write_list(file: Path, lines: Iterable[Line]) -> None:
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """For us alone. The lock is one of the folder itself, so that no file is left in it."""
    if not THERE_ARE:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not take(descriptor):
            raise TrainingFolderError(
                f"{folder} is being written by another `events dataset`; wait for its end"
            )
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _parts(folder: Path) -> Iterator[Path]:
    """A folder for what is not whole yet, without what was left of one by a crash."""
    begin, end = _PARTS
    for left in folder.glob(f"{begin}*{end}"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=begin, suffix=end, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
