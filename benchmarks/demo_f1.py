"""How many of a scene's motions end up in the event log: F1 against the scene's own truth.

Runs `actionwatch run` on drawn scenes in real time, as a person would, then scores what was logged
against what the scenes know, as `actionwatch score` does: F1 is of pairs with the same label that
have at least half of the two stretches together in common (intersection over union).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import write_report
from stream.evaluation.event_metrics import LabelScore, found, score
from stream.evaluation.ground_truth import Truth
from stream.evaluation.matching import Found
from stream.sinks.event_log.event_log import EventLog
from stream.synthetic import Scene


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
    truth: list[Truth] = []
    events: list[Found] = []
    print(f"{'seed':>6} {'motions':>8} {'events':>7} {'matched':>8} {'F1':>6}")
    for first in range(0, count, given.together):
        seeds = list(range(first, min(first + given.together, count)))
        logged = watch(seeds, seconds, given.model)
        for seed in seeds:
            known = truth_of(seed, seconds)
            seen = [event for event in logged if event.file == str(seed)]
            rows.append(row_of(seed, score(known, seen, watched_s=seconds).overall))
            show(str(seed), rows[-1])
            truth += known
            events += seen
    whole = score(truth, events, watched_s=seconds * count).overall
    total = row_of(-1, whole)
    show("all", total)
    for words, value in (
        ("start error, median", whole.start_error_abs_s),
        ("from start to detection, median", whole.delay_s),
    ):
        print(f"{words}: {'-' if value is None else f'{value:.2f} s'}")
    print(f"events that overlap no motion of their label: {whole.false_alarms}")
    if given.json:
        write_report(given.json, rows, f1=total.f1, overall=asdict(whole))


def show(name: str, row: Row) -> None:
    print(f"{name:>6} {row.motions:>8} {row.events:>7} {row.matched:>8} {row.f1:>6.2f}", flush=True)


def watch(seeds: list[int], seconds: float, model: str) -> list[Found]:
    """Watch scenes together in one run: what it logged, each with its seed as the file."""
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
    return found({**row, "camera": names[row["camera"]]} for row in logged)


def truth_of(seed: int, seconds: float) -> list[Truth]:
    """The scene's motions, the last one cut where the watch ended."""
    return [
        Truth(str(seed), motion.label, motion.start_s, min(motion.end_s, seconds))
        for motion in Scene(seed).truth(seconds)
    ]


def row_of(seed: int, of: LabelScore) -> Row:
    half = next(one for one in of.agreements if one.overlap == 0.5)
    return Row(seed, of.truth, of.events, half.matched, 1.0 if half.f1 is None else half.f1)


if __name__ == "__main__":
    main()
