"""What commands print: progress bars, lines, and one-line errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

from stream.runtime.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

USAGE_ERROR = 2  # exit code


class CommandGroup(TyperGroup):
    """Prints a UserError of a command as one line, and exits with code 2."""

    def invoke(self, ctx: Any) -> Any:
        silence_decoders()
        try:
            return super().invoke(ctx)
        except UserError as error:
            fail(str(error))


def fail(reason: str, code: int = USAGE_ERROR) -> NoReturn:
    """Print an error as one line, and exit."""
    print_error(reason)
    raise typer.Exit(code)


def print_error(reason: str) -> None:
    """Print one line to standard error."""
    print(f"actionwatch: {' '.join(reason.split())}", file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print a line to standard output.

    Not by typer.echo: a progress bar redirects `sys.stdout`, and prints lines above the bar.
    """
    print(text, flush=True)


def count(number: int, noun: str) -> str:
    """A number with its noun, like "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_warnings() -> None:
    """Log warnings only; the command prints the rest itself."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_unknown_to_the_command)
    logging.basicConfig(
        level=logging.WARNING, format="actionwatch: %(message)s", handlers=[handler]
    )


def _is_unknown_to_the_command(record: logging.LogRecord) -> bool:
    """The command reports problems of video files itself."""
    return record.name != "stream.capture.camera" or record.levelno >= logging.ERROR


def prepare_torch() -> None:
    """Configure the log, and the threads of torch: call it before the first import of torch."""
    from stream.runtime.logs import configure_logging
    from stream.runtime.processes import limit_openmp_spin

    configure_logging()
    limit_openmp_spin()


@contextmanager
def stop_at_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; restores their handlers afterwards."""
    stopped = threading.Event()
    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            continue  # ignored if started by nohup, to outlive its terminal
        before[number] = signal.signal(number, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def silence_decoders() -> None:
    """Silence OpenCV and ffmpeg: we report errors ourselves, and they also print passwords.

    They read these variables once, when they are imported.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class ProgressBar:
    """The task of a progress bar of rich, with a text field `state`."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, by: float = 1.0) -> None:
        self._progress.advance(self._task, by)

    def update(self, **fields: Any) -> None:
        self._progress.update(self._task, **fields)


@contextmanager
def progress_bar(unit: str, total: int, *, visible: bool = True) -> Iterator[ProgressBar]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console,
        disable=not (visible and console.is_terminal),
        redirect_stdout=sys.stdout.isatty(),  # a redirected stdout must stay as it is
    )
    with bar:
        yield ProgressBar(bar, bar.add_task("", total=total, state=""))
