from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.config.config import WorkerConfig
from stream.runtime.metrics import Metrics
from stream.workers.launcher import LAUNCHERS, WorkerHandle, WorkerSetup, worker_name
from stream.workers.pool import WorkerPool
from tests.stream.workers.programs import ProgramLauncher, alive, sleeping_program, wait_for_pid


@pytest.fixture(autouse=True)
def program() -> Iterator[None]:
    """The launcher "program": the model's name is the program."""
    LAUNCHERS.add("program", lambda setup: ProgramLauncher(setup.model))
    yield
    LAUNCHERS.remove("program")


class PoolHarness:
    """Local workers that are small programs, one per index; it records the failure."""

    def __init__(self, folder: Path, count: object, program: str = "", **options: object) -> None:
        self.folder = folder
        self.failed, self.reason = threading.Event(), ""
        config = WorkerConfig(count=count)
        self.pool = WorkerPool(
            WorkerSetup("", program or sleeping_program(folder / "pid-NUMBER"), config),
            Metrics(),
            on_failure=self._fail,
            **{"launcher": "program", **options},
        )
        self.pool.start()

    def _fail(self, reason: str) -> None:
        self.reason = reason
        self.failed.set()

    def wait_for_pid(self, number: int, *, other_than: int | None = None) -> int:
        return wait_for_pid(self.folder / f"pid-{number}", other_than=other_than)

    def stop(self) -> None:
        self.pool.request_stop()
        assert self.pool.join(60)
        assert self.pool.pids == ()


def test_configured_number_of_workers_is_started(tmp_path: Path) -> None:
    harness = PoolHarness(tmp_path, 2)
    started = {harness.wait_for_pid(0), harness.wait_for_pid(1)}
    assert set(harness.pool.pids) == started
    harness.pool.on_hello(worker_name(0).encode(), devices=3)  # the number is configured
    assert set(harness.pool.pids) == started
    harness.stop()


def test_one_worker_per_device_is_started(tmp_path: Path) -> None:
    harness = PoolHarness(tmp_path, "auto")
    first = harness.wait_for_pid(0)
    assert harness.pool.pids == (first,)
    harness.pool.on_hello(worker_name(0).encode(), devices=2)
    second = harness.wait_for_pid(1)
    # A restarted worker sends Hello again.
    harness.pool.on_hello(worker_name(0).encode(), devices=2)
    assert harness.pool.pids == (first, second)
    harness.stop()
    harness.pool.on_hello(worker_name(0).encode(), devices=4)  # too late
    assert harness.pool.pids == ()
    assert not alive(first)
    assert not alive(second)


def test_only_the_hung_worker_is_replaced(tmp_path: Path) -> None:
    harness = PoolHarness(tmp_path, 2)
    first, second = harness.wait_for_pid(0), harness.wait_for_pid(1)
    harness.pool.on_timeout(b"unknown")
    harness.pool.on_hello(worker_name(1).encode(), devices=1)
    harness.pool.on_timeout(worker_name(1).encode())
    harness.wait_for_pid(1, other_than=second)
    assert harness.pool.pids[0] == first
    harness.stop()


def test_run_fails_when_no_worker_is_left(tmp_path: Path) -> None:
    one_runs = "import signal\nif NUMBER: raise SystemExit(2)\nwhile True: signal.pause()"
    harness = PoolHarness(tmp_path, 2, one_runs)
    while len(harness.pool.pids) == 2:
        harness.failed.wait(0.02)
    assert not harness.failed.is_set()
    harness.stop()
    waits = f"import pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): pass\n"
    harness = PoolHarness(tmp_path, 2, f"{waits}raise SystemExit(2)")
    for number in range(2):
        harness.pool.on_worker_failure(worker_name(number).encode(), "no memory")
    assert not harness.failed.is_set()
    (tmp_path / "go").touch()
    assert harness.failed.wait(20)
    assert harness.reason == "no memory"
    harness.stop()


def test_failure_of_a_remote_worker_ends_the_run(tmp_path: Path) -> None:
    harness = PoolHarness(tmp_path, 1)
    harness.pool.on_worker_failure(b"unknown", "whatever")
    assert harness.reason == "whatever"
    harness.stop()


class ToyHandle:
    """A worker without a process."""

    pid = 77

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.terminate = self.kill = self.ended.set

    def wait(self, timeout_s: float) -> int | None:
        return 0 if self.ended.wait(timeout_s) else None


class ToyLauncher:
    """Starts no process."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup

    def launch(self, number: int) -> WorkerHandle:
        return ToyHandle()


@pytest.fixture
def toy() -> Iterator[str]:
    LAUNCHERS.add("toy", ToyLauncher)
    yield "toy"
    LAUNCHERS.remove("toy")


def test_launcher_is_added_by_its_registration_alone(tmp_path: Path, toy: str) -> None:
    harness = PoolHarness(tmp_path, 2, launcher=toy)
    while len(harness.pool.pids) < 2:
        harness.failed.wait(0.01)
    assert harness.pool.pids == (77, 77)
    harness.stop()
    assert not harness.failed.is_set()


def test_crashes_at_the_same_moment_are_all_counted(tmp_path: Path, toy: str) -> None:
    slow, others_counted = threading.Event(), threading.Event()

    def now() -> float:
        if threading.current_thread().name == "slow":
            slow.set()
            others_counted.wait(0.2)  # in vain where crashes are counted one by one
        return 0.0

    harness = PoolHarness(tmp_path, 1, launcher=toy, now=now)
    thread = threading.Thread(target=harness.pool.on_crash, args=(7,), name="slow")
    thread.start()
    assert slow.wait(60)
    for _ in range(4):
        harness.pool.on_crash(7)
    others_counted.set()
    thread.join(60)
    assert harness.reason.startswith("the worker ended 5 times within 5 minutes")
    harness.stop()


def test_old_crashes_do_not_count(tmp_path: Path, toy: str) -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 301.0])
    harness = PoolHarness(tmp_path, 1, launcher=toy, now=lambda: next(times))
    for _ in range(5):
        harness.pool.on_crash(7)
    assert not harness.failed.is_set()
    harness.stop()
