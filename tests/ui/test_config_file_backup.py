from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from ui.config_file_backup import FileError, replace_with_backup

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_error_in_the_body_leaves_the_file_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("old")
    with pytest.raises(ValueError, match="no"), replace_with_backup(file, "new"):
        raise ValueError("no")
    assert [one.name for one in tmp_path.iterdir()] == ["config.yaml"]
    assert file.read_text() == "old"


def test_two_changes_within_a_second_have_two_backups(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("one")
    for text in ("two", "three"):
        with replace_with_backup(file, text, now_utc=NOON):
            assert file.read_text() != text
    assert file.read_text() == "three"
    backups = {one.name: one.read_text() for one in tmp_path.iterdir() if one != file}
    assert backups == {
        "config.yaml.bak-20260501T120000Z": "one",
        "config.yaml.bak-20260501T120000Z.2": "two",
    }


def test_unwritable_folder_is_reported_before_the_body(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("old")
    (tmp_path / ".config.yaml.new").mkdir()  # blocks the name, also for root
    with pytest.raises(FileError, match="can't be written"), replace_with_backup(file, "new"):
        pytest.fail("the body ran")
    assert file.read_text() == "old"
