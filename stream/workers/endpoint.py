"""Worker endpoints: an ipc socket of this user, or tcp with keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stream.runtime.errors import UserError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class TransportError(UserError):
    """An endpoint that can't be used. The message is one line for the user."""


def is_tcp(endpoint: str) -> bool:
    return endpoint.startswith("tcp://")


def check_bind_endpoint(endpoint: str, *, keyed: bool) -> None:
    """Raises TransportError for an address to which an unauthorized client could connect."""
    if is_tcp(endpoint) and not keyed:
        raise TransportError(
            f"worker endpoint {endpoint} can't be used: without keys anybody could connect over "
            "tcp; create them with `actionwatch worker-keys DIR` and set worker.keys to "
            "DIR/server.keys"
        )
    _check_address(
        endpoint, f"worker endpoint {endpoint} can't be used; give one like tcp://0.0.0.0:5555"
    )


def check_connect_endpoint(endpoint: str, *, keyed: bool) -> None:
    """Raises TransportError for an invalid address, or one where another user could listen."""
    if is_tcp(endpoint) and not keyed:
        raise TransportError(
            f"can't connect to {endpoint} without keys; create them on the server with "
            "`actionwatch worker-keys DIR`, copy DIR/worker.keys here, and give it as --keys"
        )
    _check_address(
        endpoint, f"can't connect to {endpoint}; give an address like tcp://192.0.2.1:5555"
    )


def restrict_to_owner(endpoint: str) -> None:
    """Let only this user connect to the socket of a bound ipc address."""
    if (path := _path(endpoint)) is not None:
        path.chmod(0o600)


def others_may_write(folder: Path) -> bool:
    """Whether other users could replace a file in this folder."""
    if os.name == "nt":  # where these bits mean nothing
        return False
    mode = folder.stat().st_mode
    # In a sticky folder like /tmp everybody may write, but only a file's owner may replace it.
    return bool(mode & _OTHERS_WRITE) and not mode & stat.S_ISVTX


def _check_address(endpoint: str, error: str) -> None:
    if not endpoint.startswith(("tcp://", "ipc://")):
        raise TransportError(error)
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
    except OSError:  # a missing folder is reported by bind or connect
        return
    if open_to_others:
        raise TransportError(
            f"{endpoint} can't be used: other users may write to {path.parent}; give a path "
            f"in a folder of your own, or `chmod go-w {path.parent}`"
        )


def _path(endpoint: str) -> Path | None:
    """The path of an ipc socket; None for tcp, or where zmq chooses it."""
    path = endpoint.removeprefix("ipc://")
    return None if path in (endpoint, "*") else Path(path)
