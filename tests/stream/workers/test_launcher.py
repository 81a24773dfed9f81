from __future__ import annotations

import subprocess
from importlib.metadata import EntryPoints

import pytest

from stream.config.config import WorkerConfig
from stream.workers import launcher
from stream.workers.launcher import LAUNCHERS, LaunchError, WorkerSetup, worker_command

SETUP = WorkerSetup("ipc:///tmp/workers", "motion", WorkerConfig(precision="fp32"))


def test_worker_program_is_the_one_of_the_entry_point() -> None:
    command = worker_command(SETUP, 1)
    for option in ("--connect=ipc:///tmp/workers", "--model=motion", "--precision=fp32"):
        assert option in command
    assert {"--name=local-1", "--number=1"} <= {*command}
    help_text = subprocess.run([*command[:3], "--help"], capture_output=True, text=True).stdout
    assert "actionwatch worker" in help_text


def test_missing_entry_point_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(LaunchError, match=r"^no worker program .*; reinstall Actionwatch.*$"):
        LAUNCHERS["subprocess"](SETUP).launch(0)
