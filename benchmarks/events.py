"""How good the logged events of drawn scenes are, and how many false alarms empty ones raise.

Draws films whose truth is known: motions that change their speed, with rests between them, a thing
that trembles beside them, and light that drifts. `actionwatch scan` finds their events with the
default policy or another one, which are scored. The empty films show the same scenes with
nothing going on. Films and their kept scores stay in --folder, so that a second run takes seconds:
another policy is tried on the kept scores.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.report import write_report
from stream.config.load import load_config
from stream.evaluation.event_metrics import Report, found, score
from stream.evaluation.ground_truth import Truth
from stream.replay.replay import replay
from stream.sinks.event_log.rows import as_row
from stream.synthetic import Scene

_FPS = 25
_SIZE = (320, 240)


@dataclass(frozen=True)
class Row:
    """One label, or all, on the films with motions."""

    label: str
    truth: int
    events: int
    f1_03: float | None
    f1_05: float | None
    f1_07: float | None
    start_error_s: float | None
    delay_s: float | None
    false_alarms_per_hour: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=50, help="films with motions")
    parser.add_argument("--empty", type=int, default=30, help="films without")
    parser.add_argument("--seconds", type=int, default=120, help="length of each film")
    parser.add_argument("--model", default="motion")
    parser.add_argument("--policy", type=Path, help="YAML file with other `events:`")
    parser.add_argument("--folder", type=Path, help="where films and scores stay")
    parser.add_argument("--quick", action="store_true", help="two films of each, of 30 seconds")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    scenes, empty = (2, 2) if given.quick else (given.scenes, given.empty)
    seconds = 30 if given.quick else given.seconds
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        films = [_film(folder, seed, seconds, still=False) for seed in range(scenes)]
        quiet = [_film(folder, seed, seconds, still=True) for seed in range(empty)]
        _scan([*films, *quiet], folder / "log", given.model)
        policy = load_config(given.policy).events
        logged = found(as_row(one) for one in replay(folder / "log", policy).events)
    names = {film.stem for film in films}
    truth = [
        Truth(film.stem, one.label, one.start_s, min(one.end_s, float(seconds)))
        for seed, film in enumerate(films)
        for one in Scene(seed, width=_SIZE[0], height=_SIZE[1]).truth(seconds)
    ]
    moving = [one for one in logged if one.file in names]
    report = score(truth, moving, watched_s=float(seconds * scenes))
    rows = _rows(report)
    _print(rows)
    alarms = len(logged) - len(moving)
    hours = seconds * empty / 3600
    print(f"\nmedian start error, either way: {report.overall.start_error_abs_s:.3f} s")
    print(f"{alarms} false alarms in {hours:.2f} h of empty scenes: {alarms / hours:.2f} an hour")
    if given.json:
        write_report(given.json, rows, empty_false_alarms=alarms, empty_hours=hours)


def _film(folder: Path, seed: int, seconds: int, *, still: bool) -> Path:
    """A film of a scene, drawn if it is not there yet."""
    file = folder / f"{'empty' if still else 'scene'}-{seed}-{seconds}.mp4"
    if file.exists():
        return file
    part = file.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=_FPS, options={"preset": "veryfast", "crf": "20"}
        )
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(_pictures(seed, seconds, still=still)):
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.replace(file)
    return file


def _pictures(seed: int, seconds: int, *, still: bool) -> Iterator[np.ndarray]:
    scene = Scene(seed, width=_SIZE[0], height=_SIZE[1])
    motions = scene.truth(float(seconds))
    rng = np.random.default_rng((seed, 0xE7E))
    place = rng.uniform(0.1, 0.9, 2) * _SIZE
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    drift, tremble = rng.uniform(20, 60), np.zeros(2)
    for number in range(seconds * _FPS):
        now = number / _FPS
        shown = now
        for motion in motions:
            if motion.start_s <= now < motion.end_s:  # slower and faster, by up to 40 %
                length = motion.end_s - motion.start_s
                turn = 2 * math.pi * (now - motion.start_s) / length
                shown = now - 0.4 * length / (2 * math.pi) * math.sin(turn)
        if still:  # the rest before the first motion, again and again
            shown = now % motions[0].start_s
        picture = scene.picture(shown)
        tremble = 0.6 * tremble + rng.normal(0, 1.0, 2)  # as a leaf does, without a rhythm
        centre = tuple(round(float(value)) for value in place + tremble)
        cv2.circle(picture, centre, 7, colour, -1, cv2.LINE_AA)
        yield cv2.convertScaleAbs(picture, alpha=1 + 0.08 * math.sin(2 * math.pi * now / drift))


def _scan(films: list[Path], out: Path, model: str) -> None:
    command = [sys.executable, "-m", "ui.cli", "scan", "--out", str(out), "--model", model]
    done = subprocess.run([*command, *map(str, films)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"actionwatch scan failed: {done.stderr.strip()[-500:]}")
    print(done.stdout.strip().splitlines()[-1], file=sys.stderr)


def _rows(report: Report) -> list[Row]:
    return [
        Row(
            label=one.label,
            truth=one.truth,
            events=one.events,
            f1_03=one.agreements[0].f1,
            f1_05=one.agreements[1].f1,
            f1_07=one.agreements[2].f1,
            start_error_s=one.start_error_s,
            delay_s=one.delay_s,
            false_alarms_per_hour=one.false_alarms_per_hour,
        )
        for one in (*report.labels, report.overall)
    ]


def _print(rows: list[Row]) -> None:
    names = ("label", "truth", "events", "F1 0.3", "F1 0.5", "F1 0.7", "start", "delay", "false/h")
    print(f"{names[0]:<26}" + "".join(f"{name:>9}" for name in names[1:]))
    for row in rows:
        values = (row.f1_03, row.f1_05, row.f1_07, row.start_error_s, row.delay_s)
        shown = "".join(f"{'-' if value is None else f'{value:.2f}':>9}" for value in values)
        alarms = row.false_alarms_per_hour
        print(
            f"{row.label:<26}{row.truth:>9}{row.events:>9}{shown}"
            f"{'-' if alarms is None else f'{alarms:.1f}':>9}"
        )


if __name__ == "__main__":
    main()
