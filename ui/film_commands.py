"""The commands about recorded films: scan, annotate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.terminal import (
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
    from stream.config import Config
    from stream.scan import Scanned, Wanted

_CONFIG_HELP = "YAML file, for its model, window and events"


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
    from stream.scan import left_to_do, plan

    there = [file for file in files if file.is_file()]
    for file in files:
        if file not in there:
            what = "is a folder; give video files" if file.is_dir() else "no such file"
            complain(f"{file}: {what}")
    settings = _settings(config, model, out)
    try:
        wanted = plan(there, settings, began=utc("--began", began))
    except OSError as error:
        give_up(f"{error.filename} can't be read: {error.strerror}")
    to_do = wanted if again else left_to_do(wanted, out)
    for one in wanted:
        if one not in to_do:
            say(f"{one.file}: scanned before; --again scans it anew")

    def tell(one: Scanned) -> None:
        events = "1 event" if one.events == 1 else f"{one.events} events"
        say(f"{one.wanted.file}: {events}, {out / one.wanted.name}.jsonl")

    done = _scan_all(to_do, settings, tell) if to_do else []
    failed = [one for one in done if one.failure]
    if len(done) < len(to_do):
        complain(f"stopped; {len(to_do) - len(done)} files are left: scan again to go on")
    if failed or len(done) < len(to_do) or len(there) < len(files):
        raise typer.Exit(1)


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

    from stream.event_log import EventLog
    from stream.scan import plan
    from stream.score_log import read_scores
    from ui.annotate import annotate as write

    if not file.is_file():
        give_up(f"{file}: {'is a folder; give a video file' if file.is_dir() else 'no such file'}")
    if out.suffix.lower() != ".mp4":
        give_up(f"--out {out}: must end in .mp4")
    if out.resolve() == file.resolve():
        give_up(f"--out {out}: is the film itself; give another name")
    with tempfile.TemporaryDirectory(prefix="actionwatch-") as folder:
        settings = _settings(config, model, Path(folder))
        (wanted,) = plan([file], settings)
        done = _scan_all([wanted], settings, lambda one: None)
        if not done or done[0].failure:
            raise typer.Exit(1)
        predictions = [one for kept in read_scores(Path(folder)) for one, _ in kept.predictions()]
        with EventLog.open(Path(folder)) as log:
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
        except OSError as error:
            give_up(f"{out} can't be written: {error.strerror or error}")
    if not whole:
        raise typer.Exit(1)
    say(f"wrote {out}")


def _settings(config: Path | None, model: str | None, out: Path) -> Config:
    from stream.config_file import ConfigError, load_config

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
) -> list[Scanned]:
    """Scan with a progress bar; fewer come back where a signal stopped it."""
    from stream.decoding import SourceError
    from stream.log_database import EventLogError
    from stream.scan import Progress
    from stream.scan import scan as scan_films

    show_warnings()
    stop = stop_at_signals()
    whole_s = sum(one.duration_s or 0.0 for one in to_do)
    done: list[Scanned] = []
    began = time.monotonic()
    with progress_bar("seconds of film", max(1, round(whole_s))) as (bar, task):

        def show(progress: Progress) -> None:
            speed = progress.done_s / (time.monotonic() - began)
            named = ", ".join(progress.reading)
            bar.update(task, completed=progress.done_s, state=f"{speed:.1f} x  {named:.40}")

        try:
            for one in scan_films(to_do, settings, stop=stop, on_progress=show):
                done.append(one)
                if one.failure:
                    complain(one.failure)
                else:
                    tell(one)
        except (SourceError, EventLogError) as error:
            give_up(str(error))
    took_s = time.monotonic() - began
    say(f"{whole_s:.0f} s of film in {took_s:.1f} s")
    return done
