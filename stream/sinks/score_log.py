"""Every window's scores, kept compactly, so that other thresholds can be tried on them later.

`ScoreLog` belongs to the thread that judges; `read_scores` may be called from anywhere.
A file holds one line of JSON that describes it, then records of a fixed size.
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
_KEPT_WHOLE = 32  # labels: of a model with more only the likeliest are kept
_KEPT_TOP = 10
FILE_LASTS_S = 3600.0  # so that old ones can be deleted one by one
_WRITE_EVERY_S = 1.0
_HEAD = {"run", "camera", "model", "labels", "background", "gap_s"}


@dataclass(frozen=True, slots=True)
class KeptRun:
    """What one run kept of one stream, in order."""

    run: str
    camera: str  # or "camera/zone"
    model: str
    labels: tuple[str, ...]
    background: frozenset[str]
    gap_s: float  # without predictions for so long, events are closed
    files: tuple[Path, ...]

    def predictions(self) -> Iterator[tuple[Prediction | None, datetime]]:
        """Each prediction, with the UTC of the camera's time 0 when it was made.

        None stands where the run closed all events because nothing came for too long. What is
        damaged is left out.
        """
        kind = record_of(len(self.labels))
        for file in self.files:
            head = head_of(file)
            if head is None:
                continue
            with file.open("rb") as content:
                content.seek(head[1])
                data = content.read()
            whole = len(data) // kind.itemsize  # the last one may be torn
            for record in np.frombuffer(data, kind, count=whole):
                end_s, utc = float(record["end_s"]), float(record["utc"])
                try:
                    began = datetime.fromtimestamp(utc - end_s, timezone.utc)
                    shares = _unpacked(record, len(self.labels))
                except (ValueError, OverflowError, OSError, IndexError):
                    continue
                if math.isnan(record["length_s"]):
                    yield None, began
                    continue
                prediction = Prediction(
                    camera=self.camera,
                    labels=self.labels,
                    probabilities=shares,
                    start_s=end_s - float(record["length_s"]),
                    end_s=end_s,
                    newest_at=0.0,
                    inference_s=0.0,
                )
                yield prediction, began


class ScoreLog:
    """Writes the scores of a run under a data folder."""

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
        self._allowed = allowed  # false where the disk is nearly full
        self._kind = record_of(len(spec.labels))
        self._files: dict[str, tuple[datetime, IO[bytes]]] = {}  # by stream, with their beginnings
        self._waiting: dict[str, list[bytes]] = {}
        self._written_at: datetime | None = None

    def put(self, prediction: Prediction, utc: datetime) -> None:
        """Keep a prediction. `utc` is that of its window's end."""
        if not self._allowed():
            self._metrics.count("unkept_scores", prediction.camera)
            return
        length_s = prediction.end_s - prediction.start_s
        record = _packed(prediction.end_s, utc, length_s, prediction.probabilities, self._kind)
        self._append(prediction.camera, record, utc)

    def put_break(self, stream: str, end_s: float, utc: datetime) -> None:
        """Keep that all events of a stream were closed after the window that ended at `end_s`."""
        if self._allowed():
            nothing = np.zeros(len(self._spec.labels), np.float32)
            self._append(stream, _packed(end_s, utc, math.nan, nothing, self._kind), utc)

    def close(self, stream: str) -> None:
        """Write what waits of a stream; what comes after it goes into another file."""
        self._write(stream, self._waiting.pop(stream, []), self._written_at)
        _, file = self._files.pop(stream, (None, None))
        if file is not None:
            file.close()

    def close_all(self) -> None:
        for stream in {*self._waiting, *self._files}:
            self.close(stream)

    def _append(self, stream: str, record: bytes, utc: datetime) -> None:
        self._waiting.setdefault(stream, []).append(record)
        if self._written_at is None:
            self._written_at = utc
        if abs((utc - self._written_at).total_seconds()) >= _WRITE_EVERY_S:
            self._written_at = utc
            for one, records in self._waiting.items():
                self._write(one, records, utc)
            self._waiting.clear()

    def _write(self, stream: str, records: list[bytes], utc: datetime | None) -> None:
        if not records or utc is None:
            return
        file: IO[bytes] | None = None
        try:
            file = self._file(stream, utc)
            before = file.tell()
            data = b"".join(records)
            while data:  # a raw file may take a part
                data = data[file.write(data) or 0 :]
        except OSError as error:
            self._metrics.count("unkept_scores", stream, len(records))
            _log.warning("scores of %s can't be kept: %s", stream, error)
            if file is not None:
                with contextlib.suppress(OSError):
                    file.truncate(before)  # nothing torn, or all that comes would be shifted
                del self._files[stream]
                file.close()

    def _file(self, stream: str, utc: datetime) -> IO[bytes]:
        began, file = self._files.get(stream, (None, None))
        if began is not None and file is not None:
            if utc - began < timedelta(seconds=FILE_LASTS_S):
                return file
            file.close()
        folder = self._folder / stream
        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what was written outlives this process, however that ends.
        name = f"{utc:%Y%m%dT%H%M%S}-{self._run[:12]}.scores"
        file = (folder / name).open("ab", buffering=0)
        self._files[stream] = (utc, file)
        if file.tell() == 0:
            file.write(self._describe(stream))
        return file

    def _describe(self, camera: str) -> bytes:
        head = {
            "version": 1,
            "run": self._run,
            "camera": camera,
            "model": self._spec.model,
            "labels": self._spec.labels,
            "background": sorted(self._spec.background),
            "gap_s": self._gap_s,
        }
        return json.dumps(head, ensure_ascii=False).encode() + b"\n"


