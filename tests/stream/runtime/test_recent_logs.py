from __future__ import annotations

import logging
from datetime import datetime, timezone

from stream.runtime.recent_logs import LatestTroubles

_log = logging.getLogger("stream.test")


def test_the_latest_warnings_are_kept_as_lines_of_text() -> None:
    before = datetime.now(timezone.utc)
    with LatestTroubles(most=2) as troubles:
        _log.warning("the first")
        _log.info("all is well")
        _log.warning("door\nis %s", "offline")
        try:
            raise ValueError("rtsp://user:secret@host")
        except ValueError:
            _log.exception("judge died")
    _log.warning("after the end")
    assert [(one.level, one.text) for one in troubles.kept] == [
        ("warning", "door is offline"),
        ("error", "judge died: ValueError"),
    ]
    assert before <= troubles.kept[0].at <= datetime.now(timezone.utc)


def test_what_others_log_is_none_of_it() -> None:
    with LatestTroubles() as troubles:
        logging.getLogger("urllib3").warning("noise")
    assert troubles.kept == ()
