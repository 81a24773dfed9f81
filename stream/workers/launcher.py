"""Worker launchers: how a local worker is started; today as a process on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from stream.config.config import InferenceConfig, WorkerConfig
from stream.runtime.processes import module_command, worker_environment
from stream.runtime.registry import Registry

EXIT_CANNOT_RUN = 2  # exit code of a worker that would fail again


class LaunchError(Exception):
    """A worker that can't be started. The message is one line for the user."""


class WorkerHandle(Protocol):
    """A worker that was started. One thread uses it; `pid` may be read on any."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout_s: float) -> int | None:
        """The exit code as soon as the worker has ended; None after `timeout_s`."""

    def terminate(self) -> None:
        """Ask the worker to end."""

    def kill(self) -> None:
        """End the worker even if it hangs."""


class WorkerLauncher(Protocol):
    """A way to start workers."""

    def launch(self, number: int) -> WorkerHandle:
        """Start the worker of that index. It introduces itself as `worker_name(number)`.

        Raises LaunchError where another attempt would fail too.
        """


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a launcher needs to know of the run."""

    endpoint: str  # of the scheduler, for workers on this machine
    model: str
    config: WorkerConfig
    count: int = 1  # workers that share the machine


LAUNCHERS: Registry[Callable[[WorkerSetup], WorkerLauncher]] = Registry(
    "worker launcher", "stream.workers"
)


class ProcessHandle:
    """A worker process on this machine."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Raises LaunchError for a command that can't be run."""
        try:
            # Its own session: on Ctrl+C in the terminal this process stops the worker in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL character
            raise LaunchError(f"the worker can't be started: {error}") from error
        self.pid = self._process.pid
        self.terminate, self.kill = self._process.terminate, self._process.kill

    def wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


@LAUNCHERS.register("subprocess")
class SubprocessLauncher:
    """Starts the installed worker program in this Python, with its fraction of the cores."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup

    def launch(self, number: int) -> WorkerHandle:
        return ProcessHandle(
            worker_command(self._setup, number), worker_environment(self._setup.count)
        )


def worker_name(number: int) -> str:
    """The identity of a local worker, which stays the same across restarts."""
    return f"local-{number}"


def worker_command(setup: WorkerSetup, number: int = 0) -> list[str]:
    """The command line of a local worker; `number` selects its GPU.

    The program is the entry point "default" of the group `actionwatch.worker`. Raises LaunchError
    where there is none.
    """
    programs = tuple(entry_points(group="actionwatch.worker", name="default"))
    if not programs:
        raise LaunchError(
            "no worker program is installed; reinstall Actionwatch, such as by `pip install -e .`"
        )
    options = [f"--connect={setup.endpoint}", f"--model={setup.model}"]
    options += [f"--name={worker_name(number)}", f"--number={number}", f"--parent={os.getpid()}"]
    options += [
        f"--{key.replace('_', '-')}={getattr(setup.config, key)}"
        for key in InferenceConfig.model_fields
    ]
    return [*module_command(programs[0].module, programs[0].attr), *options]