def as_kept(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities, (labels,), as they are read again: events are made of these from the start,
    so that the same policy makes the same events of what was kept."""
    kept = probabilities.astype(np.float16).astype(np.float32)
    if len(kept) > _KEPT_WHOLE:
        kept[_order(probabilities)[_KEPT_TOP:]] = 0.0
    return kept


def read_scores(folder: Path, *, since: datetime | None = None) -> list[KeptRun]:
    """What the runs into a data folder have kept; files that ended before `since` are left out.

    Files that are damaged or of a later version are left out as well, with a warning.
    """
    found: dict[tuple[str, str], list[tuple[Path, dict[str, Any]]]] = {}
    for file in sorted((folder / FOLDER).rglob("*.scores"), key=lambda file: file.name):
        if since is not None and file.stat().st_mtime < since.timestamp():
            continue
        head = head_of(file)
        if head is None:
            _log.warning("%s holds no scores that this version can read", file)
            continue
        found.setdefault((head[0]["run"], head[0]["camera"]), []).append((file, head[0]))
    return [
        KeptRun(
            run=run,
            camera=camera,
            model=files[0][1]["model"],
            labels=tuple(files[0][1]["labels"]),
            background=frozenset(files[0][1]["background"]),
            gap_s=files[0][1]["gap_s"],
            files=tuple(file for file, _ in files),
        )
        for (run, camera), files in found.items()
    ]


def head_of(file: Path) -> tuple[dict[str, Any], int] | None:
    """What a file's first line says, and where its records begin; None if nobody can read it."""
    with file.open("rb") as content:
        line = content.readline()
    try:
        head = json.loads(line)
    except ValueError:
        return None
    readable = isinstance(head, dict) and head.get("version") == 1 and head.keys() >= _HEAD
    return (head, len(line)) if readable else None


def record_of(labels: int) -> np.dtype:
    """How a record of a model with so many labels is laid out: all shares, or the largest only."""
    fields: list[Any] = [("end_s", "<f8"), ("utc", "<f8"), ("length_s", "<f8")]
    if labels <= _KEPT_WHOLE:
        return np.dtype([*fields, ("shares", "<f2", (labels,))])
    return np.dtype([*fields, ("shares", "<f2", (_KEPT_TOP,)), ("places", "<u2", (_KEPT_TOP,))])


def _order(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")


def _packed(
    end_s: float, utc: datetime, length_s: float, shares: np.ndarray, kind: np.dtype
) -> bytes:
    record = np.zeros((), kind)
    record["end_s"], record["utc"], record["length_s"] = end_s, utc.timestamp(), length_s
    if "places" in (kind.names or ()):
        places = _order(shares)[:_KEPT_TOP]
        record["places"], record["shares"] = places, shares[places]
    else:
        record["shares"] = shares
    return record.tobytes()


def _unpacked(record: np.void, labels: int) -> np.ndarray:
    if "places" not in (record.dtype.names or ()):
        return record["shares"].astype(np.float32)
    shares = np.zeros(labels, np.float32)
    shares[record["places"]] = record["shares"]
    return shares
