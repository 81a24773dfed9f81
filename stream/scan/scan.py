"""Recorded files scanned whole: every window scored, the log and the exports the same each time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event as StopEvent
from typing import Any

from stream.config.config import CameraConfig, Config
from stream.config.events import RecordingConfig, RetentionConfig
from stream.formats.base import ExportError, export_file
from stream.pipeline import Pipeline
from stream.runtime.metrics import Metrics
from stream.scan.manifest import Noted, ScanError, Wanted, note, notes
from stream.sinks.event_log.database import EventLogError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.score_log import FOLDER as SCORES
from stream.sources.opencv_capture import SourceError

EXPORTS = {"jsonl": ".jsonl", "webvtt": ".vtt"}  # formats of each file's events, and their suffixes
_LOOK_EVERY_S = 0.1
_CATCH_UP_S = 60.0  # a full journal takes a few


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of a file: events, or why it was not scanned. `note` is worth to be told."""

    wanted: Wanted
    events: int = 0
    film_s: float = 0.0  # seconds of it that were scanned
    note: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan has come, in seconds of film."""

    done_s: float
    reading: tuple[str, ...]


def left_to_do(wanted: Iterable[Wanted], out: Path) -> list[Wanted]:
    """Those of the files that were not yet scanned whole, by the same model and settings.

    Raises ScanError where the folder's notes can't be read.
    """
    noted = notes(out)
    return [
        one
        for one in wanted
        if noted.get(one.name) != Noted(one.content, one.film.key)
        or not all(file.is_file() for file in _exports(one.name, out))
    ]


def scan(
    wanted: Sequence[Wanted],
    config: Config,
    *,
    stop: StopEvent,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    patience_s: float = 60.0,
) -> Iterator[Scanned]:
    """Scan files into the data folder of `config`, and say of each what became of it.

    What the folder holds of them from an earlier scan is replaced; nothing stays of one that is not
    scanned to its end. If the log is away when all is read, it is waited for, for `patience_s`.
    Raises ScanError where the folder is not one of scans or can't be written, SourceError where the
    model can't work, EventLogError or TransportError for what can't be used.
    """
    out = config.data
    _make_room(wanted, out)
    pending = {one.name: one for one in wanted}
    undone = set(pending)
    done_s, waited_s = 0.0, 0.0

    def finish(name: str) -> Scanned:
        scanned = _finish(pending.pop(name), pipeline, out)
        if not scanned.failure:
            undone.remove(name)
        return scanned

    try:
        films = {one.name: one.film for one in wanted}
        with Pipeline(_for_files(config, wanted), films=films) as pipeline:
            while pending and not stop.is_set():
                over = pipeline.over.is_set()  # before looking: what was finished then is seen
                finished = [name for name in pending if name in pipeline.finished]
                reading = _reading(pipeline, pending)
                on_progress(Progress(done_s + sum(reading.values()), tuple(reading)))
                if finished and pipeline.in_log:
                    for name in finished:
                        scanned = finish(name)
                        done_s += scanned.film_s
                        yield scanned
                elif over and (not finished or waited_s >= patience_s):
                    break
                elif over:
                    stop.wait(_LOOK_EVERY_S)
                    waited_s += _LOOK_EVERY_S
                else:
                    pipeline.over.wait(_LOOK_EVERY_S)
            failure = pipeline.failure
        # The log was tried once more.
        for name in [name for name in pending if name in pipeline.finished]:
            yield finish(name)
        if failure and pending and not stop.is_set():
            raise SourceError(failure)
    finally:
        if undone:
            # What can't be removed now is removed before these files are scanned again.
            with contextlib.suppress(EventLogError), _whole_log(out) as log:
                _clear(undone, log, out)


def _for_files(config: Config, wanted: Iterable[Wanted]) -> Config:
    cameras = {one.name: CameraConfig(source=str(one.file.resolve())) for one in wanted}
    # Clips come one by one where every window counts: nothing else need be made ready.
    worker = config.worker.model_copy(update={"batch": 1})
    # Scores belong to what a scan makes, whatever a watch with this configuration keeps of them.
    retention = RetentionConfig.model_validate({"scores": "36500d", "keep_free": "0MB"})
    return config.model_copy(
        update={
            "cameras": cameras,
            "worker": worker,
            "recording": RecordingConfig(),
            "retention": retention,
            "alerts": {},
            "publish": None,
        }
    )


def _make_room(wanted: Sequence[Wanted], out: Path) -> None:
    """Note that these files are begun, and remove what there is of them."""
    with _whole_log(out) as log:
        noted = notes(out)
        for one in wanted:
            if one.name in noted:
                continue
            if (out / SCORES / one.name).exists() or log.count(EventQuery(camera=one.name)):
                raise ScanError(
                    f"{out} holds the log of a watch with a camera {one.name}; give another --out"
                )
        note(out, {one.name: Noted(one.content) for one in wanted})
        _clear([one.name for one in wanted], log, out)


@contextlib.contextmanager
def _whole_log(out: Path) -> Iterator[EventLog]:
    """The log of a folder, held alone, with all that waited in its journal.

    Raises EventLogError where that can't be had.
    """
    with EventLog.create(out) as log:
        writer = EventWriter(log, Journal(out), Metrics())
        writer.start()
        writer.tell_stop()
        writer.join(_CATCH_UP_S)
        if writer.waiting:
            raise EventLogError(writer.away or f"the journal in {out} can't be read; remove it")
        yield log


def _clear(names: Iterable[str], log: EventLog, out: Path) -> None:
    """Remove what a folder holds of films: events, scores, exports."""
    for name in names:
        log.delete([row["id"] for row in log.rows(EventQuery(camera=name))])
        shutil.rmtree(out / SCORES / name, ignore_errors=True)
        for file in _exports(name, out):
            with contextlib.suppress(OSError):  # who writes there next says what is wrong
                file.unlink()


def _exports(name: str, out: Path) -> list[Path]:
    return [out / f"{name}{suffix}" for suffix in EXPORTS.values()]


def _reading(pipeline: Pipeline, names: Iterable[str]) -> dict[str, float]:
    """How far the films that are read have come, in seconds."""
    predictions = {name: pipeline.view(name).prediction for name in names}
    return {name: found.end_s for name, found in predictions.items() if found is not None}


def export_again(log: EventLog, out: Path) -> None:
    """Write the exports of all films that were scanned into a folder, after its log was changed.

    Raises ExportError, ScanError or EventLogError.
    """
    for name, noted in notes(out).items():
        if noted.key:
            _export(name, list(log.rows(EventQuery(camera=name))), out)


def _export(name: str, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    for kind, file in zip(EXPORTS, _exports(name, out), strict=True):
        export_file(rows, file, kind)


def _finish(one: Wanted, pipeline: Pipeline, out: Path) -> Scanned:
    """Export the events of a file, and note that it is done."""
    failure = _why_incomplete(one, pipeline)
    if failure:
        return Scanned(one, failure=failure)
    try:
        with EventLog.open(out) as log:
            rows = list(log.rows(EventQuery(camera=one.name)))
        _export(one.name, rows, out)
        note(out, {one.name: Noted(one.content, one.film.key)})
    except (EventLogError, ExportError, ScanError) as error:
        return Scanned(one, failure=f"{one.file}: {error}")
    film_s = one.duration_s or _reading(pipeline, [one.name]).get(one.name, 0.0)
    remark = ""
    if not pipeline.metrics.totals(one.name).get("windows") and pipeline.spec is not None:
        lasts = f"lasts {film_s:.1f} s" if film_s else "is too short"
        span_s = pipeline.spec.span_s
        remark = f"{one.file}: {lasts}, but the model looks at {span_s:.1f} s at a time: no window"
    return Scanned(one, len(rows), film_s, remark)


def _why_incomplete(one: Wanted, pipeline: Pipeline) -> str:
    """Why not all of a film that was read is in the log; "" where it is."""
    reason = pipeline.cameras[one.name].reason
    if reason:
        return reason
    if not pipeline.in_log:
        return f"{one.file}: not all of its events could be logged: {pipeline.log_away}; scan again"
    if pipeline.metrics.total("lost_events"):  # of which film nobody knows
        return f"{one.file}: events may be lost, see above; scan again"
    if pipeline.metrics.totals(one.name).get("unkept_scores"):
        return f"{one.file}: not all of its scores could be written; make room, then scan again"
    return ""
