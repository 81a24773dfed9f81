"""Every window's scores, kept compactly, so that other thresholds can be tried on them later.

`ScoreLog` belongs to the thread that judges; `read_scores` may be called from anywhere.
A file holds one line of JSON that describes it, then records of a fixed size.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from stream.messages import ClipSpec, Prediction
from stream.metrics import Metrics

_log = logging.getLogger(__name__)
FOLDER = "scores"
_KEPT_WHOLE = 32  # labels: of a model with more only the likeliest are kept
_KEPT_TOP = 10
_FILE_LASTS_S = 3600.0  # so that old ones can be deleted one by one
_WRITE_EVERY_S = 1.0


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

    def predictions(self) -> Iterator[tuple[Prediction, datetime]]:
        """Each prediction, with the UTC of the camera's time 0 when it was made."""
        for file in self.files:
            head = _head(file)
            if head is None:
                continue
            kind = _record(len(self.labels))
            with file.open("rb") as content:
                content.seek(head[1])
                data = content.read()
            whole = len(data) // kind.itemsize  # the last one may be torn
            for record in np.frombuffer(data, kind, count=whole):
                end_s = float(record["end_s"])
                began = float(record["utc"]) - end_s
                prediction = Prediction(
                    camera=self.camera,
                    labels=self.labels,
                    probabilities=_unpacked(record, len(self.labels)),
                    start_s=end_s - float(record["length_s"]),
                    end_s=end_s,
                    newest_at=0.0,
                    inference_s=0.0,
                )
                yield prediction, datetime.fromtimestamp(began, timezone.utc)


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
        self._kind = _record(len(spec.labels))
        self._files: dict[str, tuple[datetime, IO[bytes]]] = {}  # by stream, with their beginnings
        self._waiting: dict[str, list[bytes]] = {}
        self._written_at: datetime | None = None

    def put(self, prediction: Prediction, utc: datetime) -> None:
        """Keep a prediction. `utc` is that of its window's end."""
        if not self._allowed():
            self._metrics.count("unkept_scores", prediction.camera)
            return
        record = _packed(prediction, utc, self._kind)
        self._waiting.setdefault(prediction.camera, []).append(record)
        if self._written_at is None:
            self._written_at = utc
        if abs((utc - self._written_at).total_seconds()) >= _WRITE_EVERY_S:
            self._written_at = utc
            self.flush(utc)

    def flush(self, utc: datetime) -> None:
        """Write what waits."""
        for camera, records in self._waiting.items():
            try:
                self._file(camera, utc).write(b"".join(records))
            except OSError as error:
                self._metrics.count("unkept_scores", camera, len(records))
                _log.warning("scores of %s can't be kept: %s", camera, error)
        self._waiting.clear()

    def close(self) -> None:
        if self._written_at is not None:
            self.flush(self._written_at)
        for _, file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, camera: str, utc: datetime) -> IO[bytes]:
        began, file = self._files.get(camera, (None, None))
        if began is not None and file is not None:
            if utc - began < timedelta(seconds=_FILE_LASTS_S):
                return file
            file.close()
        folder = self._folder / camera
        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what was written is whole, or at most its last record is torn.
        name = f"{utc:%Y%m%dT%H%M%S}-{self._run[:12]}.scores"
        file = (folder / name).open("ab", buffering=0)
        if file.tell() == 0:
            file.write(self._describe(camera))
        self._files[camera] = (utc, file)
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
        head = _head(file)
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


def _head(file: Path) -> tuple[dict[str, Any], int] | None:
    """What the first line says, and where the records begin."""
    with file.open("rb") as content:
        line = content.readline()
    try:
        head = json.loads(line)
    except ValueError:
        return None
    return (head, len(line)) if isinstance(head, dict) and head.get("version") == 1 else None


def _record(labels: int) -> np.dtype:
    fields: list[Any] = [("end_s", "<f8"), ("utc", "<f8"), ("length_s", "<f8")]
    if labels <= _KEPT_WHOLE:
        return np.dtype([*fields, ("shares", "<f2", (labels,))])
    return np.dtype([*fields, ("shares", "<f2", (_KEPT_TOP,)), ("places", "<u2", (_KEPT_TOP,))])


def _order(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")


def _packed(prediction: Prediction, utc: datetime, kind: np.dtype) -> bytes:
    record = np.zeros((), kind)
    record["end_s"] = prediction.end_s
    record["utc"] = utc.timestamp()
    record["length_s"] = prediction.end_s - prediction.start_s
    shares = prediction.probabilities
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
