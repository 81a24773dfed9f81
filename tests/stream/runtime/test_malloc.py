from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Sixteen threads that hold memory at the same time, and how many arenas they have.
_COUNT = """
import ctypes, sys, threading
from stream.runtime.malloc import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_hold = threading.Barrier(16)
def hold():
    libc.malloc(1000)
    all_hold.wait()
threads = [threading.Thread(target=hold) for _ in range(16)]
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
    def arenas(how: str) -> int:
        told = subprocess.run(
            [sys.executable, "-c", _COUNT, how],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.count("<heap nr=")

    assert arenas("each its own") > 2
    assert arenas("shared") == 2
