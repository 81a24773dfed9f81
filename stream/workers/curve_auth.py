"""CURVE key files for workers over tcp: one for the server, and one for each worker.

A file has one key of 40 characters per line: `secret` and `public` are the owner's key pair.
`server` is the server's public key in a worker's file, and `worker NAME` a worker's public key in
the server's file.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zmq import curve_keypair, curve_public
from zmq.utils import z85

from stream.workers.endpoint import TransportError, others_may_write

SERVER_FILE = "server.keys"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_ROLE = re.compile(rf"secret|public|server|worker {_NAME}")
_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")

_SERVER_TEMPLATE = """\
# The keys of the server: set worker.keys to this file in its YAML. Keep it secret.
# Each `worker` may connect. To revoke one, delete its line and restart the server.
secret {secret}
public {public}
worker {name} {worker}
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


def server_keys(file: Path | None) -> ServerKeys | None:
    """Read the server's key file, if one is given. Raises KeysError for an invalid file."""
    if file is None:
        return None
    found = _read(file)
    if "server" in found:
        raise KeysError(f"{file} is the file of a worker; the server needs {SERVER_FILE}")
    workers = {key: role.split()[1] for role, key in found.items() if role.startswith("worker ")}
    return ServerKeys(file, found["secret"], found["public"], workers)


def worker_keys(file: Path | None) -> WorkerKeys | None:
    """Read a worker's key file, if one is given. Raises KeysError for an invalid file."""
    if file is None:
        return None
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
    if worker is None and server_file.exists():
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
        if server_file.exists():
            _add_worker(server_file, worker_file, name)
            return (worker_file,)
        _create_both(server_file, worker_file, name)
    except OSError as error:
        raise KeysError(f"{error.filename or folder} can't be written: {error.strerror}") from error
    return server_file, worker_file


def _create_both(server_file: Path, worker_file: Path, name: str) -> None:
    public, secret = _key_pair()
    worker_public, worker_secret = _key_pair()
    text = _WORKER_TEMPLATE.format(
        name=name, secret=worker_secret, public=worker_public, server=public
    )
    _write_secret(worker_file, text)
    try:
        text = _SERVER_TEMPLATE.format(
            secret=secret, public=public, name=name, worker=worker_public
        )
        _write_secret(server_file, text)
    except OSError:
        worker_file.unlink()
        raise


def _add_worker(server_file: Path, worker_file: Path, name: str) -> None:
    known = server_keys(server_file)
    assert known is not None
    if name in known.workers.values():
        raise KeysError(
            f"{server_file} has a worker {name} already; delete its line, or use another name"
        )
    public, secret = _key_pair()
    _write_secret(
        worker_file,
        _WORKER_TEMPLATE.format(name=name, secret=secret, public=public, server=known.public),
    )
    try:
        ended = server_file.read_bytes().endswith(b"\n")
        # In place, so that the owner of the file stays the same.
        with server_file.open("a", encoding="utf-8") as text:
            text.write(f"{'' if ended else chr(10)}worker {name} {public}\n")
    except OSError:
        worker_file.unlink()
        raise


def _key_pair() -> tuple[str, str]:
    """A new public key and its secret."""
    public, secret = curve_keypair()
    return public.decode(), secret.decode()


def _write_secret(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


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
    if not _KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == 32
    except (ValueError, struct.error):  # valid characters, but the number is too large
        return False
