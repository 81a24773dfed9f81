"""Kills a whole run (SIGKILL) at random moments, again and again, and looks at what is left.

Of each run every event whose end was published must be closed in the log, the database whole, and
after the next start no file without a row and no part of one may be there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zmq

from benchmarks.report import write_report
from stream.sinks.event_log.database import FILE
from stream.sinks.event_log.event_log import EventLog

_POLICY = "events: {enter: 0.3, leave: 0.25, minimum: 0s, merge_gap: 0s, smoothing: 0s}"


@dataclass
class Row:
    """All runs together."""

    kills: int = 0
    told: int = 0  # events whose end was published
    lost: int = 0  # of them, not closed in the log
    torn: int = 0  # databases that are not whole
    orphans: int = 0  # files without a row, after the next start
    clips: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three kills")
    parser.add_argument("--json", type=Path, help="write the row here as well")
    given = parser.parse_args()
    row, chance = Row(), random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        data, address = Path(folder) / "data", f"ipc://{folder}/published"
        config = Path(folder) / "run.yaml"
        config.write_text(
            f"{_POLICY}\npublish: {address}\n"
            "recording: {enabled: true, pre_roll: 1s, post_roll: 0.5s}\n"
        )
        told: set[str] = set()
        for _ in range(3 if given.quick else given.kills):
            told |= _run(config, data, address, chance.uniform(0.0, 8.0), row)
            _look(data, told, row)
            print(row, flush=True)
    if given.json:
        write_report(given.json, [row])


def _run(config: Path, data: Path, address: str, lives_s: float, row: Row) -> set[str]:
    """Run until some time after the first prediction, and kill. Returns the ends that were told."""
    command = [sys.executable, "-m", "ui.cli", "run", str(config), "--no-ui", "--data", str(data)]
    command += ["--source", f"demo:{row.kills}"]
    told: set[str] = set()
    began = time.time()
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe("")
    socket.connect(address)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until: float | None = None
    while until is None or time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit("the run ended by itself")
        if not socket.poll(20):
            continue
        topic, body = socket.recv_multipart()
        if until is None:
            until = time.monotonic() + lives_s
            _count_orphans(data, began, row)  # it has started: what the last one left is gone
        message = json.loads(body)
        if topic.startswith(b"event/") and message["change"] == "end":
            told.add(message["event"]["id"])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    context.destroy(linger=0)
    row.kills += 1
    return told


def _look(data: Path, told: set[str], row: Row) -> None:
    with contextlib.closing(sqlite3.connect(data / FILE)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        closed = {one for (one,) in connection.execute('SELECT id FROM events WHERE "end" <> ""')}
    row.torn += answer != "ok"
    row.told, row.lost = len(told), len(told - closed)


def _count_orphans(data: Path, began: float, row: Row) -> None:
    """Files from before this run, which began at that time, that belong to no event."""
    with EventLog.open(data) as log:
        known = {row[kind] for row in log.rows() for kind in ("clip", "snapshot")}
    files = [*data.glob("clips/*"), *data.glob("snapshots/*")]
    old = [file for file in files if file.stat().st_mtime < began]
    row.orphans += sum(file.name not in known for file in old)
    row.clips = len(old)


if __name__ == "__main__":
    main()
