from __future__ import annotations

import sys
import threading

from stream.config.config import WorkerConfig
from stream.runtime.metrics import Metrics
from stream.workers.pool import WorkerPool


def test_crashes_at_the_same_moment_are_all_counted() -> None:
    slow, others_counted = threading.Event(), threading.Event()

    def now() -> float:
        if threading.current_thread().name == "slow":
            slow.set()
            others_counted.wait(0.2)  # in vain where crashes are counted one by one
        return 0.0

    failures: list[str] = []
    program = "import signal; signal.pause()"
    pool = WorkerPool(
        lambda number: [sys.executable, "-c", program],
        WorkerConfig(count=1),
        Metrics(),
        on_failure=failures.append,
        now=now,
    )
    pool.start()
    thread = threading.Thread(target=pool._record_crash, args=(7,), name="slow")
    thread.start()
    assert slow.wait(10)
    for _ in range(4):
        pool._record_crash(7)
    others_counted.set()
    thread.join(10)
    pool.request_stop()
    assert pool.join(10)
    assert len(failures) == 1
    assert "the worker ended 5 times" in failures[0]
