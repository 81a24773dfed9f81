from __future__ import annotations

import errno
import logging
import math
from contextlib import closing
from pathlib import Path

import pytest

from model.training.distributed import TrainingError
from model.training.fit import EpochMetrics
from model.training.tensorboard import TensorBoardLogger

METRICS = EpochMetrics(1, 0.5, math.nan, math.nan, math.nan, 2.0, 0.1)


def test_metrics_are_written(tmp_path: Path) -> None:
    with closing(TensorBoardLogger(tmp_path / "tb")) as logger:
        logger.write(METRICS)
    (file,) = (tmp_path / "tb").glob("events.out.tfevents.*")
    assert b"train/loss" in file.read_bytes()
    assert b"val" not in file.read_bytes()  # nan values are not written


def test_folder_below_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"--tensorboard .*tb: .*file is not a folder; give an"):
        TensorBoardLogger(tmp_path / "file" / "tb")


class FullDisk:
    """A writer that raises, as TensorBoard's does after its thread has failed."""

    def __init__(self, folder: str) -> None:
        pass

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", FullDisk)
    logger = TensorBoardLogger(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            logger.write(METRICS)
    (record,) = caplog.records
    assert record.getMessage() == (
        "TensorBoard logging stopped: [Errno 28] No space left on device"
    )
