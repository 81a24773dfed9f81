"""Scans video files: scores every window, with a reproducible event log and exports."""

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
from stream.formats.base import FORMATS, ExportError, export_file
from stream.pipeline import Pipeline
from stream.runtime.metrics import Metrics
from stream.scan.manifest import ManifestEntry, ScanError, ScanJob, read_manifest, write_manifest
from stream.sinks.event_log.database import EventLogError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.score_files import FOLDER as SCORES
from stream.sources.base import SourceError

EXPORTS = ("jsonl", "webvtt")  # formats of the exports
_POLL_INTERVAL_S = 0.1
_JOURNAL_TIMEOUT_S = 60.0  # a full journal needs a few seconds


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of one job: the number of events, or the reason of a failure."""

    job: ScanJob
    events: int = 0
    video_s: float = 0.0  # seconds of video that were scanned
    note: str = ""  # a remark for the user
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a scan, in seconds of video."""

    done_s: float
    reading: tuple[str, ...]  # names of the videos in progress


def pending_jobs(jobs: Iterable[ScanJob], out: Path) -> list[ScanJob]:
    """The jobs that are not complete yet with the same model and settings.

    Raises ScanError if the manifest can't be read.
    """
    manifest = read_manifest(out)
    return [
        job
        for job in jobs
        if manifest.get(job.name) != ManifestEntry(job.content, job.scan_input.key)
        or not all(file.is_file() for file in _exports(job.name, out))
    ]


def scan(
    jobs: Sequence[ScanJob],
    config: Config,
    *,
    stop: StopEvent,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    log_timeout_s: float = 60.0,
) -> Iterator[ScanResult]:
    """Scan video files into the data folder of `config`, and yield a result for each.

    Replaces the results of an earlier scan; a scan that does not complete leaves no results. Waits
    up to `log_timeout_s` for an unavailable event log after all files are read.
    Raises ScanError if the folder is no scan folder or can't be written, SourceError if the model
    fails, EventLogError or TransportError for the event log and the workers.
    """
    out = config.data
    _reset_outputs(jobs, out)
    pending = {job.name: job for job in jobs}
    incomplete = set(pending)
    done_s, waited_s = 0.0, 0.0

    def finish(name: str) -> ScanResult:
        result = _finish(pending.pop(name), pipeline, out)
        if not result.failure:
            incomplete.remove(name)
        return result

    try:
        scan_inputs = {job.name: job.scan_input for job in jobs}
        with Pipeline(_scan_config(config, jobs), scan_inputs=scan_inputs) as pipeline:
            while pending and not stop.is_set():
                over = pipeline.over.is_set()  # first, so that no finished file is missed
                finished = [name for name in pending if name in pipeline.camera_manager.finished]
                reading = _reading(pipeline, pending)
                on_progress(Progress(done_s + sum(reading.values()), tuple(reading)))
                if finished and pipeline.sinks.in_database:
                    for name in finished:
                        result = finish(name)
                        done_s += result.video_s
                        yield result
                elif over and (not finished or waited_s >= log_timeout_s):
                    break
                elif over:
                    stop.wait(_POLL_INTERVAL_S)
                    waited_s += _POLL_INTERVAL_S
                else:
                    pipeline.over.wait(_POLL_INTERVAL_S)
            failure = pipeline.failure
        # Leaving the pipeline retries the log once more.
        for name in [name for name in pending if name in pipeline.camera_manager.finished]:
            yield finish(name)
        if failure and pending and not stop.is_set():
            raise SourceError(failure)
    finally:
        if incomplete:
            # Files that can't be removed now are removed before the next scan.
            with contextlib.suppress(EventLogError), _exclusive_log(out) as log:
                _clear(incomplete, log, out)


def _scan_config(config: Config, jobs: Iterable[ScanJob]) -> Config:
    cameras = {job.name: CameraConfig(source=str(job.file.resolve())) for job in jobs}
    # A lossless run sends single clips, so the worker prepares no larger batches.
    worker = config.worker.model_copy(update={"max_batch_size": 1})
    # A scan always stores its scores, whatever the retention of a live run.
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


