"""How good the embedded model is at drawn clips, as they are and spoilt, and how fast.

Clips are held-out ones at full difficulty, with the faults of cameras drawn into them. The rows
below the first add one more fault to each clip, see model/training/corruptions.py, or
have all clips from a camera of 10 frames a second.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import machine, write_report
from model.evaluation.corruptions import CORRUPTIONS
from model.evaluation.evaluate import evaluate
from model.predictor import Predictor
from model.pretraining.evaluate import drawn_samples
from model.trained_model import load

_FPS = 10.0


@dataclass(frozen=True)
class Row:
    clips: str  # what they are like
    top1: float
    standard_error: float
    calibration_error: float
    window_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="motion", help="embedded name or folder")
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = load(args.model)
    predictor = Predictor(model)
    rows: list[Row] = []
    print(f"{machine()}, {predictor.name}, {args.clips} clips")
    kinds: list[tuple[str, str | None, float | None]] = [("as drawn", None, None)]
    kinds += [(name, name, None) for name in CORRUPTIONS]
    kinds += [(f"{_FPS:g} fps", None, _FPS)]
    for name, corruption, fps in kinds:
        found = evaluate(
            predictor,
            model.spec.labels,
            drawn_samples(model, args.clips, seed=args.seed, fps=fps),
            corruption=corruption,
        )
        right = found.measured.top(1)
        spread = math.sqrt(right * (1 - right) / args.clips)
        error = found.measured.calibration_error()
        rows.append(Row(name, right, spread, error, 1000 * found.window_s))
        print(
            f"{name:<10} {right:6.1%} (±{spread:.1%})  calibration error {error:.1%}  "
            f"{1000 * found.window_s:.1f} ms a window",
            flush=True,
        )
        if name == "as drawn":
            for label, share in found.measured.recall().items():
                print(f"    {label:<26} {share:6.1%}")
            for truth, answer, count in found.measured.mistakes(6):
                print(f"    {truth} -> {answer}: {count}")
    if args.json:
        write_report(args.json, rows, model=args.model, engine=predictor.name)


if __name__ == "__main__":
    main()
