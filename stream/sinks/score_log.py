"""The scores of every window on disk, so that other thresholds can be tried on them later.

`ScoreLog` belongs to the event processor's thread; any thread may call `read_scores`.
A file holds a header, one line of JSON, and then records of a fixed size.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from stream.messages import ClipSpec, Prediction
from stream.runtime.metrics import Metrics

_log = logging.getLogger(__name__)
FOLDER = "scores"
_MAX_DENSE_LABELS = 32  # for a model with more labels, only the top _TOP_K are stored
_TOP_K = 10
MAX_FILE_S = 3600.0  # a new file each hour, so that old ones can be deleted
_WRITE_INTERVAL_S = 1.0
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
        dtype = record_dtype(len(self.labels))
        for file in self.files:
            header = read_header(file)
            if header is None:
                continue
            with file.open("rb") as content:
                content.seek(header[1])
                data = content.read()
            count = len(data) // dtype.itemsize  # the last record may be incomplete
            for record in np.frombuffer(data, dtype, count=count):
                end_s, utc = float(record["end_s"]), float(record["utc"])
                try:
                    start_utc = datetime.fromtimestamp(utc - end_s, timezone.utc)
                    probabilities = _unpack(record, len(self.labels))
                except (ValueError, OverflowError, OSError, IndexError):
                    continue
                if math.isnan(record["length_s"]):
                    yield None, start_utc
                    continue
                prediction = Prediction(
                    camera=self.camera,
                    labels=self.labels,
                    probabilities=probabilities,
                    start_s=end_s - float(record["length_s"]),
                    end_s=end_s,
                    newest_at=0.0,
                    inference_s=0.0,
                )
                yield prediction, start_utc


class ScoreLog:
    """Writes the scores of a run to a data folder. Counter: `scores_not_stored`."""

    def __init__(
        self,
        folder: Path,
        run: str,
        spec: ClipSpec,
        metrics: Metrics,
        *,
        gap_s: float,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder = folder / FOLDER
        self._run = run
        self._spec = spec
        self._metrics = metrics
        self._gap_s = gap_s
        self._allowed = allowed  # False while the disk is nearly full
        self._dtype = record_dtype(len(spec.labels))
        self._files: dict[str, tuple[datetime, IO[bytes]]] = {}  # by stream, with their start times
        self._pending: dict[str, list[bytes]] = {}  # records by stream
        self._written_at: datetime | None = None

    def put(self, prediction: Prediction, utc: datetime) -> None:
        """Store a prediction. `utc` is the end of its window."""
        if not self._allowed():
            self._metrics.count("scores_not_stored", prediction.camera)
            return
        length_s = prediction.end_s - prediction.start_s
        record = _pack(prediction.end_s, utc, length_s, prediction.probabilities, self._dtype)
        self._append(prediction.camera, record, utc)

    def mark_gap(self, stream: str, end_s: float, utc: datetime) -> None:
        """Record that all events of a stream were closed after the window that ended at `end_s`."""
        if self._allowed():
            zeros = np.zeros(len(self._spec.labels), np.float32)
            self._append(stream, _pack(end_s, utc, math.nan, zeros, self._dtype), utc)

    def close(self, stream: str) -> None:
        """Write the pending records of a stream; later ones go to a new file."""
        self._write(stream, self._pending.pop(stream, []), self._written_at)
        _, file = self._files.pop(stream, (None, None))
        if file is not None:
            file.close()

    def close_all(self) -> None:
        for stream in {*self._pending, *self._files}:
            self.close(stream)

    def _append(self, stream: str, record: bytes, utc: datetime) -> None:
        self._pending.setdefault(stream, []).append(record)
        if self._written_at is None:
            self._written_at = utc
        if abs((utc - self._written_at).total_seconds()) >= _WRITE_INTERVAL_S:
            self._written_at = utc
            for name, records in self._pending.items():
                self._write(name, records, utc)
            self._pending.clear()

    def _write(self, stream: str, records: list[bytes], utc: datetime | None) -> None:
        if not records or utc is None:
            return
        file: IO[bytes] | None = None
        try:
            file = self._file(stream, utc)
            offset = file.tell()
            data = b"".join(records)
            while data:  # a raw file may write only a part
                data = data[file.write(data) or 0 :]
        except OSError as error:
            self._metrics.count("scores_not_stored", stream, len(records))
            _log.warning("scores of %s can't be stored: %s", stream, error)
            if file is not None:
                with contextlib.suppress(OSError):
                    file.truncate(offset)  # an incomplete record would shift all later ones
                del self._files[stream]
                file.close()

    def _file(self, stream: str, utc: datetime) -> IO[bytes]:
        started_at, file = self._files.get(stream, (None, None))
        if started_at is not None and file is not None:
            if utc - started_at < timedelta(seconds=MAX_FILE_S):
                return file
            file.close()
        folder = self._folder / stream
        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: written records survive a crash of this process.
        name = f"{utc:%Y%m%dT%H%M%S}-{self._run[:12]}.scores"
        file = (folder / name).open("ab", buffering=0)
        self._files[stream] = (utc, file)
        if file.tell() == 0:
            file.write(self._header(stream))
        return file

    def _header(self, camera: str) -> bytes:
        header = {
            "version": 1,
            "run": self._run,
            "camera": camera,
            "model": self._spec.model,
            "labels": self._spec.labels,
            "background": sorted(self._spec.background),
            "gap_s": self._gap_s,
        }
        return json.dumps(header, ensure_ascii=False).encode() + b"\n"


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


def record_dtype(labels: int) -> np.dtype:
    """The layout of a record: all probabilities, or for many labels the highest with indices."""
    fields: list[Any] = [("end_s", "<f8"), ("utc", "<f8"), ("length_s", "<f8")]
    if labels <= _MAX_DENSE_LABELS:
        return np.dtype([*fields, ("probabilities", "<f2", (labels,))])
    return np.dtype([*fields, ("probabilities", "<f2", (_TOP_K,)), ("indices", "<u2", (_TOP_K,))])


def _order(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")


def _pack(
    end_s: float, utc: datetime, length_s: float, probabilities: np.ndarray, dtype: np.dtype
) -> bytes:
    record = np.zeros((), dtype)
    record["end_s"], record["utc"], record["length_s"] = end_s, utc.timestamp(), length_s
    if "indices" in (dtype.names or ()):
        indices = _order(probabilities)[:_TOP_K]
        record["indices"], record["probabilities"] = indices, probabilities[indices]
    else:
        record["probabilities"] = probabilities
    return record.tobytes()


def _unpack(record: np.void, labels: int) -> np.ndarray:
    if "indices" not in (record.dtype.names or ()):
        return record["probabilities"].astype(np.float32)
    probabilities = np.zeros(labels, np.float32)
    probabilities[record["indices"]] = record["probabilities"]
    return probabilities
