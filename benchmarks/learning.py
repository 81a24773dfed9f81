"""Fine-tuning the embedded model compared with training from scratch.

The data is split by source, once per seed. The held-out sources have no part in training (the last
epoch counts, not the best one) and are evaluated afterwards. With --leave-out each source is held
out once, for example one person per source, and the predictions of all folds are pooled.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.report import Report, parse_args
from model.data.examples import Example, read_data
from model.data.splits import Splits, leave_one_group_out, split
from model.evaluation.metrics import ClassificationReport
from model.trained_model import TrainedModel, load
from model.training.distributed import init_distributed
from model.training.train import InitCheckpoint, TrainResult, train
from model.training.train_config import TrainConfig
from stream.config.load import parse, read_text


@dataclass(frozen=True)
class Row:
    """The result of one seed."""

    init: str
    seed: int
    balanced_accuracy: float  # mean class accuracy on the held-out clips
    top1: float
    clips: int  # held out
    duration_s: float
    curve: list[float] = field(
        repr=False
    )  # balanced accuracy after each epoch, mean over the folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder or annotation file, as for train")
    parser.add_argument("--init", default="motion")
    parser.add_argument("--config", type=Path, help="YAML file, as for `actionwatch train`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--val-fraction", type=float, default=0.2, help="of the sources, held out")
    parser.add_argument("--leave-out", action="store_true", help="hold out each source in turn")
    parser.add_argument("--only", choices=["init", "scratch"], help="run one of the two")
    given = parse_args(parser)
    text = read_text(given.config) if given.config else ""
    config = parse(TrainConfig, text, given.config, {"checkpoint": "last"})
    examples = read_data(given.data).examples
    model = load(given.init)
    report = Report(given.json)
    with tempfile.TemporaryDirectory() as cache:
        run(given, config, examples, model, Path(cache), report)
    report.write(config=config.model_dump(mode="json"))


def run(
    given: argparse.Namespace,
    config: TrainConfig,
    examples: tuple[Example, ...],
    model: TrainedModel,
    cache: Path,
    report: Report,
) -> None:
    """Measure fine-tuning and training from scratch."""
    for scratch in (False, True):
        if given.only == ("init" if scratch else "scratch"):
            continue
        name = "from scratch" if scratch else f"from {given.init}"
        for seed in range(given.seeds):
            folds = list(make_folds(examples, given.leave_out, given.val_fraction, seed))
            seed_config = config.model_copy(update={"seed": seed})
            report.add(measure(InitCheckpoint(model, name, scratch), folds, seed_config, cache))
        rows = [row for row in report.rows if row.init == name]
        accuracies = [row.balanced_accuracy for row in rows]
        deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        print(
            f"{name:<14} mean {statistics.mean(accuracies):.1%}, standard deviation {deviation:.1%}"
        )
        curve = np.array([row.curve for row in rows]).mean(axis=0)
        steps = range(0, len(curve), max(1, len(curve) // 8))
        print("  curve: " + "  ".join(f"{step + 1}: {curve[step]:.0%}" for step in steps))


def make_folds(
    examples: tuple[Example, ...], leave_out: bool, val_fraction: float, seed: int
) -> Iterator[Splits]:
    if not leave_out:
        yield split(examples, val_fraction=val_fraction, seed=seed)
        return
    for _, splits in leave_one_group_out(examples, key=lambda example: example.source):
        yield splits


def measure(init: InitCheckpoint, folds: list[Splits], config: TrainConfig, cache: Path) -> Row:
    started = time.perf_counter()
    results = [train_fold(init, splits, config, cache) for splits in folds]
    reports = [result.report for result in results if result.report is not None]
    if len({report.labels for report in reports}) != 1:
        raise SystemExit("a label has only one source, which can't be in both train and val")
    pooled = ClassificationReport(
        reports[0].labels,
        np.concatenate([report.truth for report in reports]),
        np.concatenate([report.probabilities for report in reports]),
    )
    curves = np.array(
        [[metrics.val_balanced_accuracy for metrics in result.history] for result in results]
    )
    return Row(
        init=init.name,
        seed=config.seed,
        balanced_accuracy=pooled.mean_class_accuracy,
        top1=pooled.top(1),
        clips=len(pooled.truth),
        duration_s=time.perf_counter() - started,
        curve=curves.mean(axis=0).tolist(),
    )


def train_fold(
    init: InitCheckpoint, splits: Splits, config: TrainConfig, cache: Path
) -> TrainResult:
    with tempfile.TemporaryDirectory() as folder, init_distributed() as context:
        return train(splits, Path(folder) / "out", config, init, context=context, cache=cache)


if __name__ == "__main__":
    main()
