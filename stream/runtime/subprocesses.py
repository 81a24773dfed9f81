"""Command lines of subprocesses that run this project's modules."""

from __future__ import annotations

import sys
from pathlib import Path


def module_command(module: str, function: str = "main") -> list[str]:
    """Run a module's function in this Python; its return value is the exit code."""
    # `-m` would import modules from the current folder first.
    packages = str(Path(__file__).parents[2])
    start = f"import sys; sys.path[0] = {packages!r}; import {module}; "
    return [sys.executable, "-c", f"{start}sys.exit({module}.{function}())"]
