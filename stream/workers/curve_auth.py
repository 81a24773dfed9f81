"""CURVE key files for workers over tcp: one for the server, and one for each worker.

A file has one key of 40 characters per line: `secret` and `public` are the owner's key pair.
`server` is the server's public key in a worker's file, and `worker NAME` a worker's public key in
the server's file. `zmq.auth` can't read and write such files: its certificates have no names and
no server's key, and other users may read its new secrets.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from zmq import curve_keypair, curve_public
from zmq.utils import z85

from stream.runtime.errors import reason_of
from stream.workers.endpoint import TransportError, others_may_write

SERVER_FILE = "server.keys"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_ROLE = re.compile(rf"secret|public|server|worker {_NAME}")

_SERVER_TEMPLATE = """\
# The keys of the server: set worker.keys to this file in its YAML. Keep it secret.
# Each `worker` may connect. To revoke one, delete its line and restart the server.
secret {secret}
public {public}
"""
_WORKER_TEMPLATE = """\
# The keys of worker {name}: `actionwatch worker --connect tcp://HOST:5555 --keys THIS_FILE`.
# Move this file to the worker's machine, and keep it secret.
secret {secret}
public {public}
server {server}
"""


class KeysError(TransportError):
    """Keys that can't be used or created. The message is one line for the user."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The server's key pair and the public keys of its workers."""

    file: Path
    secret: str = field(repr=False)
    public: str
    workers: Mapping[str, str]  # names by public key


@dataclass(frozen=True, slots=True)
class WorkerKeys:
    """A worker's key pair and the public key of its server."""

    file: Path
    secret: str = field(repr=False)
    public: str
    server: str  # its public key


def server_keys(file: Path) -> ServerKeys:
    """Read the server's key file. Raises KeysError for an invalid file."""
    found = _read(file)
    if "server" in found:
        raise KeysError(f"{file} is the file of a worker; the server needs {SERVER_FILE}")
    workers = {key: role.split()[1] for role, key in found.items() if role.startswith("worker ")}
    return ServerKeys(file, found["secret"], found["public"], workers)


def worker_keys(file: Path) -> WorkerKeys:
    """Read a worker's key file. Raises KeysError for an invalid file."""
    found = _read(file)
    if "server" not in found:
        raise KeysError(
            f"{file} has no line with the server's key; give the file that "
            "`actionwatch worker-keys` created for the worker; the server's file stays on the "
            "server"
        )
    return WorkerKeys(file, found["secret"], found["public"], found["server"])


def create_keys(folder: Path, worker: str | None = None) -> tuple[Path, ...]:
    """Create key files for a worker, and for the server if it has none. Returns the new files.

    Without a name the worker is the first one, "worker". Raises KeysError instead of overwriting.
    """
    server_file, name = folder / SERVER_FILE, worker or "worker"
    worker_file = folder / f"{name}.keys"
    if not re.fullmatch(_NAME, name) or name == "server":
        raise KeysError(
            f"{name!r} can't be a worker's name: letters, digits, dots, dashes, underscores, "
            "and not server"
        )
    is_first = not server_file.exists()
    if worker is None and not is_first:
        raise KeysError(f"{server_file} exists already; --worker NAME adds another worker to it")
    if worker_file.exists():
        raise KeysError(f"{worker_file} exists already; give the worker another name")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if others_may_write(folder):
            raise KeysError(
                f"other users may write to {folder}; use a folder of your own, or "
                f"`chmod go-w {folder}`"
            )
        with ExitStack() as undo:
            if is_first:
                _write_secret(server_file, _SERVER_TEMPLATE.format(**_key_pair()))
                undo.callback(server_file.unlink)
            server, keys = server_keys(server_file), _key_pair()
            if name in server.workers.values():
                raise KeysError(
                    f"{server_file} has a worker {name} already; delete its line, or use another "
                    "name"
                )
            text = _WORKER_TEMPLATE.format(name=name, server=server.public, **keys)
            _write_secret(worker_file, text)
            undo.callback(worker_file.unlink)
            _append_line(server_file, f"worker {name} {keys['public']}")
            undo.pop_all()
    except OSError as error:
        raise KeysError(
            f"{error.filename or folder} can't be written: {reason_of(error)}"
        ) from error
    return (server_file, worker_file) if is_first else (worker_file,)


def _key_pair() -> dict[str, str]:
    """A new public key and its secret."""
    public, secret = curve_keypair()
    return {"public": public.decode(), "secret": secret.decode()}


def _write_secret(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _append_line(file: Path, line: str) -> None:
    """Append in place, so that the owner of the file stays the same."""
    ended = file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{line}\n" if ended else f"\n{line}\n")


def _read(file: Path) -> dict[str, str]:
    """The keys of a file by role, including the key pair of its owner."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1_000_000)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise KeysError(
            f"{file} can't be read: {reason}; `actionwatch worker-keys` creates such files"
        ) from error
    # Like ssh, reject a secret that other users can read; nobody would read a warning.
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name != "nt":
        raise KeysError(f"{file} holds a secret that other users may read; `chmod 600 {file}`")
    found = _parsed(file, text)
    for role in ("secret", "public"):
        if role not in found:
            raise KeysError(
                f"{file} has no line `{role} KEY`; `actionwatch worker-keys` creates such files"
            )
    if curve_public(found["secret"].encode()).decode() != found["public"]:
        raise KeysError(f"{file}: secret and public are not a pair; copy the file again")
    return found


def _parsed(file: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *words, key = line.split()
        role = " ".join(words)
        if not _ROLE.fullmatch(role) or not _is_key(key):  # not printed: it may be the secret
            raise KeysError(
                f"{file} line {number} must be secret, public, server or `worker NAME`, "
                "and a key of 40 characters"
            )
        if role in found or key in found.values():
            raise KeysError(f"{file} line {number} is a duplicate; delete one of the two")
        found[role] = key
    return found


def _is_key(text: str) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (ValueError, KeyError, struct.error):  # a wrong length, character or number
        return False
