"""The keys of workers over tcp: a file for the watch, and one for each worker that it lets in.

A file has a line for each key, of 40 characters: `secret` and `public` are its owner's own, `watch`
is the watch's public key in a worker's file, `worker NAME` a worker's public key in the watch's.
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

WATCH_FILE = "watch.keys"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_WHAT = re.compile(rf"secret|public|watch|worker {_NAME}")
_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")

_FOR_WATCH = """\
# The keys of a watch: name this file as worker.keys in its YAML. Keep it to yourself.
# Each `worker` may connect. To shut one out, delete its line and start the watch anew.
secret {secret}
public {public}
worker {name} {worker}
"""
_FOR_WORKER = """\
# The keys of worker {name}: `actionwatch worker --connect tcp://HOST:5555 --keys THIS_FILE`.
# Move it to the worker's machine, and keep it to yourself.
secret {secret}
public {public}
watch {watch}
"""


class KeysError(TransportError):
    """Keys that can't be used or made. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class WatchKeys:
    """What a watch needs to let workers in."""

    file: Path
    secret: str = field(repr=False)
    public: str
    workers: Mapping[str, str]  # names by public key


@dataclass(frozen=True, slots=True)
class WorkerKeys:
    """What a worker needs to come in."""

    file: Path
    secret: str = field(repr=False)
    public: str
    watch: str  # its public key


def watch_keys(file: Path | None) -> WatchKeys | None:
    """Read the watch's file, if there is to be one. Raises KeysError, naming it, for a mistake."""
    if file is None:
        return None
    found = _read(file)
    if "watch" in found:
        raise KeysError(f"{file} is the file of a worker; the watch needs {WATCH_FILE}")
    workers = {key: what.split()[1] for what, key in found.items() if what.startswith("worker ")}
    return WatchKeys(file, found["secret"], found["public"], workers)


def worker_keys(file: Path | None) -> WorkerKeys | None:
    """Read a worker's file, if there is to be one. Raises KeysError, naming it, for a mistake."""
    if file is None:
        return None
    found = _read(file)
    if "watch" not in found:
        raise KeysError(
            f"{file} has no line with the watch's key; give the file that `actionwatch keys` "
            "made for the worker, and keep the watch's on the watch's machine"
        )
    return WorkerKeys(file, found["secret"], found["public"], found["watch"])


def make(folder: Path, worker: str | None = None) -> tuple[Path, ...]:
    """Write keys for a worker into a folder, and the watch's if they are not there. What was made.

    `worker` is its name; without one it is the first, "worker". Never overwrites: raises KeysError.
    """
    watch_file, name = folder / WATCH_FILE, worker or "worker"
    worker_file = folder / f"{name}.keys"
    if not re.fullmatch(_NAME, name) or name == "watch":
        raise KeysError(
            f"{name!r} can't be a worker's name: letters, digits, dots, dashes, underscores, "
            "and not watch"
        )
    if worker is None and watch_file.exists():
        raise KeysError(f"{watch_file} is there already; --worker NAME adds another worker to it")
    if worker_file.exists():
        raise KeysError(f"{worker_file} is there already; give the worker another name")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if others_may_write(folder):
            raise KeysError(
                f"others may write to {folder}; give a folder of your own, or `chmod go-w {folder}`"
            )
        if watch_file.exists():
            _add(watch_file, worker_file, name)
            return (worker_file,)
        _make_both(watch_file, worker_file, name)
    except OSError as error:
        raise KeysError(f"{error.filename or folder} can't be written: {error.strerror}") from error
    return watch_file, worker_file


def _make_both(watch_file: Path, worker_file: Path, name: str) -> None:
    public, secret = _pair()
    own, worker_secret = _pair()
    _put(worker_file, _FOR_WORKER.format(name=name, secret=worker_secret, public=own, watch=public))
    try:
        _put(watch_file, _FOR_WATCH.format(secret=secret, public=public, name=name, worker=own))
    except OSError:
        worker_file.unlink()
        raise


def _add(watch_file: Path, worker_file: Path, name: str) -> None:
    known = watch_keys(watch_file)
    assert known is not None
    if name in known.workers.values():
        raise KeysError(
            f"{watch_file} has a worker {name} already; delete its line, or take another name"
        )
    public, secret = _pair()
    _put(
        worker_file,
        _FOR_WORKER.format(name=name, secret=secret, public=public, watch=known.public),
    )
    try:
        ended = watch_file.read_bytes().endswith(b"\n")
        with watch_file.open("a", encoding="utf-8") as text:  # in place: its owner stays the same
            text.write(f"{'' if ended else chr(10)}worker {name} {public}\n")
    except OSError:
        worker_file.unlink()
        raise


def _pair() -> tuple[str, str]:
    """A new public key and its secret."""
    public, secret = curve_keypair()
    return public.decode(), secret.decode()


def _put(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _read(file: Path) -> dict[str, str]:
    """The keys of a file by what they are; always with the pair of its owner."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1_000_000)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise KeysError(
            f"{file} can't be read: {reason}; `actionwatch keys` makes such files"
        ) from error
    # As ssh has it: a secret that others could read is none, and a warning would go unread.
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name != "nt":
        raise KeysError(f"{file} holds a secret that others may read; `chmod 600 {file}`")
    found = _parsed(file, text)
    for what in ("secret", "public"):
        if what not in found:
            raise KeysError(f"{file} has no line `{what} KEY`; `actionwatch keys` makes such files")
    if curve_public(found["secret"].encode()).decode() != found["public"]:
        raise KeysError(f"{file}: secret and public don't belong together; copy the file anew")
    return found


def _parsed(file: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *words, key = line.split()
        what = " ".join(words)
        if not _WHAT.fullmatch(what) or not _is_key(key):  # not shown: it may be the secret
            raise KeysError(
                f"{file} line {number} must be secret, public, watch or `worker NAME`, "
                "and a key of 40 characters"
            )
        if what in found or key in found.values():
            raise KeysError(f"{file} line {number} is there twice; delete one of the two")
        found[what] = key
    return found


def _is_key(text: str) -> bool:
    if not _KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == 32
    except (ValueError, struct.error):  # characters that are right, but too large a number
        return False
