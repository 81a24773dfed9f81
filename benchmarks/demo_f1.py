"""How many of a scene's motions end up in the event log: F1 against the scene's ground truth.

Runs `actionwatch run` on synthetic scenes in real time, then compares the logged events with the
ground truth, as `actionwatch evaluate-events` does. A pair matches if its labels are equal and its
temporal IoU (intersection over union) is at least 0.5.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import write_report
from stream.evaluation.event_metrics import LabelMetrics, evaluate, predicted_segments
from stream.evaluation.matching import PredictedSegment
from stream.formats.ground_truth import GroundTruthSegment
from stream.sinks.event_log.event_log import EventLog
from stream.synthetic import Scene


@dataclass(frozen=True)
class Row:
    """One scene: its motions, logged events and matches."""

    seed: int
    motions: int
    events: int
    matched: int
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of scenes")
    parser.add_argument("--seconds", type=float, default=120, help="length of each scene")
    parser.add_argument("--together", type=int, default=5, help="scenes per run")
    parser.add_argument(
        "--model", default="motion", help="embedded name, folder, or Hugging Face name"
    )
    parser.add_argument("--quick", action="store_true", help="two scenes of 40 seconds")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    count, seconds = (2, 40.0) if args.quick else (args.seeds, args.seconds)
    rows: list[Row] = []
    truth: list[GroundTruthSegment] = []
    events: list[PredictedSegment] = []
    print(f"{'seed':>6} {'motions':>8} {'events':>7} {'matched':>8} {'F1':>6}")
    for first in range(0, count, args.together):
        seeds = list(range(first, min(first + args.together, count)))
        logged = run_scenes(seeds, seconds, args.model)
        for seed in seeds:
            scene_truth = truth_of(seed, seconds)
            scene_events = [event for event in logged if event.file == str(seed)]
            rows.append(
                row_of(seed, evaluate(scene_truth, scene_events, duration_s=seconds).overall)
            )
            show(str(seed), rows[-1])
            truth += scene_truth
            events += scene_events
    overall = evaluate(truth, events, duration_s=seconds * count).overall
    total = row_of(-1, overall)
    show("all", total)
    for text, value in (
        ("start error, median", overall.start_error_abs_s),
        ("detection delay, median", overall.delay_s),
    ):
        print(f"{text}: {'-' if value is None else f'{value:.2f} s'}")
    print(f"events that overlap no motion of their label: {overall.false_alarms}")
    if args.json:
        write_report(args.json, rows, f1=total.f1, overall=asdict(overall))


def show(name: str, row: Row) -> None:
    print(f"{name:>6} {row.motions:>8} {row.events:>7} {row.matched:>8} {row.f1:>6.2f}", flush=True)


def run_scenes(seeds: list[int], seconds: float, model: str) -> list[PredictedSegment]:
    """Run scenes as cameras of one run. Returns its logged events, with the seed as file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ui.cli", "run", "--no-ui", "--model", model]
        command += ["--duration", str(seconds), "--data", folder]
        for seed in seeds:
            command += ["--source", f"demo:{seed}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"actionwatch run failed: {done.stderr.strip()[-500:]}")
        print(done.stdout.strip(), file=sys.stderr)
        with EventLog.open(Path(folder)) as log:
            logged = list(log.rows())
    names = {f"camera-{number}": str(seed) for number, seed in enumerate(seeds, start=1)}
    if len(seeds) == 1:
        names = {"camera": str(seeds[0])}
    return predicted_segments({**row, "camera": names[row["camera"]]} for row in logged)


def truth_of(seed: int, seconds: float) -> list[GroundTruthSegment]:
    """The scene's motions; the last one is cut at the end of the run."""
    return [
        GroundTruthSegment(str(seed), motion.label, motion.start_s, min(motion.end_s, seconds))
        for motion in Scene(seed).ground_truth(seconds)
    ]


def row_of(seed: int, metrics: LabelMetrics) -> Row:
    half = next(one for one in metrics.at_iou if one.iou == 0.5)
    return Row(
        seed, metrics.truth, metrics.events, half.matched, 1.0 if half.f1 is None else half.f1
    )


if __name__ == "__main__":
    main()
