from __future__ import annotations

from pathlib import Path

import pytest

from model.checkpoint import CheckpointError
from model.training.output_dir import claim, release


def test_a_run_that_was_killed_before_it_kept_anything_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    claim(out)
    (out / "training.part").write_bytes(b"half")
    (out / "board").mkdir()
    claim(out)
    (out / "model.safetensors").touch()
    release(out)
    with pytest.raises(CheckpointError, match="out holds a finished checkpoint; give a new --out"):
        claim(out)


def test_what_somebody_has_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files; give a new --out"):
        claim(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_name_that_means_the_embedded_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"--out motion: .* is embedded"):
        claim(Path("motion"))
    claim(tmp_path / "motion")  # called by its whole path it can't be mistaken
