"""The commands about recorded films: scan, annotate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.terminal import (
    complain,
    give_up,
    progress_bar,
    say,
    show_warnings,
    silence_decoders,
    stop_at_signals,
    utc,
)

if TYPE_CHECKING:
    from stream.config.config import Config
    from stream.scan.manifest import Wanted
    from stream.scan.scan import Scanned

_CONFIG_HELP = "YAML file, for its model, window and events"


@dataclass(slots=True)
class _Result:
    """What came of a scan."""

    done: int = 0
    failed: int = 0
    film_s: float = 0.0  # seconds of those that are done
    failure: str = ""  # why it ended before its time


def scan(
    files: Annotated[list[Path], typer.Argument(help="video files", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="folder of the event log, the scores and each file's exports")
    ] = Path("actionwatch-scan"),
    config: Annotated[Path | None, typer.Option(help=_CONFIG_HELP)] = None,
    model: Annotated[
        str | None, typer.Option(help="embedded name, checkpoint folder, or Hugging Face name")
    ] = None,
    began: Annotated[
        str | None,
        typer.Option(
            help="ISO 8601 time of the first picture, UTC unless it says; else the file's"
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="also files that were scanned")] = False,
) -> None:
    """Find the events of recorded files: every window, as fast as this machine can.

    A scan that was stopped goes on where it was, by file.
    """
    silence_decoders()
    from stream.scan.manifest import ScanError
    from stream.scan.scan import left_to_do

    there = [file for file in files if file.is_file()]
    for file in files:
        if file not in there:
            complain(f"{file}: {_not_a_film(file)}")
    settings = _settings(config, model, out)
    wanted = _planned(there, settings, utc("--began", began))
    try:
        to_do = wanted if again else left_to_do(wanted, out)
    except ScanError as error:
        give_up(str(error))
    for one in wanted:
        for copy in one.copies:
            say(f"{copy}: the same film as {one.file}")
        if one not in to_do:
            say(f"{one.file}: scanned before; --again scans it anew")

    def tell(one: Scanned) -> None:
        events = "1 event" if one.events == 1 else f"{one.events} events"
        say(f"{one.wanted.file}: {events}, {out / one.wanted.name}.jsonl")

    result = _scan_all(to_do, settings, tell) if to_do else _Result()
    went_well = len(wanted) - len(to_do) + result.done
    if result.done + result.failed < len(to_do) and not result.failure:
        left = len(to_do) - result.done - result.failed
        files_are = "1 file is" if left == 1 else f"{left} files are"
        complain(f"stopped; {files_are} left: scan again to go on")
        raise typer.Exit(1)
    if went_well < len(wanted) or len(there) < len(files):
        raise typer.Exit(1 if went_well else 2)


def annotate(
    file: Annotated[Path, typer.Argument(help="video file", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="MP4 file to write")],
    config: Annotated[Path | None, typer.Option(help=_CONFIG_HELP)] = None,
    model: Annotated[
        str | None, typer.Option(help="embedded name, checkpoint folder, or Hugging Face name")
    ] = None,
    top: Annotated[int, typer.Option(min=0, max=20, help="labels shown as bars")] = 3,
) -> None:
    """Write a recorded file with its predictions and events drawn on it, its sound kept."""
    silence_decoders()
    import tempfile

    from stream.sinks.event_log.event_log import EventLog
    from stream.sinks.score_log import read_scores
    from stream.sources.opencv_capture import SourceError
    from ui.cli.annotate import annotate as write
    from ui.cli.annotate import check_writable

    if not file.is_file():
        give_up(f"{file}: {_not_a_film(file)}")
    if out.suffix.lower() != ".mp4":
        give_up(f"--out {out}: must end in .mp4")
    if out.resolve() == file.resolve():
        give_up(f"--out {out}: is the film itself; give another name")
    try:
        check_writable(out)
    except OSError as error:
        give_up(f"--out {out}: can't be written: {error.strerror or error}")
    with tempfile.TemporaryDirectory(prefix="actionwatch-") as name:
        folder = Path(name)
        settings = _settings(config, model, folder)
        (wanted,) = _planned([file], settings)
        result = _scan_all([wanted], settings, lambda one: None)
        if not result.done:
            raise typer.Exit(2 if result.failed or result.failure else 1)
        predictions = [
            one for kept in read_scores(folder) for one, _ in kept.predictions() if one is not None
        ]
        with EventLog.open(folder) as log:
            events = [(row["label"], row["start_s"], row["end_s"]) for row in log.rows()]
    stop = stop_at_signals()
    with progress_bar("seconds of film drawn", max(1, round(wanted.duration_s or 0))) as (
        bar,
        task,
    ):

        def show(seconds: float) -> None:
            bar.update(task, completed=seconds)

        try:
            whole = write(file, out, predictions, events, top=top, stop=stop, on_progress=show)
        except SourceError as error:
            give_up(str(error))
        except OSError as error:
            give_up(f"{out} can't be written: {error.strerror or error}")
    if not whole:
        complain("stopped; nothing was written")
        raise typer.Exit(1)
    say(f"wrote {out}")


def _not_a_film(file: Path) -> str:
    return "is a folder; give video files" if file.is_dir() else "no such file"


def _planned(
    files: Sequence[Path], settings: Config, began: datetime | None = None
) -> list[Wanted]:
    """Read the files once, with a progress bar: large ones take a while."""
    from stream.scan.manifest import ScanError, plan

    try:
        size = sum(file.stat().st_size for file in files)
        with progress_bar("MB read", max(1, round(size / 1e6))) as (bar, task):
            return plan(
                files,
                settings,
                began=began,
                on_read=lambda count: bar.advance(task, count / 1e6),
            )
    except OSError as error:
        give_up(f"{error.filename} can't be read: {error.strerror}")
    except ScanError as error:
        give_up(str(error))


def _settings(config: Path | None, model: str | None, out: Path) -> Config:
    from stream.config.load import ConfigError, load_config

    overrides: dict[str, Any] = {"data": str(out)}
    if model is not None:
        overrides["model"] = model
    try:
        settings = load_config(config, overrides)
    except ConfigError as error:
        give_up(str(error))
    return settings.model_copy(update={"database": None})


def _scan_all(
    to_do: Sequence[Wanted], settings: Config, tell: Callable[[Scanned], None]
) -> _Result:
    """Scan with a progress bar, saying of each film what became of it, until a signal comes."""
    from stream.scan.manifest import ScanError
    from stream.scan.scan import Progress
    from stream.scan.scan import scan as scan_films
    from stream.sinks.event_log.database import EventLogError
    from stream.sources.opencv_capture import SourceError
    from stream.workers.transport import TransportError

    show_warnings()
    stop = stop_at_signals()
    whole_s = sum(one.duration_s or 0.0 for one in to_do)
    result = _Result()
    began = time.monotonic()
    with progress_bar("seconds of film", max(1, round(whole_s))) as (bar, task):

        def show(progress: Progress) -> None:
            speed = progress.done_s / (time.monotonic() - began)
            named = ", ".join(progress.reading)
            bar.update(task, completed=progress.done_s, state=f"{speed:.1f} x  {named:.40}")

        try:
            for one in scan_films(to_do, settings, stop=stop, on_progress=show):
                if one.failure:
                    result.failed += 1
                    complain(one.failure)
                    continue
                result.done += 1
                result.film_s += one.film_s
                if one.note:
                    complain(one.note)
                tell(one)
        except (ScanError, SourceError, EventLogError, TransportError) as error:
            result.failure = str(error)
            complain(result.failure)
    took_s = time.monotonic() - began
    if result.done:
        say(f"{result.film_s:.0f} s of film in {took_s:.1f} s")
    return result
