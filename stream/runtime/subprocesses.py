"""The command of a process of our own, run by this Python."""

from __future__ import annotations

import sys
from pathlib import Path


def python_command(module: str) -> list[str]:
    """Runs `main` of one of our modules, and ends with what that returns as exit code."""
    # `-m` would look for modules in the current folder first, whatever lies there.
    packages = str(Path(__file__).parents[2])
    start = f"import sys; sys.path[0] = {packages!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", start]
