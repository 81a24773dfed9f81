"""The state of a training run, saved after each epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import CheckpointError, read_pickle
from stream.runtime.errors import reason_of
from stream.runtime.files import write_atomically


def save_state(file: Path, fingerprint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Save a run's state; the previous state is replaced only after all of it is written.

    `fingerprint` holds everything that the result depends on, by name.

    Raises CheckpointError if the disk is full; the previous state stays.
    """
    buffer = io.BytesIO()  # torch.save to a file raises errors of many types on a full disk
    torch.save({"fingerprint": dict(fingerprint), **state}, buffer)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"{file} can't be written ({reason_of(error)}); free disk space and run the "
            "same command again: it resumes after the last saved epoch"
        ) from error


def load_state(file: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The saved state, or None if there is none. Raises CheckpointError for another run's state."""
    if not file.exists():
        return None
    saved: dict[str, Any] = read_pickle(file)
    before = saved["fingerprint"]
    differs = [key for key in fingerprint if key not in before or before[key] != fingerprint[key]]
    if differs:
        raise CheckpointError(
            f"{file} belongs to a run that differs in {', '.join(differs)}; "
            "use the same data and options to resume it, or give a new --out"
        )
    return saved
