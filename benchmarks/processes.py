"""Processes of a benchmark: Actionwatch itself, workers and cameras, and their resources."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.worker import serve
from stream.messages import Clip, ClipSpec, Scores
from stream.runtime.processes import worker_environment
from stream.workers.transport import WorkerClient

ACTIONWATCH = (sys.executable, "-m", "ui.cli")


@dataclass(frozen=True)
class Growth:
    """A measured quantity: medians of the first and of the last quarter of a run."""

    quantity: str
    first: float
    last: float


def growth(samples: Sequence[dict[str, float]]) -> list[Growth]:
    """The growth of each quantity of the last sample; earlier ones may lack it."""
    rows = []
    for name in samples[-1]:
        values = [sample[name] for sample in samples if name in sample]
        quarter = max(1, len(values) // 4)
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        rows.append(Growth(name, first, last))
    return rows


def resources(pid: int) -> dict[str, float]:
    """The resources of a process."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    links = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(os.readlink(file))
    sockets = sum(link.startswith("socket:") for link in links)
    return {
        "memory, MB": int(status["VmRSS"].split()[0]) / 1024,
        "threads": float(status["Threads"]),
        "sockets": float(sockets),
        "other files": float(len(links) - sockets),
    }


def actionwatch(*arguments: object) -> str:
    """Run a command of Actionwatch to its end. Returns its output."""
    command = [*ACTIONWATCH, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"actionwatch {arguments[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def start_process(
    function: Callable[..., object], *arguments: float | str
) -> subprocess.Popen[bytes]:
    """Call a function of a benchmark in a process of its own, which ends with this one."""
    module = Path(inspect.getfile(function)).stem
    call = f"{module}.{function.__name__}(*{arguments!r})"
    code = f"from benchmarks import processes, {module}; processes.end_with_parent(); {call}"
    return subprocess.Popen([sys.executable, "-c", code], env=worker_environment())


def end_with_parent() -> None:
    """End this process soon after its parent, in whatever way that ended."""
    parent = os.getppid()

    def poll() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=poll, daemon=True).start()


def work(
    endpoint: str,
    spec: ClipSpec,
    score: Callable[[tuple[Clip, ...]], Iterable[np.ndarray]],
    *,
    max_batch_size: int = 1,
    stop: threading.Event | None = None,
) -> None:
    """A worker: `score` returns the probabilities of each clip, (labels,)."""

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        rows = zip(clips, score(clips), strict=True)
        return tuple(Scores(clip.number, probabilities, 0.0) for clip, probabilities in rows)

    with WorkerClient(endpoint, spec) as client:
        serve(
            predict,
            client,
            stop or threading.Event(),
            capacity=lambda: max_batch_size,
            is_orphaned=lambda: False,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
