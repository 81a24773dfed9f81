"""The addresses where workers connect: a socket of this machine's user, or tcp with keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class TransportError(Exception):
    """An endpoint that can't be used. The message is one line for a person."""


def is_tcp(endpoint: str) -> bool:
    return endpoint.startswith("tcp://")


def check_for_watch(endpoint: str, *, keyed: bool) -> None:
    """Raises TransportError for an address at which strangers could take part."""
    if is_tcp(endpoint) and not keyed:
        raise TransportError(
            f"worker endpoint {endpoint} can't be used: over tcp anybody could connect without "
            "keys; make them with `actionwatch keys DIR`, and give DIR/watch.keys as worker.keys"
        )
    if not endpoint.startswith(("tcp://", "ipc://")):
        raise TransportError(
            f"worker endpoint {endpoint} can't be used; give one like tcp://0.0.0.0:5555"
        )
    _check_folder(endpoint)


def check_for_worker(endpoint: str, *, keyed: bool) -> None:
    """Raises TransportError for an address that is none, or at which a stranger could answer."""
    if is_tcp(endpoint) and not keyed:
        raise TransportError(
            f"can't connect to {endpoint} without keys; make them on the watch's machine with "
            "`actionwatch keys DIR`, copy DIR/worker.keys to this one, and give it as --keys"
        )
    if not endpoint.startswith(("tcp://", "ipc://")):
        raise TransportError(
            f"can't connect to {endpoint}; give an address like tcp://192.0.2.1:5555"
        )
    _check_folder(endpoint)


def keep_to_oneself(endpoint: str) -> None:
    """Let only this user connect to the socket of an ipc address that is bound."""
    if (path := _path(endpoint)) is not None:
        path.chmod(0o600)


def others_may_write(folder: Path) -> bool:
    """Whether others could put a file of theirs in the place of one that is in this folder."""
    if os.name == "nt":  # where these bits mean nothing
        return False
    mode = folder.stat().st_mode
    # In a folder like /tmp everybody may write, but nobody may replace what is another's.
    return bool(mode & _OTHERS_WRITE) and not mode & stat.S_ISVTX


def _check_folder(endpoint: str) -> None:
    path = _path(endpoint)
    if path is None:
        return
    if str(path).startswith("@"):
        raise TransportError(
            f"{endpoint} can't be used: everybody on this machine may connect to a name with @; "
            "give a path, like ipc:///run/user/1000/actionwatch"
        )
    try:
        open_to_others = others_may_write(path.parent)
    except OSError:  # a folder that is not there: whoever binds or connects says so
        return
    if open_to_others:
        raise TransportError(
            f"{endpoint} can't be used: others may write to the folder {path.parent}; give a path "
            f"in a folder of your own, or `chmod go-w {path.parent}`"
        )


def _path(endpoint: str) -> Path | None:
    """Of the socket; None where it has none, or one of the library's own choice."""
    path = endpoint.removeprefix("ipc://")
    return None if path in (endpoint, "*") else Path(path)
