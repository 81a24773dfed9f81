from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Sixteen threads that own memory at the same time; prints malloc's statistics.
_COUNT = """
import ctypes, sys, threading
from stream.runtime.malloc import limit_malloc_arenas
if sys.argv[1] == "shared":
    limit_malloc_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_allocated = threading.Barrier(16)
def allocate():
    libc.malloc(1000)
    all_allocated.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_two_arenas() -> None:
    def arenas(mode: str) -> int:
        process = subprocess.run(
            [sys.executable, "-c", _COUNT, mode],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        return process.stdout.count("<heap nr=")

    assert arenas("default") > 2
    assert arenas("shared") == 2
