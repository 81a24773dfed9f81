"""File locks that the system releases when the process ends."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCKS_SUPPORTED = fcntl is not None


def try_lock(opened: IO[str] | int) -> bool:
    """Lock an open file or descriptor until it is closed; False if it is locked already.

    Always True on a system without such locks. Raises OSError on a file system without locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
