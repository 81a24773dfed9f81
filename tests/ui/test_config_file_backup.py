from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from ui.config_file_backup import FileError, replaced

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_nothing_changes_where_the_body_fails(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text("old")
    with pytest.raises(ValueError, match="no"), replaced(file, "new"):
        raise ValueError("no")
    assert [one.name for one in tmp_path.iterdir()] == ["watch.yaml"]
    assert file.read_text() == "old"


def test_two_changes_within_a_second_keep_both(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text("one")
    for text in ("two", "three"):
        with replaced(file, text, now_utc=NOON):
            assert file.read_text() != text
    assert file.read_text() == "three"
    kept = {one.name: one.read_text() for one in tmp_path.iterdir() if one != file}
    assert kept == {
        "watch.yaml.bak-20260501T120000Z": "one",
        "watch.yaml.bak-20260501T120000Z.2": "two",
    }


def test_what_can_not_be_written_is_said_before_anything_happens(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text("old")
    (tmp_path / ".watch.yaml.new").mkdir()  # stands in the way, also of root
    with pytest.raises(FileError, match="can't be written"), replaced(file, "new"):
        pytest.fail("it began")
    assert file.read_text() == "old"
