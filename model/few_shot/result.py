"""Write a few-shot model: its folder, which is replaced atomically, with a model card."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import shutil
import sys
from pathlib import Path

from model.checkpoint import CheckpointError, write_json
from model.data.seen_data import as_json
from model.few_shot.fit import FewShotModel
from model.render import render
from model.trained_model import save
from model.training.distributed import TrainingError
from stream.runtime.errors import reason_of

_PREFIX, _SUFFIX = ".model-", ".part"  # of the names of unfinished folders
_RENAME_EXCHANGE = 2  # flag of Linux's renameat2
_AT_FDCWD = -100


def check_output_dir(folder: Path) -> None:
    """Raise TrainingError if the folder holds anything but a few-shot model."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        if "samples" in json.loads((folder / "training.json").read_text(encoding="utf-8")):
            return
    raise TrainingError(
        f"{folder} was not made by `actionwatch teach` and would be replaced; "
        "give another --project"
    )


def write_model(fitted: FewShotModel, folder: Path) -> None:
    """Replace the folder by the model. A crash leaves either the old or the new folder.

    Raises CheckpointError if writing fails, and TrainingError if the folder holds anything but a
    few-shot model.
    """
    check_output_dir(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.glob(f"{_PREFIX}*{_SUFFIX}"):
            shutil.rmtree(stale, ignore_errors=True)
        new = folder.parent / f"{_PREFIX}{os.getpid()}{_SUFFIX}"
        try:
            save(fitted.model, new)
            write_json(new / "training.json", training_json(fitted))
            card = render("few_shot.md", fitted=fitted, standard_error=standard_error(fitted))
            (new / "README.md").write_text(card, encoding="utf-8")
            _replace_folder(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder} can't be written: {reason_of(error)}"
        ) from error


def training_json(fitted: FewShotModel) -> dict[str, object]:
    """The contents of `training.json`: training data and metrics."""
    return {
        "init": fitted.init,
        "head": fitted.head,
        "extras": list(fitted.extras),
        "samples": fitted.samples_per_label,
        "seconds": round(fitted.duration_s, 1),
        "videos": as_json({"train": fitted.examples}, before=fitted.seen_data),
        "cross_validation": fitted.report.as_dict() if fitted.report else None,
    }


def standard_error(fitted: FewShotModel) -> float:
    """Upper bound of the standard error of the recalls: sqrt(p q / n) at p = 0.5, smallest n."""
    return math.sqrt(0.25 / min(fitted.samples_per_label.values()))


def _replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; an old folder gets the name of `new`, or is deleted.

    Linux exchanges the two atomically. Elsewhere a crash between the two renames can leave the old
    folder under another name. Raises OSError.
    """
    if not folder.exists():
        new.rename(folder)
        return
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # an old system
            exchange = ctypes.CDLL(None).renameat2
            paths = os.fsencode(new), os.fsencode(folder)
            if exchange(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
                return
    old = folder.with_name(f"{new.name}-old{_SUFFIX}")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
