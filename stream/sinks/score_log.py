"""Writes the scores of every window to disk. Used by the event processor's thread."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import numpy as np

from stream.capture.camera import Camera
from stream.messages import ClipSpec, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.score_files import FOLDER, MAX_FILE_S, header_line, pack

_log = logging.getLogger(__name__)
_WRITE_INTERVAL_S = 1.0


class ScoreLog(EventSink):
    """Stores the scores of a run in its data folder. Counter: `scores_not_stored`."""

    name = "scores"

    def __init__(
        self,
        folder: Path,
        run: str,
        metrics: Metrics,
        *,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder, self._run, self._metrics = folder / FOLDER, run, metrics
        self._allowed = allowed  # False while the disk is nearly full
        self._spec: ClipSpec | None = None
        self._files: dict[str, tuple[datetime, IO[bytes]]] = {}  # by stream, with their start times
        self._pending: dict[str, list[bytes]] = {}  # records by stream
        self._written_at: datetime | None = None

    def on_model(self, spec: ClipSpec, streams: Sequence[str]) -> None:
        self._spec = spec

    def on_prediction(self, prediction: Prediction, end_utc: datetime) -> None:
        if not self._allowed():
            self._metrics.count("scores_not_stored", prediction.camera)
            return
        length_s = prediction.end_s - prediction.start_s
        record = pack(prediction.end_s, end_utc, length_s, prediction.probabilities)
        self._append(prediction.camera, record, end_utc)

    def on_gap(self, stream: str, end_s: float, end_utc: datetime) -> None:
        assert self._spec is not None  # known before the first prediction
        if self._allowed():
            zeros = np.zeros(len(self._spec.labels), np.float32)
            self._append(stream, pack(end_s, end_utc, math.nan, zeros), end_utc)

    def on_camera_finished(self, camera: Camera) -> None:
        for stream in camera.streams:
            self._close(stream.name)

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        for camera in removed:  # a later camera with this name has another clock
            self.on_camera_finished(camera)

    def join(self, timeout_s: float) -> bool:
        for stream in {*self._pending, *self._files}:
            self._close(stream)
        return True

    def _close(self, stream: str) -> None:
        """Write the pending records of a stream; later ones go to a new file."""
        self._write(stream, self._pending.pop(stream, []), self._written_at)
        self._close_file(stream)

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
        try:
            _write_all(self._file(stream, utc), b"".join(records))
        except OSError as error:
            self._metrics.count("scores_not_stored", stream, len(records))
            _log.warning("scores of %s can't be stored: %s", stream, error)
            self._close_file(stream)  # the next records go to a new one

    def _file(self, stream: str, utc: datetime) -> IO[bytes]:
        if stream in self._files:
            started_at, file = self._files[stream]
            if utc - started_at < timedelta(seconds=MAX_FILE_S):
                return file
            self._close_file(stream)
        path = self._folder / stream / f"{utc:%Y%m%dT%H%M%S}-{self._run[:12]}.scores"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab", buffering=0)  # written records survive a crash of this process
        if file.tell() == 0:
            assert self._spec is not None  # known before the first prediction
            try:
                _write_all(file, header_line(self._spec, self._run, stream))
            except OSError:  # records without a header can't be read
                file.close()
                path.unlink()
                raise
        self._files[stream] = (utc, file)
        return file

    def _close_file(self, stream: str) -> None:
        _, file = self._files.pop(stream, (None, None))
        if file is not None:
            file.close()


@SINKS.register(ScoreLog.name)
def _make(context: SinkContext) -> EventSink | None:
    if not context.config.retention.scores:
        return None
    return ScoreLog(
        context.folder,
        context.log.run,
        context.metrics,
        allowed=lambda: context.disk.scores_allowed,
    )


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of it or nothing. Raises OSError."""
    offset = file.tell()
    try:
        while data:  # a raw file may write only a part
            data = data[file.write(data) or 0 :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(offset)  # an incomplete record would shift all later ones
        raise
