"""The command line, in a process of its own or in this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from ui.cli.main import app

ROOT = Path(__file__).parents[1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "ui.cli", *map(str, arguments)]


def actionwatch(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a new process, in the folder of the project."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def invoke(*arguments: object) -> Result:
    """The command in this process: quick where torch is imported already."""
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="actionwatch")
