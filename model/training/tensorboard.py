"""Writes the metrics of a training run for TensorBoard, an optional extra."""

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
from model.training.fit import EpochMetrics

_log = logging.getLogger(__name__)


class TensorBoardLogger:
    """Writes the metrics of each epoch, until the disk is full."""

    def __init__(self, open_writer: Callable[[], Any] | None) -> None:
        self._open_writer = open_writer
        self._writer: Any = None

    def write(self, metrics: EpochMetrics) -> None:
        if self._open_writer is None:
            return
        try:
            self._writer = self._writer or self._open_writer()
            for key, value in asdict(metrics).items():
                if key != "epoch" and not math.isnan(value):
                    self._writer.add_scalar(key.replace("_", "/", 1), value, metrics.epoch)
            self._writer.flush()
        except OSError as error:  # no reason to end a run of hours
            _log.warning("TensorBoard logging stopped: %s", error)
            self._open_writer = None

    def close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()


@contextmanager
def open_tensorboard(folder: Path | None) -> Iterator[TensorBoardLogger]:
    """A logger that creates `folder` with the first metrics; without a folder it does nothing.

    Raises CheckpointError if the extra is missing, or the folder can't be created.
    """
    if folder is None:
        yield TensorBoardLogger(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CheckpointError(
            "--tensorboard needs the tensorboard extra: pip install 'actionwatch[tensorboard]'"
        ) from error
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise CheckpointError(
            f"--tensorboard {folder}: {existing} is not a folder; give another folder"
        )
    with closing(TensorBoardLogger(partial(SummaryWriter, str(folder)))) as logger:
        yield logger
