"""How many of a scene's motions end up in the event log: F1 against the scene's own truth.

Runs `actionwatch run` on drawn scenes in real time, as a person would, then matches what was
logged with what the scenes know: the same label, and at least half of the two stretches together
in common (intersection over union). Each motion and each event is matched once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import write_report
from stream.event_log import EventLog
from stream.synthetic import Scene, Segment


@dataclass(frozen=True)
class Row:
    """One scene: how many motions it had, how many events were logged, how many agree."""

    seed: int
    motions: int
    events: int
    matched: int
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many scenes")
    parser.add_argument("--seconds", type=float, default=120, help="length of each scene")
    parser.add_argument("--together", type=int, default=5, help="scenes watched by one run")
    parser.add_argument(
        "--model", default="motion", help="embedded name, folder, or Hugging Face name"
    )
    parser.add_argument("--quick", action="store_true", help="two scenes of 40 seconds")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    count, seconds = (2, 40.0) if given.quick else (given.seeds, given.seconds)
    rows: list[Row] = []
    print(f"{'seed':>6} {'motions':>8} {'events':>7} {'matched':>8} {'F1':>6}")
    for first in range(0, count, given.together):
        seeds = list(range(first, min(first + given.together, count)))
        for row in watch(seeds, seconds, given.model):
            rows.append(row)
            print(f"{row.seed:>6} {row.motions:>8} {row.events:>7} {row.matched:>8} {row.f1:>6.2f}")
    total = combine(rows)
    print(f"{'all':>6} {total.motions:>8} {total.events:>7} {total.matched:>8} {total.f1:>6.2f}")
    if given.json:
        write_report(given.json, rows, f1=total.f1)


def watch(seeds: list[int], seconds: float, model: str) -> list[Row]:
    """Watch scenes together in one run, and compare its log with their truth."""
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
    rows = []
    for number, seed in enumerate(seeds, start=1):
        camera = "camera" if len(seeds) == 1 else f"camera-{number}"
        events = [
            Segment(row["label"], row["start_s"], row["end_s"])
            for row in logged
            if row["camera"] == camera
        ]
        rows.append(score(seed, truth_of(seed, seconds), events))
    return rows


def truth_of(seed: int, seconds: float) -> list[Segment]:
    """The scene's motions, the last one cut where the watch ended."""
    return [
        Segment(segment.label, segment.start_s, min(segment.end_s, seconds))
        for segment in Scene(seed).truth(seconds)
    ]


def score(seed: int, truth: list[Segment], events: list[Segment]) -> Row:
    left = list(events)
    matched = 0
    for segment in truth:
        best = max(left, key=lambda event: overlap(segment, event), default=None)
        if best is not None and overlap(segment, best) >= 0.5:
            left.remove(best)
            matched += 1
    return Row(seed, len(truth), len(events), matched, f1(len(truth), len(events), matched))


def overlap(one: Segment, other: Segment) -> float:
    """Intersection over union in time; 0 for different labels."""
    shared = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    whole = max(one.end_s, other.end_s) - min(one.start_s, other.start_s)
    return max(0.0, shared / whole) if one.label == other.label and whole > 0 else 0.0


def f1(motions: int, events: int, matched: int) -> float:
    return 2 * matched / (motions + events) if motions + events else 1.0


def combine(rows: list[Row]) -> Row:
    motions, events = sum(row.motions for row in rows), sum(row.events for row in rows)
    matched = sum(row.matched for row in rows)
    return Row(-1, motions, events, matched, f1(motions, events, matched))


if __name__ == "__main__":
    main()
