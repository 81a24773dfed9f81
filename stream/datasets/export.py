"""Exports reviewed events as a training folder: DIR/LABEL/EVENT.mp4 and the list DIR/clips.csv.

Further exports extend the folder. It holds at most one clip of each event, and files of other
origin stay untouched.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import re
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av

from stream.regions.clip_source import camera_of
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import locked, sync_and_rename
from stream.sinks.event_log.rows import moment

LIST = "clips.csv"
# start and end are seconds in the clip; events of one source count as similar, see `_sources`.
COLUMNS = ("path", "label", "start", "end", "camera", "event", "source")
OLD_COLUMNS = COLUMNS[:-1]  # of lists that an earlier version wrote
_STAGING_PREFIX, _STAGING_SUFFIX = ".clips-", ".part"  # of the folder for unfinished files
_MAX_SHARED_GAP = timedelta(minutes=1)  # clips of closer events may share frames
_ID = re.compile(r"[0-9a-f]{32}")
_EXPORTED = re.compile(r"(?!\.)[^/\\]+/([0-9a-f]{32})\.mp4")  # our paths in the list
# Characters that some file system does not allow in a name.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029]')
# Device names of Windows, and the list that lies beside the folders.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.csv", re.IGNORECASE)
_MAX_BYTES = 200  # with the hash after it, below the 255 bytes of common file systems

Row = dict[str, str]  # of the list, by COLUMNS


class DatasetExportError(UserError):
    """The training folder can't be read or written. The message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Example:
    """An event with a clip and a reviewed label."""

    event: str
    camera: str
    source: str  # see `_sources`
    label: str
    start_s: float  # of the event, on the camera's clock
    end_s: float
    clip_start_s: float | None  # on the same clock; None if unknown


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of a log to export."""

    examples: tuple[Example, ...]
    skipped: Mapping[str, int]  # number of events, by reason
    rejected: frozenset[str]  # ids of skipped events whose earlier clips must be removed


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The content of a training folder after an export."""

    clips: int
    labels: int
    new: int  # clips of events that were not in the folder
    untrimmed: int  # clips of this log without start and end, as their `clip_start_s` is unknown
    skipped: Mapping[str, int]  # number of events, by reason


def select(
    rows: Iterable[Mapping[str, Any]],
    *,
    negative_label: str | None = None,
    unreviewed: bool = False,
) -> Selection:
    """Select the events of a log that are usable as training examples.

    A confirmed event has the model's label, a corrected event the reviewer's. A rejected event is
    skipped, or gets the label `negative_label`. With `unreviewed`, unreviewed events are selected
    too, with the model's label.
    """
    usable: list[tuple[Mapping[str, Any], str]] = []
    skipped: Counter[str] = Counter()
    rejected: set[str] = set()
    for row in rows:
        label = row["corrected"] or row["label"]
        if row["verdict"] == "rejected":
            if negative_label is None:
                skipped["rejected"] += 1
                rejected.add(row["id"])
                continue
            label = negative_label
        if not row["verdict"] and not unreviewed:
            skipped["not reviewed"] += 1
        elif (
            row["end"] is None or row["clip"] != f"{row['id']}.mp4" or not _ID.fullmatch(row["id"])
        ):
            skipped["without a clip"] += 1
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
    return Selection(tuple(examples), skipped, frozenset(rejected))


def _sources(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The source of each event: its camera and hour (UTC), in which all clips look similar.

    The clips of events that are close in time share frames. So a sequence of close events that
    runs past the full hour stays in the hour of its start.
    """
    sources: dict[str, str] = {}
    latest: dict[str, tuple[datetime, str]] = {}  # by camera: end and source of its latest event
    for row in sorted(rows, key=lambda row: str(row["start"])):
        camera, start = camera_of(row["camera"]), moment(row["start"])
        latest_end, source = latest.get(camera, (start - 2 * _MAX_SHARED_GAP, ""))
        if start - latest_end > _MAX_SHARED_GAP:
            source = f"{camera} {row['start'][:13]}"
        latest[camera] = (max(latest_end, moment(row["end"])), source)
        sources[row["id"]] = source
    return sources


def export_dataset(folder: Path, selection: Selection, clips: Path) -> ExportResult:
    """Copy the selected clips to a training folder, which is created if it doesn't exist.

    `clips` is the folder of the log's clips. An event that is in the folder already is replaced,
    moves if its label was corrected, and is removed if it was rejected. On an error nothing
    changes: raises DatasetExportError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder), _staging(folder) as staging:
            return _export(folder, selection, clips, staging)
    except OSError as error:
        path = error.filename2 or error.filename or folder
        raise DatasetExportError(
            f"{path} can't be written: {reason_of(error)}; free some disk space, or give "
            "another --out"
        ) from error


