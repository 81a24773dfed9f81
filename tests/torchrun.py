"""Starts two ranks of a training run, as torchrun does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def run_two_ranks(*arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """Run Python with `arguments` as two ranks of one process group, until both exit."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=_ROOT,
            env={
                **os.environ,
                **{"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [one.communicate(timeout=120) for one in ranks]
    except subprocess.TimeoutExpired:
        for one in ranks:
            one.kill()
        outputs = [one.communicate() for one in ranks]  # their output explains the timeout
    finally:
        for one in ranks:
            one.kill()
    return [
        subprocess.CompletedProcess(one.args, one.returncode, *both)
        for one, both in zip(ranks, outputs, strict=True)
    ]
