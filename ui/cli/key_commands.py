"""The command that creates keys for workers on other machines: worker-keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.terminal import fail, print_line


def worker_keys(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="folder for the files", show_default=False)
    ],
    worker: Annotated[str | None, typer.Option(help="name of an additional worker")] = None,
) -> None:
    """Create keys for a worker on another machine: DIR/server.keys and DIR/worker.keys.

    Existing files are never overwritten.
    """
    from stream.workers.curve_auth import SERVER_FILE, KeysError, create_keys

    try:
        created = create_keys(folder, worker)
    except KeysError as error:
        fail(str(error))
    server_file, worker_file = folder / SERVER_FILE, created[-1]
    print_line(
        f"{server_file}: set it as worker.keys in the configuration"
        if server_file in created
        else f"{server_file}: {worker} was added; restart the run"
    )
    print_line(
        f"{worker_file}: move it to the other machine, for `actionwatch worker --connect "
        f"tcp://HOST:5555 --keys {worker_file.name}`"
    )
