from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream.runtime.files import is_locked, locked, replacing, write_atomically

FULL = Path("/dev/full")
ROOT = Path(__file__).parents[3]


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_write_atomically_leaves_only_the_complete_file(tmp_path: Path) -> None:
    for content in (b"jpeg", "text ö"):
        write_atomically(tmp_path / "shot", content)
        expected = content.decode() if isinstance(content, bytes) else content
        assert contents(tmp_path) == {"shot": expected}


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, an always full disk")
def test_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "shot.jpg.part").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "shot.jpg", b"jpeg")
    assert list(tmp_path.iterdir()) == []


def test_failing_body_leaves_the_file_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("old")

    def fail() -> None:
        with replacing(file) as part:
            part.write_text("new")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert contents(tmp_path) == {"list.csv": "old"}


@pytest.mark.parametrize("durable", [True, False])
def test_threads_may_replace_a_shared_file_at_once(tmp_path: Path, durable: bool) -> None:
    file, both_write = tmp_path / "clip", threading.Barrier(2, timeout=60)

    def replace(text: str) -> None:
        with replacing(file, shared=True, durable=durable) as part:
            part.write_text(text)
            both_write.wait()

    threads = [threading.Thread(target=replace, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(tmp_path) in ({"clip": "one"}, {"clip": "two"})


def test_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    (tmp_path / "secret.part").write_text("left by a crash, for all to read")
    write_atomically(file, b"secret", private=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert contents(tmp_path) == {"secret": "secret"}


@pytest.mark.parametrize("is_folder", [False, True])
def test_second_holder_of_a_lock_is_refused_at_once(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path if is_folder else tmp_path / "events.lock"
    with locked(path) as first, locked(path) as second:
        assert (first, second) == (True, False)
    with locked(path) as again:
        assert again


def test_lock_file_tells_whether_it_is_held(tmp_path: Path) -> None:
    file = tmp_path / "events.lock"
    assert not is_locked(file)
    with locked(file):
        assert is_locked(file)
    assert not is_locked(file)


HOLD = """
import sys
from pathlib import Path
from stream.runtime.files import locked

with locked(Path(sys.argv[1])) as acquired:
    print(acquired, flush=True)
    sys.stdin.read()
"""


def test_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    file = tmp_path / "events.lock"
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert is_locked(file)
        holder.kill()
    with locked(file) as acquired:
        assert acquired
