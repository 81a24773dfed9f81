"""The output folder of a training run, which the run owns until the checkpoint is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from model.model_folder import EMBEDDED
from model.training.distributed import DistributedContext, TrainingError
from stream.runtime.errors import reason_of
from stream.runtime.files import locked

_MARKER = ".unfinished"


@contextmanager
def reserved(out: Path, context: DistributedContext) -> Iterator[None]:
    """Reserve an empty or new folder for a run; a folder of an unfinished run can be resumed.

    Raises TrainingError if the folder can't be written, holds other files, has the name of an
    embedded model, or belongs to another run that has not ended.
    """
    _acquire(out)
    with ExitStack() as stack:
        context.run_on_main(lambda: _lock(out, stack))
        yield


def finalize(out: Path) -> None:
    """Mark the checkpoint as complete; no later run can write to this folder."""
    (out / _MARKER).unlink(missing_ok=True)


def _acquire(out: Path) -> None:
    if out == Path(out.name) and (EMBEDDED / out.name / "config.json").exists():
        raise TrainingError(f"--out {out}: an embedded model has this name; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = {file.name for file in out.iterdir()}
        if not names:
            (out / _MARKER).touch()
    except OSError as error:
        raise TrainingError(
            f"{out} can't be written ({reason_of(error)}); give a new --out"
        ) from error
    if names and _MARKER not in names:
        content = "a finished checkpoint" if "model.safetensors" in names else "other files"
        raise TrainingError(f"{out} holds {content}; give a new --out")


def _lock(out: Path, stack: ExitStack) -> None:
    acquired = True
    with suppress(OSError):  # a file system without locks
        acquired = stack.enter_context(locked(out / _MARKER))
    if not acquired:
        raise TrainingError(
            f"{out} is being written by another run; wait until it ends, or give another --out"
        )
