"""A training run as it is kept on the disk between epochs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import CheckpointError, read_pickle


def write_run(file: Path, belongs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Keep a run; what was kept of it before is replaced only when all is written.

    `belongs` is everything that its result depends on, by name.

    Raises CheckpointError where the disk takes no more: the run as it was before is still there.
    """
    held = io.BytesIO()  # torch itself makes any kind of error of a full disk
    torch.save({"belongs": dict(belongs), **state}, held)
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(held.getbuffer())
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise CheckpointError(
            f"{file} can't be written ({error.strerror or error}); make room, and give the same "
            "command again: it goes on after the last epoch that was kept"
        ) from error


def read_run(file: Path, belongs: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was kept of a run, None where nothing was. Raises CheckpointError for another's."""
    if not file.exists():
        return None
    kept: dict[str, Any] = read_pickle(file)
    before = kept["belongs"]
    differs = [key for key in belongs if key not in before or before[key] != belongs[key]]
    if differs:
        raise CheckpointError(
            f"{file} belongs to a run that differs in {', '.join(differs)}; "
            "go on with the same data and options, or give a new --out"
        )
    return kept
