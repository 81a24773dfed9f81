from __future__ import annotations

import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream.runtime.sqlite_queue import SqliteQueue
from tests.killed import check_kills


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "waiting.sqlite"


@pytest.fixture
def queue(file: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(file, max_items=1000)) as queue:
        yield queue


def pairs(*numbers: int) -> list[tuple[str, str]]:
    return [(f"k{number}", f"text {number}") for number in numbers]


def stored(file: Path) -> list[tuple[str, str]]:
    with closing(SqliteQueue(file, max_items=1000)) as queue:
        return [(key, text) for _, key, text in queue.oldest(1000)]


def test_items_are_read_by_the_next_process_in_order(file: Path, queue: SqliteQueue) -> None:
    assert queue.append(pairs(3, 1)) == 0
    assert queue.append(pairs(2)) == 0
    assert len(queue) == 3
    assert stored(file) == pairs(3, 1, 2)
    queue.remove(["k1", "unknown"])
    assert len(queue) == 2
    assert stored(file) == pairs(3, 2)


def test_items_are_read_in_batches(queue: SqliteQueue) -> None:
    queue.append(pairs(*range(5)))
    first = queue.oldest(2)
    assert [key for _, key, _ in first] == ["k0", "k1"]
    assert [key for _, key, _ in queue.oldest(9, after=first[-1].id)] == ["k2", "k3", "k4"]


def test_new_text_of_a_key_keeps_its_position(file: Path, queue: SqliteQueue) -> None:
    queue.append(pairs(1, 2))
    queue.append([("k1", "later")])
    assert len(queue) == 2
    assert stored(file) == [("k1", "later"), *pairs(2)]


def test_full_queue_accepts_only_keys_that_it_holds(file: Path) -> None:
    with closing(SqliteQueue(file, max_items=3)) as queue:
        assert queue.append(pairs(1, 2, 3, 4, 5)) == 2
        assert queue.append([("k3", "later"), *pairs(6)]) == 1
        assert stored(file) == [*pairs(1, 2), ("k3", "later")]
        queue.remove(["k1"])
        assert queue.append(pairs(7)) == 0
        assert len(queue) == 3


def test_size_of_the_file_is_bounded(file: Path) -> None:
    with closing(SqliteQueue(file, max_items=100_000, max_bytes=200_000)) as queue:
        for number in range(100):
            queue.append([(f"{number}.{index}", "x" * 500) for index in range(10)])
        assert 250 < len(queue) < 400
    assert file.stat().st_size < 220_000


def test_space_of_removed_items_is_used_again(file: Path) -> None:
    with closing(SqliteQueue(file, max_items=1000, survives_power_failure=False)) as queue:
        for number in range(1000):
            queue.append([(str(number), "x" * 500)])
            queue.remove([str(number - 10)])
    assert file.stat().st_size < 50_000


def test_synced_changes_are_in_the_file_itself(file: Path) -> None:
    with closing(SqliteQueue(file, max_items=10, survives_power_failure=False)) as queue:
        queue.sync()  # no file yet
        queue.append(pairs(1, 2))
        queue.remove(["k1"])
        queue.sync()
        copy = file.with_name("copy")
        shutil.copy(file, copy)
    assert stored(copy) == pairs(2)


def test_cleared_queue_leaves_no_file(file: Path, queue: SqliteQueue) -> None:
    queue.append(pairs(1))
    queue.clear()
    queue.clear()
    assert (len(queue), queue.oldest(), list(file.parent.iterdir())) == (0, [], [])
    queue.append(pairs(2))
    assert stored(file) == pairs(2)


def test_reading_creates_no_file(file: Path, queue: SqliteQueue) -> None:
    assert queue.oldest() == []
    queue.remove(["k1"])
    assert list(file.parent.iterdir()) == []


def test_threads_share_a_queue(file: Path, queue: SqliteQueue) -> None:
    def fill(start: int) -> None:
        for number in range(start, start + 50):
            queue.append(pairs(number))

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(queue) == len(stored(file)) == 150


@pytest.mark.parametrize("content", [b"not a database, " * 1000, b"\0" * 4096])
def test_foreign_file_is_moved_aside_and_counted(
    file: Path, queue: SqliteQueue, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(content)
    queue.append(pairs(1))
    assert queue.corrupted_files == 1
    assert stored(file) == pairs(1)
    assert file.with_name("waiting.sqlite.corrupted").read_bytes() == content
    assert f"{file} can't be read" in caplog.text


def test_database_of_another_program_is_moved_aside(file: Path, queue: SqliteQueue) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE accounts (name)")
    queue.append(pairs(1))
    assert (queue.corrupted_files, stored(file)) == (1, pairs(1))
    with closing(sqlite3.connect(file.with_name("waiting.sqlite.corrupted"))) as other:
        assert other.execute("SELECT count(*) FROM accounts").fetchone() == (0,)


def test_torn_file_is_moved_aside(file: Path) -> None:
    with closing(SqliteQueue(file, max_items=1000)) as queue:
        queue.append((str(number), "x" * 500) for number in range(100))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 + 100])
    with closing(SqliteQueue(file, max_items=1000)) as queue:
        assert queue.oldest(1000) == []
        assert queue.corrupted_files == 1
        queue.append(pairs(1))
    assert stored(file) == pairs(1)


def test_interrupted_creation_is_completed(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with closing(SqliteQueue(file, max_items=10)) as queue:
        queue.append(pairs(1))
        assert queue.corrupted_files == 0


def test_unusable_file_raises_and_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "waiting.sqlite"
    with closing(SqliteQueue(file, max_items=10)) as queue:
        with pytest.raises(OSError, match="No such file"):
            queue.append(pairs(1))
        file.mkdir(parents=True)
        with pytest.raises(OSError, match="Is a directory"):
            queue.oldest()
        file.rmdir()
        queue.append(pairs(2))
        assert len(queue) == 1


def test_deleted_file_is_noticed(file: Path, queue: SqliteQueue) -> None:
    queue.append(pairs(1))
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        queue.append(pairs(2))
    queue.append(pairs(3))
    assert stored(file) == pairs(3)
    assert len(queue) == 1


def test_full_disk_changes_nothing(file: Path, queue: SqliteQueue) -> None:
    queue.append(pairs(1, 2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(OSError, match="disk"):
            queue.append((str(number), "x" * 500) for number in range(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(queue) == 2
    queue.append(pairs(3))
    assert stored(file) == pairs(1, 2, 3)


def test_error_of_the_caller_changes_nothing(file: Path, queue: SqliteQueue) -> None:
    queue.append(pairs(1))
    with pytest.raises(UnicodeEncodeError):
        queue.append([*pairs(2), ("k3", "\ud800")])
    assert (len(queue), stored(file)) == (1, pairs(1))


APPEND_UNTIL_KILLED = """
import sys
from pathlib import Path
from stream.runtime.sqlite_queue import SqliteQueue

queue = SqliteQueue(Path(sys.argv[1]), max_items=1_000_000, survives_power_failure=False)
for number in range(int(sys.argv[2]), 1_000_000):
    queue.append([(f"k{number}", f"text {number}")])
    print("added", f"k{number}", flush=True)
    if number % 3:
        (oldest,) = queue.oldest()
        queue.remove([oldest.key])
        print("removed", oldest.key, flush=True)
"""


def test_kill_at_any_moment_loses_nothing(file: Path) -> None:
    check_kills(APPEND_UNTIL_KILLED, file, lambda number: f"k{number}")
