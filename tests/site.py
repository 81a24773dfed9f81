"""A real run with its dashboard, for tests that use it as a browser or API client."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A camera that is shown but never scored, so that it leaves the processor to the test.
IDLE_CAMERA = "{source: 'demo:0', motion_gate: {min_area: 1.0, max_interval: 1h}}"


@dataclass(frozen=True)
class Site:
    """A running dashboard."""

    host: str  # with its port
    data: Path
    pid: int
    log: list[str]  # its log so far

    @property
    def page(self) -> str:
        return self.url("")

    def url(self, path: str) -> str:
        return f"http://{self.host}/{path}"

    def socket(self, path: str) -> str:
        return f"ws://{self.host}/{path}"


@contextmanager
def start_site(
    folder: Path, *options: str, config: Path = ROOT / "configs" / "demo.yaml"
) -> Iterator[Site]:
    """`actionwatch run CONFIG` with its data in `folder`/data; it must end without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    data = folder / "data"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ui.cli", "run", str(config)),
            *("--port", str(port), "--data", str(data), *options),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    ready = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)
            if "dashboard: http" in line:
                ready.set()
        ready.set()

    reader = threading.Thread(target=read_log)
    reader.start()
    try:
        assert ready.wait(180), log
        assert process.poll() is None, log
        yield Site(f"127.0.0.1:{port}", data, process.pid, log)
    finally:
        process.terminate()
        process.wait(timeout=60)
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 0, log
    assert "Traceback" not in "".join(log), log
