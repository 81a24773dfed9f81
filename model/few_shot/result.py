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
from model.trained_model import save
from model.training.model_card import escape_markdown

_PREFIX, _SUFFIX = ".model-", ".part"  # of the names of unfinished folders
_RENAME_EXCHANGE = 2  # flag of Linux's renameat2
_AT_FDCWD = -100

_CARD = """---
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

Fitted with `actionwatch teach`: the frozen network of {init} with a new classifier ({head}) for
{count} labels.{background}

In this folder:

    actionwatch run --model .

| label | samples | cross-validated recall |
| --- | --- | --- |
{rows}

{metrics}
{extras}
"""


def check_output_dir(folder: Path) -> None:
    """Raise CheckpointError if the folder holds anything but a few-shot model."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        if "samples" in json.loads((folder / "training.json").read_text(encoding="utf-8")):
            return
    raise CheckpointError(
        f"{folder} was not made by `actionwatch teach` and would be replaced; "
        "give another --project"
    )


def write_model(fitted: FewShotModel, folder: Path) -> None:
    """Replace the folder by the model. A crash leaves either the old or the new folder.

    Raises CheckpointError if writing fails, or the folder holds anything but a few-shot model.
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
            (new / "README.md").write_text(model_card(fitted), encoding="utf-8")
            _replace_folder(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder} can't be written: {error.strerror or error}"
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


def model_card(fitted: FewShotModel) -> str:
    """The card in Markdown, with Hugging Face's header."""
    spec, report = fitted.model.spec, fitted.report
    recall = report.recall() if report else {}
    background = ", ".join(sorted(spec.background))
    samples = fitted.samples_per_label
    rows = (
        f"| {escape_markdown(label)} | {count} | "
        + (f"{recall[label]:.0%} |" if label in recall else "|")
        for label, count in sorted(samples.items())
    )
    labels = "all labels" if set(recall) == set(samples) else "the labels that could be measured"
    metrics = (
        f"Mean over {labels}: {report.mean_class_accuracy:.0%}. Each sample was classified by a "
        "classifier that was\nfitted without it. The head and the temperature "
        f"({fitted.model.temperature:.2f}) were selected on the same results,\nso accuracy on "
        "other samples, and mainly in other locations, may be lower. The standard error of the\n"
        f"label with the fewest samples is up to ±{standard_error(fitted):.0%}."
        if report
        else "Not evaluated: no label has samples of several sources."
    )
    return _CARD.format(
        name=escape_markdown(spec.model),
        init=escape_markdown(fitted.init),
        head=fitted.head,
        count=len(spec.labels),
        background=f" Background label: {escape_markdown(background)}." if background else "",
        rows="\n".join(rows),
        metrics=metrics,
        extras=f'\nAdditional training data for "other": {" and ".join(fitted.extras)}.'
        if fitted.extras
        else "",
    )


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
