"""A process that changes a SqliteQueue, and is killed at random moments."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from stream.runtime.sqlite_queue import SqliteQueue

ROOT = Path(__file__).parents[1]


def check_kills(script: str, file: Path, key: Callable[[int], str]) -> None:
    """Kill a script six times, and assert that no change was lost that it has printed.

    Its arguments are the file and a number n. It appends key(n), key(n + 1) and so on, sometimes
    removes the oldest, and prints "added KEY" or "removed KEY" after each change.
    """
    rng, queued, number = random.Random(6), list[str](), 0
    for _ in range(6):
        command = [sys.executable, "-c", script, str(file), str(number)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rng.randrange(5, 400))]
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if not line.endswith("\n"):  # truncated by the kill
                continue
            change, changed = line.split()
            if change == "added":
                assert changed == key(number)
                queued.append(changed)
                number += 1
            else:
                queued.remove(changed)
        found = _keys(file)
        # The last change may not have been printed before the kill.
        assert found in (queued, queued[1:], [*queued, key(number)])
        queued, number = found, number + 1


def _keys(file: Path) -> list[str]:
    """The keys in a copy, so that the next process finds the file as the kill left it."""
    copy = file.with_name("copy")
    for suffix in ("", "-wal"):
        shutil.copy(f"{file}{suffix}", f"{copy}{suffix}")
    with closing(SqliteQueue(copy, max_items=1_000_000)) as queue:
        return [item.key for item in queue.oldest(1_000_000)]
