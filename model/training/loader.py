"""Batches of clips; beside a GPU, worker processes prepare them."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from model.training.distributed import DistributedContext

_PREFETCH_BATCHES = 4  # per worker process


def make_loader(
    clips: Dataset[Any],
    context: DistributedContext,
    *,
    num_workers: int | Literal["auto"] = "auto",
    **batches: Any,
) -> DataLoader[Any]:
    """A loader of this rank's clips; `batches` are DataLoader's own arguments for batching.

    With `num_workers` "auto" there is one worker per core beside a GPU and none on a CPU, where
    workers would take the cores from the network.
    """
    if num_workers == "auto":
        num_workers = 0 if context.device.type == "cpu" else context.cores
    if num_workers:
        # A process forked while OpenCV has threads inherits none of them and waits for them.
        _use_one_opencv_thread()
    return DataLoader(
        clips,
        num_workers=num_workers,
        prefetch_factor=_PREFETCH_BATCHES if num_workers else None,
        worker_init_fn=_use_one_opencv_thread,
        pin_memory=context.device.type == "cuda",
        # The loader draws a seed. It must not come from the generator of the network's dropout:
        # a resumed run creates one more loader than an uninterrupted one.
        generator=torch.Generator(),
        **batches,
    )


def _use_one_opencv_thread(_: int = 0) -> None:
    """Small frames are processed fastest by one thread."""
    cv2.setNumThreads(1)
