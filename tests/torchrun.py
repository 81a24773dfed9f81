"""Two processes of one training run, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def run_by_two(*arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """Python with `arguments` in two processes that know of each other, run to their ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    members = [
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
        said = [one.communicate(timeout=120) for one in members]
    except subprocess.TimeoutExpired:
        for one in members:
            one.kill()
        said = [one.communicate() for one in members]  # what they said is why
    finally:
        for one in members:
            one.kill()
    return [
        subprocess.CompletedProcess(one.args, one.returncode, *both)
        for one, both in zip(members, said, strict=True)
    ]
