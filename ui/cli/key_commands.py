"""The command that makes keys for workers on other machines: keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.terminal import give_up, say


def keys(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="folder for the files", show_default=False)
    ],
    worker: Annotated[
        str | None, typer.Option(help="name of another worker that the watch is to let in")
    ] = None,
) -> None:
    """Make keys for a worker on another machine: DIR/watch.keys and DIR/worker.keys.

    What is there is never overwritten.
    """
    from stream.workers.curve_auth import WATCH_FILE, KeysError, make

    try:
        made = make(folder, worker)
    except KeysError as error:
        give_up(str(error))
    watch_file, worker_file = folder / WATCH_FILE, made[-1]
    say(
        f"{watch_file}: give it to the watch as worker.keys"
        if watch_file in made
        else f"{watch_file}: knows {worker} too; start the watch anew"
    )
    say(
        f"{worker_file}: move it to the other machine, for `actionwatch worker --connect "
        f"tcp://HOST:5555 --keys {worker_file.name}`"
    )
