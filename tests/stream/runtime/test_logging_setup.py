from __future__ import annotations

import subprocess
import sys

SAID = """
import logging
from stream.runtime.logging_setup import show_notes
show_notes("worker: ")
logging.getLogger("stream.regions.frame_ring").info("ours")
logging.getLogger("matplotlib.font_manager").info("theirs")
logging.getLogger("matplotlib.font_manager").warning("of theirs a warning")
"""


def test_notes_are_ours_and_warnings_anybodys() -> None:
    said = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, check=True)
    lines = [line.split(" ", 1)[1] for line in said.stderr.splitlines()]
    assert lines == ["worker: ours", "worker: of theirs a warning"]
