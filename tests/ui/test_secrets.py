"""Camera passwords appear in no output, page, file or command line of a run."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.rtsp import Server, gstreamer
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
_PASSWORD, _WRONG = "s3cret/w@rd", "n0t-the-w0rd"


def fetch(host: str, path: str) -> str:
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def command_lines(parent: int) -> str:
    """Command lines of a process and its children, which every local user can read."""
    lines = []
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "status").read_text()
            if folder.name == str(parent) or f"PPid:\t{parent}\n" in status:
                lines.append((folder / "cmdline").read_text())
        except OSError:  # no process, or it has exited
            continue
    return "\n".join(lines)


@gstreamer
def test_passwords_appear_in_no_output_of_a_run(
    serve_rtsp: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve_rtsp("--password", _PASSWORD)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "wrong").write_text(_WRONG)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
cameras:
  right:
    source: rtsp://viewer:${{RIGHT_PASSWORD}}@127.0.0.1:{server.port}/live
  wrong:
    source: rtsp://viewer:${{file:{tmp_path / "wrong"}}}@127.0.0.1:{server.port}/live
  nobody:
    source: rtsp://viewer:${{RIGHT_PASSWORD}}@127.0.0.1:9/live
data: {tmp_path / "data"}
dashboard: {{port: {host.partition(":")[2]}}}
"""
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "ui.cli", "run", str(config), "--duration", "25"],
        cwd=ROOT,
        env={**os.environ, "RIGHT_PASSWORD": _PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: '"not_live":["wrong","nobody"]' in fetch(host, "/healthz"))
        pages = "".join(fetch(host, path) for path in ("/healthz", "/metrics", "/", "/config"))
        arguments = command_lines(run.pid)
        output, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "it rejects this user and password" in output
    assert "right (rtsp://127.0.0.1" in output
    everything = [pages, arguments, output]
    everything += [
        file.read_bytes().decode("latin-1")
        for file in (tmp_path / "data").rglob("*")
        if file.is_file()
    ]
    assert len(everything) >= 4
    for text in everything:
        for secret in (_PASSWORD, _WRONG, "s3cret%2Fw%40rd", "viewer"):
            assert secret not in text
