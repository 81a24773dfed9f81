"""Credentials for the dashboard and for workers: password, token, worker-keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ui.cli.terminal import fail, print_error, print_line

_MIN_CHARS = 8


def password() -> None:
    """Ask for a password and print its hash for the configuration."""
    from ui.web.security.access import hash_password

    entered = _read_password()
    if len(entered) < _MIN_CHARS:
        fail(f"a password needs at least {_MIN_CHARS} characters, got {len(entered)}")
    print_line(hash_password(entered))
    print_error("put this into the configuration: dashboard.users.NAME.password")


def token() -> None:
    """Create an API token and its hash for the configuration."""
    from ui.web.security.access import new_token

    created, hashed = new_token()
    print_line(f"token: {created}")
    print_line(f"hash: {hashed}")
    print_error("clients send the token, which is not shown again, as Authorization: Bearer aw_...")
    print_error("put the hash into the configuration: dashboard.tokens.NAME.hash")


def worker_keys(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="folder for the files", show_default=False)
    ],
    worker: Annotated[str | None, typer.Option(help="name of an additional worker")] = None,
) -> None:
    """Create keys for a worker on another machine: DIR/server.keys and DIR/worker.keys.

    Existing files are never overwritten.
    """
    from stream.workers.curve_auth import SERVER_FILE, create_keys

    created = create_keys(folder, worker)
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


def _read_password() -> str:
    """Prompt for the password twice; from a pipe, read the first line."""
    if sys.stdin.isatty():
        return str(
            typer.prompt("Password", hide_input=True, confirmation_prompt="Repeat", err=True)
        )
    return sys.stdin.readline().rstrip("\r\n")
