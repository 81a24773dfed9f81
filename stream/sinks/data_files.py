"""The clips, snapshots and score files of a data folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.messages import EventMedia
from stream.runtime.errors import reason_of
from stream.sinks.score_files import FOLDER as SCORES

_log = logging.getLogger(__name__)
# By column: the folder, and the names of files that this program wrote. Others are not touched.
KINDS = {
    "clip": ("clips", re.compile(r"[0-9a-f]{32}\.mp4")),
    "snapshot": ("snapshots", re.compile(r"[0-9a-f]{32}\.jpg")),
}


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file and its size."""

    kind: str  # a key of KINDS, or "scores"
    path: Path
    bytes: int
    modified_at: float  # seconds since 1970


def data_files(folder: Path) -> Iterator[DataFile]:
    """The clips, snapshots and score files of a data folder."""
    found = [("scores", path) for path in (folder / SCORES).rglob("*.scores")]
    for kind, (directory, pattern) in KINDS.items():
        paths = (folder / directory).glob("*")
        found += ((kind, path) for path in paths if pattern.fullmatch(path.name))
    for kind, path in sorted(found):
        try:
            status = path.lstat()
        except OSError:  # deleted in the meantime
            continue
        yield DataFile(kind, path, status.st_size, status.st_mtime)


def media_path(folder: Path, kind: str, name: str) -> Path:
    """The file with a name from the event log."""
    return folder / KINDS[kind][0] / name


def delete_media(folder: Path, media: EventMedia) -> None:
    """Delete the files of an event that was deleted before they were finished."""
    delete_files_of(folder, {"clip": media.clip, "snapshot": media.snapshot})


def delete_files_of(folder: Path, row: Mapping[str, Any]) -> None:
    """Delete the files that a row of the event log names, if this program wrote them."""
    for kind, (_, pattern) in KINDS.items():
        if pattern.fullmatch(row[kind]):
            delete_file(media_path(folder, kind, row[kind]))


def delete_file(path: Path) -> None:
    """Delete a file; a failure is logged."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s can't be deleted: %s", path, reason_of(error))
