"""Writes the metrics of a training run for TensorBoard, an optional extra."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from model.training.distributed import TrainingError
from model.training.fit import EpochMetrics

_log = logging.getLogger(__name__)


class TensorBoardLogger:
    """Writes the metrics of each epoch to a folder, until the disk is full.

    The first metrics create the folder; without one, nothing is written. Raises TrainingError
    if the extra is missing, or the folder can't be created.
    """

    def __init__(self, folder: Path | None) -> None:
        self._open_writer: Callable[[], Any] | None = None
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "--tensorboard needs the tensorboard extra: pip install 'actionwatch[tensorboard]'"
            ) from error
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise TrainingError(
                f"--tensorboard {folder}: {existing} is not a folder; give another folder"
            )
        self._open_writer = partial(SummaryWriter, str(folder))

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
