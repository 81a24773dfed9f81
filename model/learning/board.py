"""The course of a training run for TensorBoard, which is an extra."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.checkpoint import CheckpointError
from model.learning.fit import Epoch


class Board:
    """Where the numbers of each epoch are written."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, epoch: Epoch) -> None:
        if self._writer is None:
            return
        for key, value in asdict(epoch).items():
            if key != "epoch" and not math.isnan(value):
                self._writer.add_scalar(key.replace("_", "/", 1), value, epoch.epoch)


@contextmanager
def board(folder: Path | None) -> Iterator[Board]:
    """A board in this folder, or none. Raises CheckpointError where the extra is missing."""
    if folder is None:
        yield Board(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CheckpointError(
            "--tensorboard needs a package more: pip install 'actionwatch[tensorboard]'"
        ) from error
    with SummaryWriter(str(folder)) as writer:
        yield Board(writer)
