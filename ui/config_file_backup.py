"""A file that is replaced whole or not at all, with what it was kept beside it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

_MOST_KEPT = 10


class FileError(OSError):
    """A file that can't be replaced. The message is one line for a person."""


@contextmanager
def replaced(file: Path, text: str, *, now_utc: datetime | None = None) -> Iterator[None]:
    """Put `text` into a file when the body is done, or leave all as it was if that raises.

    Mode and owner stay. What the file was is FILE.bak-TIME then; the last ten of those are kept.
    Raises FileError before the body where the folder can't be written to.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        _write(new, text, like=file)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise FileError(f"{file} can't be written: {error.strerror or error}") from error
    try:
        yield
        moment = now_utc or datetime.now(timezone.utc)
        try:
            _keep(file, moment)
            new.replace(file)
        except OSError as error:
            raise FileError(
                f"what was chosen is in force, but {file} can't be replaced: "
                f"{error.strerror or error}"
            ) from error
    finally:
        with suppress(OSError):
            new.unlink()
    with suppress(OSError):
        for old in _kept(file)[:-_MOST_KEPT]:
            old.unlink()


def _write(new: Path, text: str, *, like: Path) -> None:
    known = like.stat()
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(text.encode())
        opened.flush()
        os.fsync(opened.fileno())
    if hasattr(os, "chown"):
        with suppress(OSError):  # of another user's file only root can do that
            os.chown(new, known.st_uid, known.st_gid)
    new.chmod(known.st_mode & 0o7777)


def _keep(file: Path, moment: datetime) -> None:
    name = f"{file.name}.bak-{moment:%Y%m%dT%H%M%SZ}"
    old, number = file.with_name(name), 1
    while old.exists():
        number += 1
        old = file.with_name(f"{name}.{number}")
    try:
        os.link(file, old)  # so that there is a file at any moment
    except OSError:  # not on every disk
        shutil.copy2(file, old)


def _kept(file: Path) -> list[Path]:
    pattern = re.compile(re.escape(file.name) + r"\.bak-(\d{8}T\d{6}Z)(?:\.(\d+))?")
    found = [(pattern.fullmatch(one.name), one) for one in file.parent.iterdir()]
    kept = [(match[1], int(match[2] or 1), one) for match, one in found if match]
    return [one for _, _, one in sorted(kept)]
