"""Clips in batches, made ready by processes of their own where a GPU is to be kept busy."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from model.training.distributed import Team

_AHEAD = 4  # batches that each process has ready


def make_loader(
    clips: Dataset[Any], team: Team, *, workers: int | Literal["auto"] = "auto", **batches: Any
) -> DataLoader[Any]:
    """A loader of this process's clips; `batches` are DataLoader's own words for what is in each.

    With `workers` "auto" there is one for each core beside a GPU, and none on a CPU, where they
    would take the cores from the network.
    """
    if workers == "auto":
        workers = 0 if team.device.type == "cpu" else team.cores
    if workers:
        # Who is forked while OpenCV has threads inherits none of them, and waits for them for ever.
        _one_thread()
    return DataLoader(
        clips,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=team.device.type == "cuda",
        # It draws from one, which must not be that of the network's dropout: a run that goes on
        # makes a loader where a whole one makes none.
        generator=torch.Generator(),
        **batches,
    )


def _one_thread(_: int = 0) -> None:
    """Small pictures are made fastest without helpers."""
    cv2.setNumThreads(1)
