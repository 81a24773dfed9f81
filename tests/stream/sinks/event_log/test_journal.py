from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stream.messages import LoggedEvent, Recorded
from stream.sinks.event_log.journal import FILE, Journal, News
from tests.event_samples import NASTY, logged

NEWS: list[News] = [
    logged("wave", 1.0, None),
    logged("wave", 1.0, 2.125),
    logged(NASTY, 3.0, 4.0, peak=0.1 + 0.2),
    logged("\ud800", 3.0, 4.0),
    Recorded("a", "clip.mp4", "snap.jpg", "no pictures before 3.0 s"),
]


def told(journal: Journal, most: int = 1000) -> list[tuple[str, list[News]]]:
    return list(journal.batches(most))


def progress(label: str, latest_s: float) -> LoggedEvent:
    one = logged(label, 1.0, None)
    return replace(one, event=replace(one.event, latest_s=latest_s), change="progress")


@contextmanager
def no_file_over(most_bytes: int) -> Iterator[None]:
    """As on a full disk: what is written beyond is refused, after a part of it was taken."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_news_come_back_as_they_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.append(NEWS[:2], "run 1") == 0
    assert journal.append(NEWS[2:], "run 2") == 0
    assert len(journal) == 5
    expected = [("run 1", NEWS[:2]), ("run 2", NEWS[2:])]
    assert told(journal) == told(Journal(tmp_path)) == expected
    assert [len(news) for _, news in told(journal, most=2)] == [2, 2, 1]


def test_it_is_empty_when_it_was_cleared(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(NEWS, "run")
    journal.clear()
    assert (len(journal), told(journal), list(tmp_path.iterdir())) == (0, [], [])
    journal.append(NEWS[:1], "run")
    assert told(journal) == [("run", NEWS[:1])]
    Journal(tmp_path).clear()
    journal = Journal(tmp_path)
    journal.clear()  # twice is no mistake
    assert told(journal) == []


def test_a_last_line_that_was_torn_is_cut_off(tmp_path: Path) -> None:
    Journal(tmp_path).append(NEWS[:3], "run")
    file = tmp_path / FILE
    whole = file.read_bytes()
    lengths = [len(line) for line in whole.splitlines(keepends=True)]
    for end in range(len(whole) - lengths[2] + 1, len(whole), 7):
        file.write_bytes(whole[:end])
        journal = Journal(tmp_path)
        journal.append(NEWS[4:], "run")  # not behind half a line
        assert told(journal) == [("run", [*NEWS[:2], NEWS[4]])]
        assert journal.unreadable == 0


def test_a_damaged_line_is_passed_over_and_counted(tmp_path: Path) -> None:
    Journal(tmp_path).append(NEWS, "run")
    file = tmp_path / FILE
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"run": "run", "event": {"id": 1}}\n'
    lines[2] = b"\xff\x00\n"
    file.write_bytes(b"".join(lines))
    journal = Journal(tmp_path)
    assert told(journal) == [("run", [NEWS[0], *NEWS[3:]])]
    assert journal.unreadable == 2


def test_a_full_one_keeps_the_latest_news_of_each_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path, most_changes=100)
    for number in range(60):
        assert journal.append([progress("wave", number), progress("run", number)], "run") == 0
    assert journal.append([Recorded(NEWS[0].event.id, "clip.mp4", "")], "run") == 0  # type: ignore[union-attr]
    assert len(journal) < 100
    ((_, news),) = told(Journal(tmp_path))
    latest = {one.event.label: one.event.latest_s for one in news if isinstance(one, LoggedEvent)}
    assert latest == {"wave": 59, "run": 59}
    assert isinstance(news[-1], Recorded)


@pytest.mark.parametrize("bounds", [{"most_changes": 50}, {"most_bytes": 20_000}])
def test_a_full_one_says_how_much_it_could_not_take(tmp_path: Path, bounds: dict) -> None:
    journal = Journal(tmp_path, **bounds)
    starts = [float(start_s) for start_s in range(200)]
    lost = sum(journal.append([logged("wave", start_s, start_s + 1)], "run") for start_s in starts)
    kept = [one.event.start_s for _, news in told(journal) for one in news]  # type: ignore[union-attr]
    assert len(kept) + lost == 200
    assert kept == starts[: len(kept)]
    assert len(kept) == len(journal) >= 40
    assert (tmp_path / FILE).stat().st_size <= 20_000
    assert len(list(tmp_path.iterdir())) == 1
    journal.clear()
    assert journal.append(NEWS, "run") == 0


def test_what_a_full_disk_took_in_part_is_taken_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(NEWS[:2], "run")
    size = (tmp_path / FILE).stat().st_size
    with no_file_over(size + 100), pytest.raises(OSError, match="File too large"):
        journal.append(NEWS[2:], "run")
    assert (tmp_path / FILE).stat().st_size == size
    assert len(journal) == 2
    journal.append(NEWS[2:], "run")
    assert told(journal) == [("run", NEWS)]


def test_a_folder_that_takes_nothing_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Journal(tmp_path / "gone").append(NEWS, "run")
