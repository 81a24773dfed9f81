"""What the embedded model is worth as a start: fine-tuned against trained from scratch.

The data are split by source, once for each seed: a share of the sources is kept aside, has no part
in training (the last epoch counts, not the best), and is measured afterwards. With --leave-out each
source is kept aside once instead, as where a source is a person; answers of all are put together.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import machine, write_report
from model.data.examples import Example, read_data
from model.data.splits import Splits, folds, split
from model.evaluation.metrics import Measured
from model.trained_model import TrainedModel, load
from model.training.distributed import team
from model.training.train import Result, Start, train
from model.training.train_config import Recipe
from stream.config.load import parse, read_text


@dataclass(frozen=True)
class Row:
    """One seed."""

    init: str
    seed: int
    balanced: float  # mean accuracy of the labels, of what was kept aside
    top1: float
    clips: int  # that were kept aside
    seconds: float
    curve: list[float]  # mean accuracy of the labels after each epoch, mean of the folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder or list, as `actionwatch train` takes it")
    parser.add_argument("--init", default="motion")
    parser.add_argument("--config", type=Path, help="a recipe, as of `actionwatch train`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.2, help="of the sources, kept aside")
    parser.add_argument("--leave-out", action="store_true", help="each source by turns instead")
    parser.add_argument("--only", choices=["init", "scratch"], help="one of the two")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    text = read_text(given.config) if given.config else ""
    recipe = parse(Recipe, text, given.config, {"keep": "last"})
    examples = read_data(given.data).examples
    model = load(given.init)
    print(machine())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        run(given, recipe, examples, model, Path(cache), rows)
    if given.json:
        write_report(given.json, rows, recipe=recipe.model_dump(mode="json"))


def run(
    given: argparse.Namespace,
    recipe: Recipe,
    examples: tuple[Example, ...],
    model: TrainedModel,
    cache: Path,
    rows: list[Row],
) -> None:
    """Measure from the checkpoint and from scratch, and print it as it comes."""
    for scratch in (False, True):
        if given.only == ("init" if scratch else "scratch"):
            continue
        name = "from scratch" if scratch else f"from {given.init}"
        for seed in range(given.seeds):
            parts = list(folded(examples, given.leave_out, given.share, seed))
            own = recipe.model_copy(update={"seed": seed})
            row = measured(Start(model, name, scratch), parts, own, cache)
            rows.append(row)
            print(
                f"{name:<14} seed {seed}  mean of the labels {row.balanced:6.1%}  "
                f"top-1 {row.top1:6.1%}  of {row.clips} clips  {row.seconds:.0f} s",
                flush=True,
            )
        shares = [row.balanced for row in rows if row.init == name]
        spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
        print(f"{name:<14} mean {statistics.mean(shares):.1%}, standard deviation {spread:.1%}")
        courses = np.array([row.curve for row in rows if row.init == name]).mean(axis=0)
        steps = range(0, len(courses), max(1, len(courses) // 8))
        print("  curve: " + "  ".join(f"{step + 1}: {courses[step]:.0%}" for step in steps))


def folded(
    examples: tuple[Example, ...], leave_out: bool, share: float, seed: int
) -> Iterator[Splits]:
    if not leave_out:
        yield split(examples, share=share, seed=seed)
        return
    for _, parts in folds(examples, key=lambda example: example.source):
        yield parts


def measured(start: Start, parts: list[Splits], recipe: Recipe, cache: Path) -> Row:
    began = time.perf_counter()
    results = [one(start, splits, recipe, cache) for splits in parts]
    answers = [result.measured for result in results if result.measured is not None]
    if len({one.labels for one in answers}) != 1:
        raise SystemExit("a label has one source only: it can't be both learnt and kept aside")
    together = Measured(
        answers[0].labels,
        np.concatenate([one.truth for one in answers]),
        np.concatenate([one.probabilities for one in answers]),
    )
    courses = np.array([[epoch.val_balanced for epoch in result.history] for result in results])
    return Row(
        init=start.name,
        seed=recipe.seed,
        balanced=together.mean_class_accuracy,
        top1=together.top(1),
        clips=len(together.truth),
        seconds=time.perf_counter() - began,
        curve=courses.mean(axis=0).tolist(),
    )


def one(start: Start, splits: Splits, recipe: Recipe, cache: Path) -> Result:
    with tempfile.TemporaryDirectory() as folder, team() as alone:
        return train(splits, Path(folder) / "out", recipe, start, team=alone, cache=cache)


if __name__ == "__main__":
    main()
