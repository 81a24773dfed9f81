from __future__ import annotations

from pathlib import Path

import pytest

from model.checkpoint import CheckpointError
from model.training.output_dir import acquire, finalize


def test_folder_of_an_unfinished_run_can_be_acquired_again(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    acquire(out)
    (out / "training.pt.part").write_bytes(b"half")
    (out / "tensorboard").mkdir()
    acquire(out)
    (out / "model.safetensors").touch()
    finalize(out)
    with pytest.raises(CheckpointError, match="out holds a finished checkpoint; give a new --out"):
        acquire(out)


def test_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files; give a new --out"):
        acquire(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_name_of_an_embedded_model_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"--out motion: an embedded model has this name"):
        acquire(Path("motion"))
    acquire(tmp_path / "motion")  # an absolute path is not ambiguous
