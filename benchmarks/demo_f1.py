"""How many of a scene's motions end up in the event log: F1 against the scene's ground truth.

Runs `actionwatch run` on synthetic scenes in real time, then compares the logged events with the
ground truth, as `actionwatch evaluate-events` does. A pair matches if its labels are equal and its
temporal IoU (intersection over union) is at least 0.5.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.events import Row, truth_of
from benchmarks.processes import actionwatch
from benchmarks.report import Report, parse_args
from stream.evaluation.event_metrics import evaluate, predicted_segments
from stream.evaluation.matching import PredictedSegment
from stream.formats.ground_truth import GroundTruthSegment
from stream.sinks.event_log.event_log import EventLog
from stream.synthetic.scene import Scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of scenes")
    parser.add_argument("--seconds", type=float, default=120, help="length of each scene")
    parser.add_argument("--together", type=int, default=5, help="scenes per run")
    parser.add_argument("--model", default="motion", help="name or folder")
    args = parse_args(parser, seeds=2, seconds=40.0)
    report = Report(args.json)
    truth: list[GroundTruthSegment] = []
    events: list[PredictedSegment] = []
    for first in range(0, args.seeds, args.together):
        seeds = range(first, min(first + args.together, args.seeds))
        logged = run_scenes(seeds, args.seconds, args.model)
        for seed in map(str, seeds):
            scene_truth = truth_of(Scene(int(seed)), seed, args.seconds)
            scene_events = [event for event in logged if event.file == seed]
            metrics = evaluate(scene_truth, scene_events, duration_s=args.seconds).overall
            report.add(Row.of(f"scene {seed}", metrics))
            truth += scene_truth
            events += scene_events
    overall = evaluate(truth, events, duration_s=args.seconds * args.seeds).overall
    report.add(Row.of("all", overall))
    report.write(overall=asdict(overall))


def run_scenes(seeds: range, seconds: float, model: str) -> list[PredictedSegment]:
    """Run scenes as cameras of one run. Returns its logged events, with the seed as file."""
    sources = [option for seed in seeds for option in ("--source", f"demo:{seed}")]
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-ui", "--model", model, "--duration", seconds, "--data", folder)
        print(actionwatch("run", *options, *sources))
        with EventLog.open(Path(folder)) as log:
            logged = list(log.rows())
    names = {f"camera-{number}": str(seed) for number, seed in enumerate(seeds, start=1)}
    if len(seeds) == 1:
        names = {"camera": str(seeds[0])}
    return predicted_segments({**row, "camera": names[row["camera"]]} for row in logged)


if __name__ == "__main__":
    main()
