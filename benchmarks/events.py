"""How accurate the events of synthetic scenes are, and how many false alarms empty ones raise.

Renders videos with known ground truth: motions of varying speed with rests between them, a small
trembling object, and drifting light. `actionwatch scan` detects their events with the default or
another event configuration. The empty videos show the same scenes without motions. Videos and
stored scores stay in --folder, so that another configuration is evaluated in seconds.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.processes import actionwatch
from benchmarks.report import Report, parse_args
from stream.config.load import load_config
from stream.evaluation.event_metrics import LabelMetrics, evaluate, predicted_segments
from stream.formats.ground_truth import GroundTruthSegment
from stream.replay.replay import replay
from stream.sinks.event_log.rows import as_row
from stream.synthetic.scene import Scene
from tests.motion_video import encode

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

    @classmethod
    def of(cls, label: str, metrics: LabelMetrics) -> Row:
        f1_03, f1_05, f1_07 = (at.f1 for at in metrics.at_iou)
        return cls(
            label,
            metrics.truth,
            metrics.events,
            f1_03,
            f1_05,
            f1_07,
            metrics.start_error_s,
            metrics.delay_s,
            metrics.false_alarms_per_hour,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=50, help="videos with motions")
    parser.add_argument("--empty", type=int, default=30, help="videos without motions")
    parser.add_argument("--seconds", type=int, default=120, help="length of each video")
    parser.add_argument("--model", default="motion")
    parser.add_argument("--config", type=Path, help="YAML file with other `events:`")
    parser.add_argument("--folder", type=Path, help="where videos and scores stay")
    args = parse_args(parser, scenes=2, empty=2, seconds=30)
    report = Report(args.json)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        videos = [_video(folder, seed, args.seconds, still=False) for seed in range(args.scenes)]
        empty = [_video(folder, seed, args.seconds, still=True) for seed in range(args.empty)]
        log = folder / "log"
        print(actionwatch("scan", "--out", log, "--model", args.model, *videos, *empty))
        config = load_config(args.config).events
        logged = predicted_segments(as_row(one) for one in replay(log, config).events)
    names = {video.stem for video in videos}
    truth = [
        segment
        for seed, video in enumerate(videos)
        for segment in truth_of(
            Scene(seed, width=_SIZE[0], height=_SIZE[1]), video.stem, args.seconds
        )
    ]
    moving = [one for one in logged if one.file in names]
    metrics = evaluate(truth, moving, duration_s=float(args.seconds * args.scenes))
    for one in (*metrics.labels, metrics.overall):
        report.add(Row.of(one.label, one))
    alarms, hours = len(logged) - len(moving), args.seconds * args.empty / 3600
    error_s = metrics.overall.start_error_abs_s
    print(f"median absolute start error: {'-' if error_s is None else f'{error_s:.3f} s'}")
    print(f"{alarms} false alarms in {hours:.2f} h of empty scenes: {alarms / hours:.2f} an hour")
    report.write(empty_false_alarms=alarms, empty_hours=hours)


def truth_of(scene: Scene, file: str, seconds: float) -> list[GroundTruthSegment]:
    """The scene's motions; the last one is cut at the end of the video."""
    return [
        GroundTruthSegment(file, motion.label, motion.start_s, min(motion.end_s, seconds))
        for motion in scene.ground_truth(seconds)
    ]


def _video(folder: Path, seed: int, seconds: int, *, still: bool) -> Path:
    """A video of a scene, rendered if it does not exist yet."""
    file = folder / f"{'empty' if still else 'scene'}-{seed}-{seconds}.mp4"
    if file.exists():
        return file
    frames = _frames(seed, seconds, still=still)
    part = file.with_suffix(".part")
    return encode(part, frames, _SIZE, _FPS, preset="veryfast", crf="20").replace(file)


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


if __name__ == "__main__":
    main()
