from __future__ import annotations

import errno
import logging
import math
from pathlib import Path

import pytest

from model.checkpoint import CheckpointError
from model.training.fit import Epoch
from model.training.tensorboard import Board, board

EPOCH = Epoch(1, 0.5, math.nan, math.nan, math.nan, 2.0, 0.1)


def test_the_course_is_written(tmp_path: Path) -> None:
    with board(tmp_path / "tb") as numbers:
        numbers.write(EPOCH)
    (file,) = (tmp_path / "tb").glob("events.out.tfevents.*")
    assert b"train/loss" in file.read_bytes()
    assert b"val" not in file.read_bytes()  # what is not measured


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CheckpointError, match=r"--tensorboard .*tb: .*file is no folder; give an"),
        board(tmp_path / "file" / "tb"),
    ):
        pass


class FullDisk:
    """TensorBoard's writer, which fails in what is asked of it after its thread has failed."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    numbers = Board(FullDisk)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            numbers.write(EPOCH)
    (record,) = caplog.records
    assert record.getMessage().endswith("gets no more numbers: [Errno 28] No space left on device")
