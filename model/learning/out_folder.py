"""The folder that a run trains its checkpoint in: its own until the checkpoint is whole."""

from __future__ import annotations

from pathlib import Path

from model.checkpoint import CheckpointError
from model.hub import EMBEDDED

_MARK = ".unfinished"


def claim(out: Path) -> None:
    """Make an empty or new folder a run's own; what is in one of its own may be gone on with.

    Raises CheckpointError where it can't be written, would bury what somebody has there, or has a
    name that means another model wherever a model is asked for.
    """
    if out == Path(out.name) and (EMBEDDED / out.name / "config.json").exists():
        raise CheckpointError(
            f"--out {out}: a model of this name is embedded, and would be meant; give another --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = {file.name for file in out.iterdir()}
        if not there:
            (out / _MARK).touch()
    except OSError as error:
        raise CheckpointError(
            f"{out} can't be written ({error.strerror or error}); give a new --out"
        ) from error
    if there and _MARK not in there:
        what = "a finished checkpoint" if "model.safetensors" in there else "other files"
        raise CheckpointError(f"{out} holds {what}; give a new --out")


def release(out: Path) -> None:
    """The checkpoint is whole: from now on no run writes here."""
    (out / _MARK).unlink(missing_ok=True)
