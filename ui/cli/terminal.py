"""Terminal output of the commands: progress bars, lines, and one-line errors."""

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

_USAGE_ERROR = 2  # exit code


def fail(reason: str) -> NoReturn:
    """Print a user error as one line, and exit with code 2."""
    print_error(reason)
    raise typer.Exit(_USAGE_ERROR)


def print_error(reason: str) -> None:
    """Print one line to standard error."""
    print_line(f"actionwatch: {' '.join(reason.split())}", sys.stderr)


def print_line(text: str, to: TextIO | None = None) -> None:
    """Print a line to standard output, or to another stream.

    Uses `sys.stdout`, unlike typer.echo: a progress bar redirects it, and prints lines above the
    bar.
    """
    print(text, file=to or sys.stdout, flush=True)


def show_warnings() -> None:
    """Log warnings only; the command prints the rest itself."""
    logging.basicConfig(level=logging.WARNING, format="actionwatch: %(message)s")
    # The command reports problems of video files itself.
    logging.getLogger("stream.capture.camera").setLevel(logging.ERROR)


def utc(option: str, text: str | None) -> datetime | None:
    """Parse the time of an option; UTC unless it has an offset. Exits if it is invalid."""
    if text is None:
        return None
    from stream.sinks.event_log.rows import moment

    try:
        return moment(text)
    except ValueError:
        fail(f"{option} {text}: must be a time like 2026-01-31 or 2026-01-31T08:00:00Z")


def stop_at_signals() -> threading.Event:
    """An event that SIGINT, SIGTERM and SIGHUP set."""
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
    """Silence OpenCV and ffmpeg: we report errors ourselves, and they also print passwords.

    They read these variables once, when they are imported.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on standard error, with a text field `state`."""
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
        redirect_stdout=sys.stdout.isatty(),  # a redirected stdout must stay as it is
    )
    with bar:
        yield bar, bar.add_task("", total=total, state="")
