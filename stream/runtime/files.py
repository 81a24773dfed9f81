"""A lock on a file or folder that ends with the process, however it ends."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

THERE_ARE = fcntl is not None


def take(opened: IO[str] | int) -> bool:
    """Take the lock of an open file, or of a descriptor, until it is closed; False if held.

    Where the system has no such locks nothing is ever held. Raises OSError where the file system
    has none.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
