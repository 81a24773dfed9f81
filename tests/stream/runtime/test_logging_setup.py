from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging
from stream.runtime.logging_setup import configure_logging
configure_logging("worker: ")
logging.getLogger("stream.regions.frame_ring").info("ours")
logging.getLogger("matplotlib.font_manager").info("theirs")
logging.getLogger("matplotlib.font_manager").warning("their warning")
"""


def test_own_messages_and_all_warnings_are_logged() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = [line.split(" ", 1)[1] for line in process.stderr.splitlines()]
    assert lines == ["worker: ours", "worker: their warning"]
