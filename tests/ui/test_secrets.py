"""Passwords of cameras stay out of everything that a run writes, shows, or is called with."""

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


def fetched(host: str, path: str) -> str:
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def command_lines(parent: int) -> str:
    """Of a process and its children, as anybody on the machine can see them."""
    seen = []
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "status").read_text()
            if folder.name == str(parent) or f"PPid:\t{parent}\n" in status:
                seen.append((folder / "cmdline").read_text())
        except OSError:  # no process, or one that has gone
            continue
    return "\n".join(seen)


@gstreamer
def test_nothing_that_a_run_writes_holds_a_password(
    serve_rtsp: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve_rtsp("--password", _PASSWORD)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "wrong").write_text(_WRONG)
    config = tmp_path / "watch.yaml"
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
        wait_for(lambda: '"not_live":["wrong","nobody"]' in fetched(host, "/healthz"))
        pages = "".join(fetched(host, path) for path in ("/healthz", "/metrics", "/", "/config"))
        called = command_lines(run.pid)
        written, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "it refuses this user and password" in written
    assert "right (rtsp://127.0.0.1" in written
    everything = [pages, called, written]
    everything += [
        file.read_bytes().decode("latin-1")
        for file in (tmp_path / "data").rglob("*")
        if file.is_file()
    ]
    assert len(everything) >= 4
    for text in everything:
        for secret in (_PASSWORD, _WRONG, "s3cret%2Fw%40rd", "viewer"):
            assert secret not in text
