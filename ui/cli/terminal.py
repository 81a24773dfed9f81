"""What commands tell the person at the terminal: progress, notes, and one line for a mistake."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_MISTAKE = 2  # exit code


def give_up(reason: str) -> NoReturn:
    """For a mistake of the person: one line, exit code 2."""
    complain(reason)
    raise typer.Exit(_MISTAKE)


def complain(reason: str) -> None:
    """One line on the standard error."""
    say(f"actionwatch: {' '.join(reason.split())}", sys.stderr)


def say(text: str, to: TextIO | None = None) -> None:
    """A line on the standard output, or elsewhere.

    By way of `sys.stdout`, which typer's own echo passes by: while a progress bar is shown, it puts
    what is written there above the bar.
    """
    print(text, file=to or sys.stdout, flush=True)


def show_warnings() -> None:
    """Print only what our modules and other packages warn of; the command tells the rest."""
    logging.basicConfig(level=logging.WARNING, format="actionwatch: %(message)s")
    # Of files the command tells itself.
    logging.getLogger("stream.capture.camera").setLevel(logging.ERROR)


def utc(option: str, text: str | None) -> datetime | None:
    """The moment that a person gave with an option, in UTC unless it says otherwise."""
    if text is None:
        return None
    from stream.sinks.event_log.rows import moment

    try:
        return moment(text)
    except ValueError:
        give_up(f"{option} {text}: must be a time like 2026-01-31 or 2026-01-31T08:00:00Z")


def stop_at_signals() -> threading.Event:
    """An event that Ctrl+C, and whoever ends this process politely, set."""
    stopped = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if not hasattr(signal, name):
            continue
        number = getattr(signal, name)
        if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
            continue  # started by nohup, to outlive its terminal
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def silence_decoders() -> None:
    """Keep OpenCV and ffmpeg from telling what we tell better; they also print passwords.

    They read these variables once, when they are loaded.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on the standard error, with a field `state` for a few words."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would not reach its file
    )
    with bar:
        yield bar, bar.add_task("", total=total, state="")
