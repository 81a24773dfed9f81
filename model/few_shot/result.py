"""A taught model on the disk: its folder, which is replaced at once, with a model card."""

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
from model.few_shot.fit import Taught
from model.trained_model import save
from model.training.model_card import plain

_PARTS = (".model-", ".part")  # begin and end the name of a folder that is not whole yet
_EXCHANGE = 2  # of Linux's renameat2
_HERE = -100  # AT_FDCWD

_CARD = """---
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

Taught with `actionwatch teach`: {init} as it is, with a new classifier ({head}) that tells
{count} labels apart.{background}

In this folder:

    actionwatch run --model .

| label | takes | right when left out |
| --- | --- | --- |
{rows}

{measured}
{extras}
"""


def check_place(folder: Path) -> None:
    """Raise CheckpointError where a taught model would bury what is none."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        if "takes" in json.loads((folder / "training.json").read_text(encoding="utf-8")):
            return
    raise CheckpointError(
        f"{folder} was not made by `actionwatch teach`, and would be replaced; give another --into"
    )


def write(taught: Taught, folder: Path) -> None:
    """Put the model in this folder's place. A kill leaves the old one or the new one.

    Raises CheckpointError where that can't be done, or the folder holds anything else.
    """
    check_place(folder)
    begin, end = _PARTS
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f"{begin}*{end}"):
            shutil.rmtree(left, ignore_errors=True)
        made = folder.parent / f"{begin}{os.getpid()}{end}"
        try:
            save(taught.model, made)
            write_json(made / "training.json", numbers(taught))
            (made / "README.md").write_text(card(taught), encoding="utf-8")
            _take_its_place(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder} can't be written: {error.strerror or error}"
        ) from error


def numbers(taught: Taught) -> dict[str, object]:
    """All that was measured, for JSON."""
    return {
        "init": taught.init,
        "head": taught.head,
        "extras": list(taught.extras),
        "takes": taught.takes,
        "seconds": round(taught.seconds, 1),
        "films": as_json({"train": taught.examples}, before=taught.record),
        "left_out": taught.measured.numbers() if taught.measured else None,
    }


def worth(taught: Taught) -> float:
    """The standard error of a share of the label with the fewest takes, at most: sqrt(p q / n)."""
    return math.sqrt(0.25 / min(taught.takes.values()))


def card(taught: Taught) -> str:
    """The card as Markdown, with Hugging Face's header."""
    spec, measured = taught.model.spec, taught.measured
    recall = measured.recall() if measured else {}
    quiet = ", ".join(sorted(spec.background))
    rows = (
        f"| {plain(label)} | {takes} | " + (f"{recall[label]:.0%} |" if label in recall else "|")
        for label, takes in sorted(taught.takes.items())
    )
    of = "the labels" if set(recall) == set(taught.takes) else "the labels that could be measured"
    said = (
        f"Mean of {of} {measured.mean_class_accuracy:.0%}; each take was judged by a "
        "classifier that was taught\nwithout it. The better of two kinds and the temperature "
        f"({taught.model.temperature:.2f}) were chosen by the same answers,\nso other takes, "
        f"and above all other places, may come out worse. A figure of the label with the\nfewest "
        f"takes is worth ±{worth(taught):.0%}."
        if measured
        else "Nothing could be measured: no label has several takes."
    )
    return _CARD.format(
        name=plain(spec.model),
        init=plain(taught.init),
        head=taught.head,
        count=len(spec.labels),
        background=f" {plain(quiet)}: nothing of interest happens." if quiet else "",
        rows="\n".join(rows),
        measured=said,
        extras=f"\nWhat is nothing it also learnt from {' and '.join(taught.extras)}."
        if taught.extras
        else "",
    )


def _take_its_place(made: Path, folder: Path) -> None:
    """Give a new folder the name of the old one, which then has the new one's, or none.

    Linux exchanges the two at once. Elsewhere a kill at this very moment can leave the old one
    under another name. Raises OSError.
    """
    if not folder.exists():
        made.rename(folder)
        return
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # an old system
            exchange = ctypes.CDLL(None).renameat2
            paths = os.fsencode(made), os.fsencode(folder)
            if exchange(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0:
                return
    aside = folder.with_name(f"{made.name}-old{_PARTS[1]}")
    folder.rename(aside)
    made.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
