from __future__ import annotations

import logging
import subprocess
import sys
from datetime import datetime, timezone

from stream.runtime.logs import RecentLogHandler

PROGRAM = """
import logging
from stream.runtime.logs import configure_logging
configure_logging("worker: ")
logging.getLogger("stream.regions.frame_ring").info("ours")
logging.getLogger("matplotlib.font_manager").info("theirs")
logging.getLogger("matplotlib.font_manager").warning("their warning")
"""
_log = logging.getLogger("stream.test")


def test_latest_warnings_are_stored_as_lines_of_text() -> None:
    before = datetime.now(timezone.utc)
    with RecentLogHandler() as logs:
        for number in range(30):
            _log.warning("the camera is offline, attempt %d", number)
        _log.info("all is well")
        _log.warning("door\nis %s", "offline")
        try:
            raise ValueError("rtsp://user:secret@host")
        except ValueError:
            _log.exception("event processor crashed")
    _log.warning("after the end")
    assert len(logs.entries) == 20
    assert [(one.level, one.text) for one in logs.entries[-2:]] == [
        ("warning", "door is offline"),
        ("error", "event processor crashed: ValueError"),
    ]
    assert before <= logs.entries[0].at <= datetime.now(timezone.utc)


def test_messages_of_other_packages_are_ignored() -> None:
    with RecentLogHandler() as logs:
        logging.getLogger("urllib3").warning("noise")
    assert logs.entries == ()


def test_own_messages_and_all_warnings_are_logged() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = [line.split(" ", 1)[1] for line in process.stderr.splitlines()]
    assert lines == ["worker: ours", "worker: their warning"]
