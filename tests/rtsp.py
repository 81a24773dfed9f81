"""A real RTSP server for tests, if GStreamer's is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SYSTEM_PYTHON = "/usr/bin/python3"
_IMPORTS = "import gi; gi.require_version('GstRtspServer', '1.0')"
_HAS_GSTREAMER = (
    sys.platform == "linux"
    and Path(_SYSTEM_PYTHON).exists()
    and subprocess.run([_SYSTEM_PYTHON, "-c", _IMPORTS], capture_output=True).returncode == 0
)
gstreamer = pytest.mark.skipif(
    not _HAS_GSTREAMER,
    reason="needs Debian's gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-ugly",
)


class Server:
    """A real RTSP server, which can be killed and restarted on the same port."""

    def __init__(self, *options: str) -> None:
        self._options, self.port = options, "0"
        self.start()

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        self.process = subprocess.Popen(
            [_SYSTEM_PYTHON, str(script), "--port", self.port, *self._options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = self.process.stdout.readline().strip()
        assert self.port.isdigit()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)
