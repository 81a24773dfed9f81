"""Replaces a configuration file atomically and stores backups beside it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from stream.runtime.errors import reason_of
from stream.runtime.files import sync_and_rename

_MAX_BACKUPS = 10


class FileError(OSError):
    """A file that can't be replaced. The message is one line for the user."""


@contextmanager
def replace_with_backup(
    file: Path, text: str, *, now_utc: datetime | None = None
) -> Iterator[None]:
    """Replace a file by `text` after the body; leave it unchanged if the body raises.

    Preserves mode and owner. The old content becomes FILE.bak-TIME; the last ten are retained.
    Raises FileError before the body if the folder is not writable.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        try:
            _write(new, text, like=file)
        except OSError as error:
            raise FileError(f"{file} can't be written: {reason_of(error)}") from error
        yield
        try:
            _back_up(file, now_utc or datetime.now(timezone.utc))
            sync_and_rename(new, file)
        except OSError as error:
            raise FileError(
                f"the new configuration is active, but {file} can't be replaced: {reason_of(error)}"
            ) from error
    finally:
        with suppress(OSError):
            new.unlink()
    with suppress(OSError):
        for old in _backups(file)[:-_MAX_BACKUPS]:
            old.unlink()


def _write(new: Path, text: str, *, like: Path) -> None:
    like_stat = like.stat()
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(text.encode())
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root may change the owner
            os.chown(new, like_stat.st_uid, like_stat.st_gid)
    new.chmod(like_stat.st_mode & 0o7777)


def _back_up(file: Path, backup_utc: datetime) -> None:
    name = f"{file.name}.bak-{backup_utc:%Y%m%dT%H%M%SZ}"
    old, number = file.with_name(name), 1
    while old.exists():
        number += 1
        old = file.with_name(f"{name}.{number}")
    try:
        os.link(file, old)  # the file exists at any moment
    except OSError:  # no hard links on this file system
        shutil.copy2(file, old)


def _backups(file: Path) -> list[Path]:
    pattern = re.compile(re.escape(file.name) + r"\.bak-(\d{8}T\d{6}Z)(?:\.(\d+))?")
    found = [(pattern.fullmatch(one.name), one) for one in file.parent.iterdir()]
    backups = [(match[1], int(match[2] or 1), one) for match, one in found if match]
    return [one for _, _, one in sorted(backups)]
