from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.training.distributed import DistributedContext, TrainingError
from model.training.output_dir import finalize, reserved

SINGLE = DistributedContext(1, 0, torch.device("cpu"), 1)


def test_folder_of_an_unfinished_run_can_be_reserved_again(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with reserved(out, SINGLE):
        (out / "training.pt.part").write_bytes(b"half")
        (out / "tensorboard").mkdir()
    with reserved(out, SINGLE):
        (out / "model.safetensors").touch()
        finalize(out)
    with (
        pytest.raises(TrainingError, match="out holds a finished checkpoint; give a new --out"),
        reserved(out, SINGLE),
    ):
        pass


def test_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with (
        pytest.raises(TrainingError, match="holds other files; give a new --out"),
        reserved(tmp_path, SINGLE),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_name_of_an_embedded_model_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(TrainingError, match=r"--out motion: an embedded model has this name"),
        reserved(Path("motion"), SINGLE),
    ):
        pass
    with reserved(tmp_path / "motion", SINGLE):  # an absolute path is not ambiguous
        assert (tmp_path / "motion").is_dir()
