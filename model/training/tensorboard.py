"""The course of a training run for TensorBoard, which is an extra."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from model.checkpoint import CheckpointError
from model.training.fit import Epoch

_log = logging.getLogger(__name__)


class Board:
    """Where the numbers of each epoch are written, as long as the disk takes them."""

    def __init__(self, open_writer: Callable[[], Any] | None) -> None:
        self._open_writer = open_writer
        self._writer: Any = None

    def write(self, epoch: Epoch) -> None:
        if self._open_writer is None:
            return
        try:
            self._writer = self._writer or self._open_writer()
            for key, value in asdict(epoch).items():
                if key != "epoch" and not math.isnan(value):
                    self._writer.add_scalar(key.replace("_", "/", 1), value, epoch.epoch)
            self._writer.flush()
        except OSError as error:  # no reason to end a run of hours
            _log.warning("TensorBoard gets no more numbers: %s", error)
            self._open_writer = None

    def close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()


@contextmanager
def board(folder: Path | None) -> Iterator[Board]:
    """A board in this folder, which is made for the first numbers, or none.

    Raises CheckpointError where the extra is missing, or the folder can't be one.
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
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise CheckpointError(f"--tensorboard {folder}: {there} is no folder; give another")
    with closing(Board(partial(SummaryWriter, str(folder)))) as opened:
        yield opened
