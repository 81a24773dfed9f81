"""The folder that a run trains its checkpoint in: its own until the checkpoint is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.checkpoint import CheckpointError
from model.hub import EMBEDDED
from stream.runtime.files import THERE_ARE, take

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


@contextmanager
def held(out: Path) -> Iterator[None]:
    """For one run alone, until it ends in whatever way. Raises CheckpointError for another one."""
    if not THERE_ARE:
        yield
        return
    with (out / _MARK).open("a") as mark:
        taken = True
        with suppress(OSError):  # a file system that knows no locks
            taken = take(mark)
        if not taken:
            raise CheckpointError(
                f"{out} is being written by another run; wait for its end, or give another --out"
            )
        yield


def release(out: Path) -> None:
    """The checkpoint is whole: from now on no run writes here."""
    (out / _MARK).unlink(missing_ok=True)
