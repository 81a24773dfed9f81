"""Commands for recorded videos: scan, annotate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.runtime.errors import UserError, reason_of
from ui.cli.options import Model, given, utc
from ui.cli.terminal import (
    count,
    fail,
    print_error,
    print_line,
    progress_bar,
    show_warnings,
    stop_at_signals,
)

if TYPE_CHECKING:
    from stream.config.config import Config
    from stream.scan.manifest import ScanJob
    from stream.scan.scan import ScanResult

_CONFIG_HELP = "YAML file with model, window and events settings"


@dataclass(slots=True)
class _Result:
    """The outcome of a scan."""

    done: int = 0
    failed: int = 0
    video_s: float = 0.0  # duration of the scanned videos
    failure: str = ""  # why the scan ended early


def scan(
    files: Annotated[list[Path], typer.Argument(help="video files", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="folder of the event log, the scores and each file's exports")
    ] = Path("actionwatch-scan"),
    config: Annotated[Path | None, typer.Option(help=_CONFIG_HELP)] = None,
    model: Model = None,
    start_time: Annotated[
        str | None,
        typer.Option(
            help="ISO 8601 time of the first frame, UTC if it has no offset; else the file's"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="scan files again")] = False,
) -> None:
    """Detect events in video files: score every window, as fast as this machine can.

    A stopped scan resumes with the first unfinished file.
    """
    from stream.scan.scan import pending_jobs

    existing = [file for file in files if file.is_file()]
    for file in files:
        if file not in existing:
            print_error(f"{file}: {_why_not_a_file(file)}")
    settings = _settings(config, model, out)
    jobs = _plan(existing, settings, utc("--start-time", start_time))
    pending = jobs if force else pending_jobs(jobs, out)
    for one in jobs:
        for copy in one.copies:
            print_line(f"{copy}: the same video as {one.file}")
        if one not in pending:
            print_line(f"{one.file}: already scanned; use --force to scan it again")

    def print_result(one: ScanResult) -> None:
        print_line(f"{one.job.file}: {count(one.events, 'event')}, {out / one.job.name}.jsonl")

    result = _scan_all(pending, settings, print_result) if pending else _Result()
    succeeded = len(jobs) - len(pending) + result.done
    if result.done + result.failed < len(pending) and not result.failure:
        left = len(pending) - result.done - result.failed
        fail(f"stopped; {count(left, 'file')} left: scan again to resume", code=1)
    if succeeded < len(jobs) or len(existing) < len(files):
        raise typer.Exit(1 if succeeded else 2)


def annotate(
    file: Annotated[Path, typer.Argument(help="video file", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="MP4 file to write")],
    config: Annotated[Path | None, typer.Option(help=_CONFIG_HELP)] = None,
    model: Model = None,
    top: Annotated[int, typer.Option(min=0, max=20, help="labels shown as bars")] = 3,
) -> None:
    """Write a video with its predictions and events drawn on it, with its audio."""
    import tempfile

    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.score_files import read_scores
    from ui.cli.annotate import annotate as write
    from ui.cli.annotate import check_writable

    if not file.is_file():
        fail(f"{file}: {_why_not_a_file(file)}")
    if out.suffix.lower() != ".mp4":
        fail(f"--out {out}: must end in .mp4")
    if out.resolve() == file.resolve():
        fail(f"--out {out}: is the input file; give another name")
    check_writable(out)
    with tempfile.TemporaryDirectory(prefix="actionwatch-") as name:
        folder = Path(name)
        settings = _settings(config, model, folder)
        (job,) = _plan([file], settings)
        result = _scan_all([job], settings, lambda one: None)
        if not result.done:
            raise typer.Exit(2 if result.failed or result.failure else 1)
        predictions = [
            one for run in read_scores(folder) for one, _ in run.predictions() if one is not None
        ]
        with EventLog.open(folder) as log:
            events = [(row["label"], row["start_s"], row["end_s"]) for row in log.rows()]
    total_s = max(1, round(job.duration_s or 0))
    with stop_at_signals() as stop, progress_bar("seconds annotated", total_s) as bar:

        def show(seconds: float) -> None:
            bar.update(completed=seconds)

        completed = write(file, out, predictions, events, top=top, stop=stop, on_progress=show)
    if not completed:
        fail("stopped; nothing was written", code=1)
    print_line(f"wrote {out}")


def _why_not_a_file(file: Path) -> str:
    return "is a folder; give video files" if file.is_dir() else "no such file"


def _plan(
    files: Sequence[Path], settings: Config, start_utc: datetime | None = None
) -> list[ScanJob]:
    """Read and hash the files once, with a progress bar."""
    from model.model_folder import local_folder
    from stream.scan.manifest import plan

    try:
        size = sum(file.stat().st_size for file in files)
        with progress_bar("MB read", max(1, round(size / 1e6))) as bar:
            return plan(
                files,
                settings,
                model_folder=local_folder(settings.model),
                start_utc=start_utc,
                on_read=lambda read: bar.advance(read / 1e6),
            )
    except OSError as error:
        fail(f"{error.filename} can't be read: {reason_of(error)}")


def _settings(config: Path | None, model: str | None, out: Path) -> Config:
    from stream.config.load import load_config

    settings = load_config(config, given(data=str(out), model=model))
    return settings.model_copy(update={"database": None})


def _scan_all(
    jobs: Sequence[ScanJob], settings: Config, on_result: Callable[[ScanResult], None]
) -> _Result:
    """Scan with a progress bar and report each video, until a signal stops it."""
    from stream.scan.scan import Progress
    from stream.scan.scan import scan as scan_videos

    show_warnings()
    total_s = max(1, round(sum(one.duration_s or 0.0 for one in jobs)))
    result = _Result()
    started_at = time.monotonic()
    with stop_at_signals() as stop, progress_bar("seconds of video", total_s) as bar:

        def show(progress: Progress) -> None:
            speed = progress.done_s / (time.monotonic() - started_at)
            names = ", ".join(progress.reading)
            bar.update(completed=progress.done_s, state=f"{speed:.1f} x  {names:.40}")

        try:
            for one in scan_videos(jobs, settings, stop=stop, on_progress=show):
                if one.failure:
                    result.failed += 1
                    print_error(one.failure)
                    continue
                result.done += 1
                result.video_s += one.video_s
                if one.note:
                    print_error(one.note)
                on_result(one)
        except UserError as error:
            result.failure = str(error)
            print_error(result.failure)
    elapsed_s = time.monotonic() - started_at
    if result.done:
        print_line(f"{result.video_s:.0f} s of video in {elapsed_s:.1f} s")
    return result
