"""How accurate the events of synthetic scenes are, and how many false alarms empty ones raise.

Renders videos with known ground truth: motions of varying speed with rests between them, a small
trembling object, and drifting light. `actionwatch scan` detects their events with the default or
another event configuration. The empty videos show the same scenes without motions. Videos and
stored scores stay in --folder, so that another configuration is evaluated in seconds.
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
from stream.evaluation.event_metrics import Report, evaluate, predicted_segments
from stream.formats.ground_truth import GroundTruthSegment
from stream.replay.replay import replay
from stream.sinks.event_log.rows import as_row
from stream.synthetic import Scene

_FPS = 25
_SIZE = (320, 240)


@dataclass(frozen=True)
class Row:
    """One label, or all labels, on the videos with motions."""

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
    parser.add_argument("--scenes", type=int, default=50, help="videos with motions")
    parser.add_argument("--empty", type=int, default=30, help="videos without motions")
    parser.add_argument("--seconds", type=int, default=120, help="length of each video")
    parser.add_argument("--model", default="motion")
    parser.add_argument("--config", type=Path, help="YAML file with other `events:`")
    parser.add_argument("--folder", type=Path, help="where videos and scores stay")
    parser.add_argument("--quick", action="store_true", help="two videos of each, of 30 seconds")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    args = parser.parse_args()
    scenes, empty = (2, 2) if args.quick else (args.scenes, args.empty)
    seconds = 30 if args.quick else args.seconds
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        videos = [_video(folder, seed, seconds, still=False) for seed in range(scenes)]
        empty_videos = [_video(folder, seed, seconds, still=True) for seed in range(empty)]
        _scan([*videos, *empty_videos], folder / "log", args.model)
        config = load_config(args.config).events
        logged = predicted_segments(as_row(one) for one in replay(folder / "log", config).events)
    names = {video.stem for video in videos}
    truth = [
        GroundTruthSegment(video.stem, one.label, one.start_s, min(one.end_s, float(seconds)))
        for seed, video in enumerate(videos)
        for one in Scene(seed, width=_SIZE[0], height=_SIZE[1]).ground_truth(seconds)
    ]
    moving = [one for one in logged if one.file in names]
    report = evaluate(truth, moving, duration_s=float(seconds * scenes))
    rows = _rows(report)
    _print(rows)
    alarms = len(logged) - len(moving)
    hours = seconds * empty / 3600
    print(f"\nmedian absolute start error: {report.overall.start_error_abs_s:.3f} s")
    print(f"{alarms} false alarms in {hours:.2f} h of empty scenes: {alarms / hours:.2f} an hour")
    if args.json:
        write_report(args.json, rows, empty_false_alarms=alarms, empty_hours=hours)


def _video(folder: Path, seed: int, seconds: int, *, still: bool) -> Path:
    """A video of a scene, rendered if it does not exist yet."""
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
        for number, pixels in enumerate(_frames(seed, seconds, still=still)):
            frame = VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.replace(file)
    return file


def _frames(seed: int, seconds: int, *, still: bool) -> Iterator[np.ndarray]:
    scene = Scene(seed, width=_SIZE[0], height=_SIZE[1])
    motions = scene.ground_truth(float(seconds))
    rng = np.random.default_rng((seed, 0xE7E))
    position = rng.uniform(0.1, 0.9, 2) * _SIZE
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    drift, jitter = rng.uniform(20, 60), np.zeros(2)
    for number in range(seconds * _FPS):
        now = number / _FPS
        scene_s = now
        for motion in motions:
            if motion.start_s <= now < motion.end_s:  # slower and faster, by up to 40 %
                length = motion.end_s - motion.start_s
                phase = 2 * math.pi * (now - motion.start_s) / length
                scene_s = now - 0.4 * length / (2 * math.pi) * math.sin(phase)
        if still:  # repeat the rest before the first motion
            scene_s = now % motions[0].start_s
        pixels = scene.render(scene_s)
        jitter = 0.6 * jitter + rng.normal(0, 1.0, 2)  # without a rhythm, like a leaf
        center = tuple(round(float(value)) for value in position + jitter)
        cv2.circle(pixels, center, 7, color, -1, cv2.LINE_AA)
        yield cv2.convertScaleAbs(pixels, alpha=1 + 0.08 * math.sin(2 * math.pi * now / drift))


def _scan(videos: list[Path], out: Path, model: str) -> None:
    command = [sys.executable, "-m", "ui.cli", "scan", "--out", str(out), "--model", model]
    done = subprocess.run(
        [*command, *map(str, videos)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"actionwatch scan failed: {done.stderr.strip()[-500:]}")
    print(done.stdout.strip().splitlines()[-1], file=sys.stderr)


def _rows(report: Report) -> list[Row]:
    return [
        Row(
            label=one.label,
            truth=one.truth,
            events=one.events,
            f1_03=one.at_iou[0].f1,
            f1_05=one.at_iou[1].f1,
            f1_07=one.at_iou[2].f1,
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
        cells = "".join(f"{'-' if value is None else f'{value:.2f}':>9}" for value in values)
        alarms = row.false_alarms_per_hour
        print(
            f"{row.label:<26}{row.truth:>9}{row.events:>9}{cells}"
            f"{'-' if alarms is None else f'{alarms:.1f}':>9}"
        )


if __name__ == "__main__":
    main()