def _export(folder: Path, selection: Selection, clips: Path, staging: Path) -> ExportResult:
    listed = _read_list(folder / LIST)
    before = {row["event"]: row["path"] for row in listed if _is_exported(row)}
    skipped = Counter(selection.skipped)
    fresh: dict[str, Row] = {}
    for example in selection.examples:
        # The exported copy may outlive the clip in the log, which retention deletes.
        candidates = [clips / f"{example.event}.mp4"]
        candidates += [folder / before[example.event]] if example.event in before else []
        source = next((path for path in candidates if path.is_file()), None)
        if source is None:
            skipped["whose clip is missing"] += 1
            continue
        path = f"{label_dirname(example.label)}/{example.event}.mp4"
        row, reason = _row(example, path, source)
        if row is None:
            skipped[reason] += 1
            continue
        fresh[example.event] = row
        if not _is_copy(folder / path, source):
            shutil.copy2(source, staging / example.event)
    replaced = set(before) & (selection.rejected | set(fresh))
    unchanged = [row for row in listed if not (_is_exported(row) and row["event"] in replaced)]
    rows = sorted([*unchanged, *fresh.values()], key=lambda row: row["path"])
    _write_list(staging / LIST, rows)
    # The folder is unchanged until here; the remaining steps need no disk space.
    for row in fresh.values():
        (folder / row["path"]).parent.mkdir(exist_ok=True)
    for event, row in fresh.items():
        if (staging / event).exists():
            sync_and_rename(staging / event, folder / row["path"])
    sync_and_rename(staging / LIST, folder / LIST)
    for path in {before[event] for event in replaced} - {row["path"] for row in rows}:
        (folder / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the label's folder is not empty
            (folder / path).parent.rmdir()
    return ExportResult(
        clips=len(rows),
        labels=len({row["label"] for row in rows}),
        new=len(set(fresh) - set(before)),
        untrimmed=sum(not row["end"] for row in fresh.values()),
        skipped=skipped,
    )


def label_dirname(label: str) -> str:
    """The folder of a label in a training folder: the label itself if it is a valid name.

    Else it is a similar name with a hash after it, which keeps similar labels apart.
    """
    plain = unicodedata.normalize("NFC", label)
    valid = _FORBIDDEN.sub("_", plain).strip().rstrip(".")
    valid = valid.lstrip(".").encode()[:_MAX_BYTES].decode(errors="ignore")  # a dot would hide it
    if valid and valid == plain and not _RESERVED.fullmatch(valid):
        return valid
    digest = hashlib.blake2b(label.encode(), digest_size=4).hexdigest()
    return f"{valid or 'label'}-{digest}"


def _row(example: Example, path: str, clip: Path) -> tuple[Row | None, str]:
    """The row of an example in the list, or None and the reason why it is skipped."""
    duration_s = _duration(clip)
    if duration_s is None:
        return None, "whose clip can't be read"
    start, end = "", ""
    if example.clip_start_s is not None:
        start_s = max(0.0, example.start_s - example.clip_start_s)
        end_s = min(duration_s, example.end_s - example.clip_start_s)  # a long clip is cut
        if end_s <= start_s:
            return None, "outside their clip"
        start, end = f"{start_s:.3f}", f"{end_s:.3f}"
    cells = (path, example.label, start, end, example.camera, example.event, example.source)
    return dict(zip(COLUMNS, cells, strict=True)), ""


def _duration(clip: Path) -> float | None:
    """The duration of a clip in seconds, None if it is no video."""
    try:
        with av.open(str(clip.resolve())) as container:
            if container.streams.video and container.duration:
                return container.duration / av.time_base
    except (av.FFmpegError, OSError):
        pass
    return None


def _is_copy(file: Path, source: Path) -> bool:
    with contextlib.suppress(OSError):
        copy, original = file.stat(), source.stat()
        return (copy.st_size, copy.st_mtime_ns) == (original.st_size, original.st_mtime_ns)
    return False


def _is_exported(row: Row) -> bool:
    match = _EXPORTED.fullmatch(row["path"])
    return match is not None and match[1] == row["event"]


def _read_list(file: Path) -> list[Row]:
    """The list of a folder, to which users may have added rows. Raises DatasetExportError."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header, *rows = csv.reader(text, strict=True)
            is_known = tuple(header) in (COLUMNS, OLD_COLUMNS)
            if is_known and all(len(row) in (0, len(header)) for row in rows):
                return [
                    {"source": "", **dict(zip(header, row, strict=True))} for row in rows if row
                ]
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error):  # no UTF-8, or no header
        pass
    raise DatasetExportError(
        f"{file} must be a list with the columns {','.join(COLUMNS)}; fix it, or give another --out"
    )


def _write_list(file: Path, rows: Iterable[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """An exclusive lock on the folder itself, which leaves no lock file in it."""
    with locked(folder) as acquired:
        if not acquired:
            raise DatasetExportError(
                f"another export is writing to {folder}; wait until it has finished"
            )
        yield


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder for unfinished files. Deletes the one of a crashed export first."""
    for stale in folder.glob(f"{_STAGING_PREFIX}*{_STAGING_SUFFIX}"):
        shutil.rmtree(stale, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, suffix=_STAGING_SUFFIX, dir=folder))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
