"""Score files: the scores of every window, so that other thresholds can be tried on them later.

A file holds a header, one line of JSON, and then records of a fixed size. Any thread may read them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from stream.messages import ClipSpec, Prediction

_log = logging.getLogger(__name__)
FOLDER = "scores"
MAX_FILE_S = 3600.0  # a new file each hour, so that old ones can be deleted
_MAX_DENSE_LABELS = 32  # for a model with more labels, only the top _TOP_K are stored
_TOP_K = 10
_MAX_UTC = 4e9  # seconds before or after 1970; other times are corrupted
_HEADER_KEYS = {"run", "camera", "model", "labels", "background", "gap_s"}


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The scores that one run stored for one stream, in time order."""

    run: str
    camera: str  # or "camera/zone"
    model: str
    labels: tuple[str, ...]
    background: frozenset[str]
    gap_s: float  # open events are closed after so long without predictions
    files: tuple[Path, ...]

    def predictions(self) -> Iterator[tuple[Prediction | None, datetime]]:
        """Each prediction, with the UTC of the camera's time 0 when it was made.

        None marks a gap, where the run closed all events. Damaged records are skipped.
        """
        for file in self.files:
            _, records = read_records(file)
            for record in records:
                end_s, utc = float(record["end_s"]), float(record["utc"])
                start_utc = datetime.fromtimestamp(utc - end_s, timezone.utc)
                if math.isnan(record["length_s"]):
                    yield None, start_utc
                    continue
                prediction = Prediction(
                    camera=self.camera,
                    labels=self.labels,
                    probabilities=_unpack(record, len(self.labels)),
                    start_s=end_s - float(record["length_s"]),
                    end_s=end_s,
                    newest_at=0.0,
                    inference_s=0.0,
                )
                yield prediction, start_utc


def quantize(probabilities: np.ndarray) -> np.ndarray:
    """Round probabilities, (labels,), to what the log stores: float16, and the top labels only.

    The event processor uses these values too, so a replay with the same policy gives the same
    events.
    """
    stored = probabilities.astype(np.float16).astype(np.float32)
    if len(stored) > _MAX_DENSE_LABELS:
        stored[_order(probabilities)[_TOP_K:]] = 0.0
    return stored


def read_scores(folder: Path, *, since: datetime | None = None) -> list[StoredRun]:
    """The stored scores of a data folder, by run and stream.

    Files last written before `since` are skipped, and, with a warning, damaged files and those of
    a later version.
    """
    runs: dict[tuple[str, str], list[tuple[Path, dict[str, Any]]]] = {}
    for file in sorted((folder / FOLDER).rglob("*.scores"), key=lambda file: file.name):
        if since is not None and file.stat().st_mtime < since.timestamp():
            continue
        found = read_header(file)
        if found is None:
            _log.warning("%s holds no scores that this version can read", file)
            continue
        header, _ = found
        runs.setdefault((header["run"], header["camera"]), []).append((file, header))
    return [
        StoredRun(
            run=run,
            camera=camera,
            model=files[0][1]["model"],
            labels=tuple(files[0][1]["labels"]),
            background=frozenset(files[0][1]["background"]),
            gap_s=files[0][1]["gap_s"],
            files=tuple(file for file, _ in files),
        )
        for (run, camera), files in runs.items()
    ]


def read_header(file: Path) -> tuple[dict[str, Any], int] | None:
    """The header of a file and the offset of its first record; None for an unreadable header."""
    with file.open("rb") as content:
        line = content.readline()
    try:
        header = json.loads(line)
    except ValueError:
        return None
    if not isinstance(header, dict) or header.get("version") != 1:
        return None
    return (header, len(line)) if header.keys() >= _HEADER_KEYS else None


def read_records(file: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The header and the records of a file, see `record_dtype`, without damaged ones.

    Without a readable header there are no records. Raises OSError.
    """
    found = read_header(file)
    if found is None:
        return {}, np.empty(0)
    header, offset = found
    labels = len(header["labels"])
    dtype, data = record_dtype(labels), file.read_bytes()
    count = (len(data) - offset) // dtype.itemsize  # the last record may be incomplete
    records = np.frombuffer(data, dtype, count=count, offset=offset)
    zero_utc = records["utc"] - records["end_s"]
    good = (np.abs(zero_utc) < _MAX_UTC) & np.isfinite(records["end_s"])
    if labels > _MAX_DENSE_LABELS:
        good &= (records["indices"] < labels).all(axis=1)
    return header, records if good.all() else records[good]


def record_dtype(labels: int) -> np.dtype:
    """The layout of a record: all probabilities, or for many labels the highest with indices."""
    fields: list[Any] = [("end_s", "<f8"), ("utc", "<f8"), ("length_s", "<f8")]
    if labels <= _MAX_DENSE_LABELS:
        return np.dtype([*fields, ("probabilities", "<f2", (labels,))])
    return np.dtype([*fields, ("probabilities", "<f2", (_TOP_K,)), ("indices", "<u2", (_TOP_K,))])


def header_line(spec: ClipSpec, run: str, camera: str) -> bytes:
    header = {
        "version": 1,
        "run": run,
        "camera": camera,
        "model": spec.model,
        "labels": spec.labels,
        "background": sorted(spec.background),
        "gap_s": spec.event_gap_s,
    }
    return json.dumps(header, ensure_ascii=False).encode() + b"\n"


def pack(end_s: float, utc: datetime, length_s: float, probabilities: np.ndarray) -> bytes:
    """A record of a window that ended at `end_s`, or, with a length of NaN, of a gap."""
    record = np.zeros((), record_dtype(len(probabilities)))
    record["end_s"], record["utc"], record["length_s"] = end_s, utc.timestamp(), length_s
    if len(probabilities) > _MAX_DENSE_LABELS:
        indices = _order(probabilities)[:_TOP_K]
        record["indices"], record["probabilities"] = indices, probabilities[indices]
    else:
        record["probabilities"] = probabilities
    return record.tobytes()


def _unpack(record: np.void, labels: int) -> np.ndarray:
    if labels <= _MAX_DENSE_LABELS:
        return record["probabilities"].astype(np.float32)
    probabilities = np.zeros(labels, np.float32)
    probabilities[record["indices"]] = record["probabilities"]
    return probabilities


def _order(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")
