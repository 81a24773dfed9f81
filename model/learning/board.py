"""The course of a training run for TensorBoard, which is an extra."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.checkpoint import CheckpointError
from model.learning.fit import Epoch

_log = logging.getLogger(__name__)


class Board:
    """Where the numbers of each epoch are written, as long as the disk takes them."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, epoch: Epoch) -> None:
        if self._writer is None:
            return
        try:
            for key, value in asdict(epoch).items():
                if key != "epoch" and not math.isnan(value):
                    self._writer.add_scalar(key.replace("_", "/", 1), value, epoch.epoch)
            self._writer.flush()
        except OSError as error:  # no reason to end a run of hours
            _log.warning("TensorBoard gets no more numbers: %s", error)
            self._writer = None


@contextmanager
def board(folder: Path | None) -> Iterator[Board]:
    """A board in this folder, or none.

    Raises CheckpointError where the extra is missing, or the folder can't be written.
    """
    if folder is None:
        yield Board(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CheckpointError(
            "--tensorboard needs a package more: pip install 'actionwatch[tensorboard]'"
        ) from error
    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise CheckpointError(
            f"--tensorboard {folder}: can't be written ({error.strerror or error}); give another"
        ) from error
    try:
        yield Board(writer)
    finally:
        with suppress(OSError):
            writer.close()
