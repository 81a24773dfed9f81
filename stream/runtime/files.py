"""Files that are replaced as a whole, and locks that end with the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

PART = ".part"  # suffix of unfinished files


@contextmanager
def replacing(file: Path, *, shared: bool = False, durable: bool = True) -> Iterator[Path]:
    """The path of a temporary file to write, which replaces `file` if the body succeeds.

    It is FILE.part, or with `shared`, if several threads or processes may write `file` at once, a
    name of this thread; it is deleted if the body fails. `file` is complete at any moment, and with
    `durable` even after a power failure. Raises OSError.
    """
    writer = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    part = file.with_name(f"{file.name}{writer}{PART}")
    try:
        yield part
        if durable:
            sync_and_rename(part, file)
        else:
            part.replace(file)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_atomically(
    file: Path, content: bytes | memoryview | str, *, private: bool = False
) -> None:
    """Replace a file durably; text is stored as UTF-8. Only its owner can read a private one.

    Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(file) as part:
        if private:
            part.unlink(missing_ok=True)  # an old one may have other permissions
            part.touch(0o600, exist_ok=False)
        part.write_bytes(data)


def sync_and_rename(part: Path, file: Path) -> None:
    """Replace `file` by a complete file, durably. Raises OSError."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(file)
    if os.name == "posix":  # other systems can't open folders
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock a file, which is created if needed, or a folder for the body.

    False, at once, if it is locked already. The lock ends with the process, however that ends.
    Windows can't lock folders. Raises OSError on a file system without locks.
    """
    if path.is_dir() and os.name != "posix":
        yield True
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        yield lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)


def is_locked(file: Path) -> bool:
    """Whether another holder has locked a file; needs only the right to read it."""
    with suppress(OSError), file.open("rb") as opened:
        return not lock_descriptor(opened.fileno(), blocking=False)
    return False
