"""Models on this machine: the embedded ones, and folders. Imports no torch, so that it is fast."""

from __future__ import annotations

import contextlib
from pathlib import Path

EMBEDDED = Path(__file__).parent / "weights"


def local_folder(name: str | Path) -> Path | None:
    """The folder of an embedded model or of a path; None for a name of the Hugging Face hub."""
    if isinstance(name, str) and name in (known := embedded()):
        return known[name]
    path = existing_path(name)
    return path if path and path.is_dir() else None


def embedded() -> dict[str, Path]:
    """The folders of the embedded models by name."""
    return {path.parent.name: path.parent for path in EMBEDDED.glob("*/config.json")}


def existing_path(name: str | Path) -> Path | None:
    """The file or folder of this name, if there is one."""
    with contextlib.suppress(OSError, RuntimeError):  # no valid path: too long, or an unknown ~user
        path = Path(name).expanduser()
        if path.exists():
            return path
    return None
