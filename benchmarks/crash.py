"""Kills a run (SIGKILL) at random moments, repeatedly, and checks the data that it left.

Every event whose end was published must be closed in the log, and the database must be intact.
After the next start there must be no file without a row, and no unfinished file.
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
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zmq

from benchmarks.processes import ACTIONWATCH
from benchmarks.report import Report, parse_args
from stream.sinks.event_log.database import FILE
from stream.sinks.event_log.event_log import EventLog

_POLICY = (
    "events: {threshold: 0.3, release_threshold: 0.25, min_duration: 0s, merge_gap: 0s, "
    "smoothing: 0s}"
)


@dataclass
class Row:
    """Totals of all runs."""

    kills: int = 0
    ended: int = 0  # events whose end was published
    lost: int = 0  # of these, not closed in the log
    corrupted: int = 0  # databases that fail the integrity check
    orphans: int = 0  # files without a row, after the next start
    clips: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parse_args(parser, kills=3)
    report, row, rng = Report(args.json), Row(), random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        data, address = Path(folder) / "data", f"ipc://{folder}/published"
        config = Path(folder) / "run.yaml"
        config.write_text(
            f"{_POLICY}\npublish: {address}\n"
            "recording: {enabled: true, pre_roll: 1s, post_roll: 0.5s}\n"
        )
        ended: set[str] = set()
        for _ in range(args.kills):
            ended |= _run(config, data, address, rng.uniform(0.0, 8.0), row)
            _check(data, ended, row)
            print(row, flush=True)
    report.add(row)
    report.write()


def _run(config: Path, data: Path, address: str, run_s: float, row: Row) -> set[str]:
    """Kill a run `run_s` after its first prediction. Returns ids of published event ends."""
    command = [*ACTIONWATCH, "run", str(config), "--no-ui", "--data", str(data)]
    command += ["--source", f"demo:{row.kills}"]
    ended: set[str] = set()
    started_at = time.time()
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe("")
    socket.connect(address)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline: float | None = None
    while deadline is None or time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("the run ended before it was killed")
        if not socket.poll(20):
            continue
        topic, body = socket.recv_multipart()
        if deadline is None:
            deadline = time.monotonic() + run_s
            _count_orphans(data, started_at, row)  # the start has cleaned up after the last run
        message = json.loads(body)
        if topic.startswith(b"event/") and message["change"] == "end":
            ended.add(message["event"]["id"])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    context.destroy(linger=0)
    row.kills += 1
    return ended


def _check(data: Path, ended: set[str], row: Row) -> None:
    with contextlib.closing(sqlite3.connect(data / FILE)) as connection:
        (result,) = connection.execute("PRAGMA integrity_check").fetchone()
        closed = {
            event_id
            for (event_id,) in connection.execute('SELECT id FROM events WHERE "end" <> ""')
        }
    row.corrupted += result != "ok"
    row.ended, row.lost = len(ended), len(ended - closed)


def _count_orphans(data: Path, started_at: float, row: Row) -> None:
    """Count files that are older than this run and belong to no event."""
    with EventLog.open(data) as log:
        known = {row[kind] for row in log.rows() for kind in ("clip", "snapshot")}
    files = [*data.glob("clips/*"), *data.glob("snapshots/*")]
    old = [file for file in files if file.stat().st_mtime < started_at]
    row.orphans += sum(file.name not in known for file in old)
    row.clips = len(old)


if __name__ == "__main__":
    main()
