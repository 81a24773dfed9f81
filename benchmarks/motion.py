"""Accuracy of the embedded model on synthetic clips, clean and corrupted, and its speed.

Clips are held-out ones at full difficulty, with simulated camera faults. The rows below the first
add one more corruption to each clip, see model/evaluation/corruptions.py, or sample all clips from
a camera of 10 fps.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from benchmarks.report import Report, parse_args
from model.evaluation.corruptions import CORRUPTIONS
from model.evaluation.evaluate import evaluate
from model.predictor import Predictor
from model.pretraining.evaluate import synthetic_samples
from model.trained_model import load

_FPS = 10.0


@dataclass(frozen=True)
class Row:
    clips: str  # as rendered, or the corruption
    top1: float
    standard_error: float
    calibration_error: float
    window_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="motion", help="embedded name or folder")
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parse_args(parser)
    model = load(args.model)
    predictor = Predictor(model)
    report = Report(args.json)
    print(f"{predictor.name}, {args.clips} clips")
    kinds: list[tuple[str, str | None, float | None]] = [("as rendered", None, None)]
    kinds += [(name, name, None) for name in CORRUPTIONS]
    kinds += [(f"{_FPS:g} fps", None, _FPS)]
    for name, corruption, fps in kinds:
        result = evaluate(
            predictor,
            model.spec.labels,
            synthetic_samples(model, args.clips, seed=args.seed, fps=fps),
            corruption=corruption,
        )
        accuracy = result.report.top(1)
        standard_error = math.sqrt(accuracy * (1 - accuracy) / args.clips)
        error = result.report.calibration_error()
        report.add(Row(name, accuracy, standard_error, error, 1000 * result.window_s))
        if name == "as rendered":
            for label, recall in result.report.recall().items():
                print(f"    {label:<26} {recall:6.1%}")
            for truth, predicted, count in result.report.mistakes(6):
                print(f"    {truth} -> {predicted}: {count}")
    report.write(model=args.model, engine=predictor.name)


if __name__ == "__main__":
    main()
