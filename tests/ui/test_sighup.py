"""SIGHUP makes a real run reload its configuration."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
CAMERA = 'cameras:\n  demo: {source: "demo:0"}\n'

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


class Run:
    """A run and its log so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.log = process, list[str]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for_line(self, part: str, *, after: int = 0) -> str:
        def found() -> list[str]:
            return [line for line in self.log[after:] if part in line]

        wait_for(lambda: bool(found()) or self.process.poll() is not None)
        assert found(), self.log
        return found()[0]

    def send_sighup(self, part: str = "configuration:") -> str:
        """Send SIGHUP; returns the log line about its result."""
        before = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for_line(part, after=before)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())


@contextmanager
def running(*arguments: str) -> Iterator[Run]:
    command = [sys.executable, "-m", "ui.cli", "run", "--no-ui", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    run = Run(process)
    try:
        run.wait_for_line(": live")
        yield run
    finally:
        run.stop()
    assert process.returncode == 0, run.log
    assert "Traceback" not in "\n".join(run.log)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("settings") / "config.yaml"
    file.write_text(CAMERA)
    return file


@pytest.fixture(scope="module")
def run(file: Path) -> Iterator[Run]:
    with running(str(file), "--data", str(file.parent / "data")) as run:
        yield run


def test_changed_file_is_applied_without_a_restart(run: Run, file: Path) -> None:
    events = "events: {threshold: 0.9}"
    file.write_text(f'{CAMERA}  door: {{source: "demo:5"}}\n{events}\nmodel: other\n')
    line = run.send_sighup()
    assert "applied: cameras.door added, events.threshold" in line
    assert "after a restart: model" in line
    run.wait_for_line("door (demo:5): live")
    file.write_text(CAMERA)
    assert "cameras.door removed, events.threshold" in run.send_sighup()


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        ("speed: 3\n", "unknown key 'speed'"),
        ("events: {threshold: 0.2, release_threshold: 0.5}\n", "must not be above threshold"),
        ("events: {threshold: 2024-13-45}\n", "month must be in 1..12"),
        ("events: [", "is not YAML"),
        ("  yard: {source: missing.mp4}\n", "missing.mp4"),
    ],
)
def test_invalid_file_is_rejected_with_a_reason(
    run: Run, file: Path, added: str, reason: str
) -> None:
    file.write_text(CAMERA + added)
    line = run.send_sighup()
    file.write_text(CAMERA)
    assert reason in line
    assert line.endswith("nothing was changed")
    assert run.send_sighup().endswith("no changes")


def test_run_without_a_file_continues_and_reports_it(tmp_path: Path) -> None:
    with running("--data", str(tmp_path / "data")) as run:
        assert "started without a configuration file" in run.send_sighup("SIGHUP:")
        assert run.process.poll() is None