def _reset_outputs(jobs: Sequence[ScanJob], out: Path) -> None:
    """Mark the jobs as incomplete, and remove their earlier results."""
    with _exclusive_log(out) as log:
        manifest = read_manifest(out)
        for job in jobs:
            if job.name in manifest:
                continue
            if (out / SCORES / job.name).exists() or log.count(EventQuery(camera=job.name)):
                raise ScanError(
                    f"{out} holds the log of a live run with a camera {job.name}; "
                    "give another --out"
                )
        write_manifest(out, {job.name: ManifestEntry(job.content) for job in jobs})
        _clear([job.name for job in jobs], log, out)


@contextlib.contextmanager
def _exclusive_log(out: Path) -> Iterator[EventLog]:
    """The locked event log of a folder, after its journal was written to it.

    Raises EventLogError if that fails.
    """
    with EventLog.create(out) as log:
        writer = EventWriter(log, Journal(out), Metrics())
        writer.start()
        writer.request_stop()
        writer.join(_JOURNAL_TIMEOUT_S)
        if writer.pending:
            raise EventLogError(
                writer.unavailable_reason or f"the journal in {out} can't be read; remove it"
            )
        yield log


def _clear(names: Iterable[str], log: EventLog, out: Path) -> None:
    """Remove the events, scores and exports of videos."""
    for name in names:
        log.delete([row["id"] for row in log.rows(EventQuery(camera=name))])
        shutil.rmtree(out / SCORES / name, ignore_errors=True)
        for file in _exports(name, out):
            with contextlib.suppress(OSError):  # the next write reports the error
                file.unlink()


def _exports(name: str, out: Path) -> list[Path]:
    return [out / f"{name}{FORMATS[format_name].suffix}" for format_name in EXPORTS]


def _reading(pipeline: Pipeline, names: Iterable[str]) -> dict[str, float]:
    """Seconds of video that are scored, by name."""
    predictions = {name: pipeline.processor.view(name).prediction for name in names}
    return {name: one.end_s for name, one in predictions.items() if one is not None}


def rewrite_exports(log: EventLog, out: Path) -> None:
    """Rewrite the exports of all completely scanned videos after a change of the event log.

    Raises ExportError, ScanError or EventLogError.
    """
    for name, entry in read_manifest(out).items():
        if entry.key:
            _export(name, list(log.rows(EventQuery(camera=name))), out)


def _export(name: str, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    for format_name, file in zip(EXPORTS, _exports(name, out), strict=True):
        export_file(rows, file, format_name)


def _finish(job: ScanJob, pipeline: Pipeline, out: Path) -> ScanResult:
    """Export the events of a video, and mark it as complete."""
    failure = _why_incomplete(job, pipeline)
    if failure:
        return ScanResult(job, failure=failure)
    try:
        with EventLog.open(out) as log:
            rows = list(log.rows(EventQuery(camera=job.name)))
        _export(job.name, rows, out)
        write_manifest(out, {job.name: ManifestEntry(job.content, job.scan_input.key)})
    except (EventLogError, ExportError, ScanError) as error:
        return ScanResult(job, failure=f"{job.file}: {error}")
    video_s = job.duration_s or _reading(pipeline, [job.name]).get(job.name, 0.0)
    note = ""
    if not pipeline.metrics.totals(job.name).get("windows") and pipeline.spec is not None:
        length = f" ({video_s:.1f} s)" if video_s else ""
        clip = f"the model's {pipeline.spec.span_s:.1f} s clip"
        note = f"{job.file}: no full window: the video{length} is shorter than {clip}"
    return ScanResult(job, len(rows), video_s, note)


def _why_incomplete(job: ScanJob, pipeline: Pipeline) -> str:
    """Why the results of a video are incomplete; "" if they are complete."""
    reason = pipeline.cameras[job.name].reason
    if reason:
        return reason
    if not pipeline.sinks.in_database:
        reason = pipeline.sinks.log_unavailable_reason
        return f"{job.file}: not all of its events were logged: {reason}; scan it again"
    if pipeline.metrics.total("lost_events"):  # of any video
        return f"{job.file}: events may be lost, see above; scan it again"
    if pipeline.metrics.totals(job.name).get("scores_not_stored"):
        return f"{job.file}: not all of its scores were stored; free disk space, then scan it again"
    return ""
