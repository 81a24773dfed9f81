"""How many windows the motion gate skips, and which motions it misses.

Windows of synthetic scenes, whose motions are known, and of videos, cut as in a service. A motion
is missed if no scored window contains at least half of it.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Report, parse_args
from model.trained_model import load
from stream.config.config import MotionGateConfig
from stream.messages import ClipSpec, FrameTime
from stream.regions.clip_source import RegionClipSource
from stream.scheduling.window_grid import WindowGrid
from stream.sources.video_file import VideoReader, open_video
from stream.synthetic.scene import Scene, Segment

_FPS, _STRIDE_S = 25.0, 0.25
TimedFrame = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One scene or video, with one threshold."""

    source: str
    area: float
    windows: int
    gated: float  # fraction of windows that were not scored
    motions: int
    missed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120, help="length of each scene")
    parser.add_argument("--areas", type=float, nargs="+", default=[0.001, 0.002, 0.005, 0.02])
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    args = parse_args(parser, scenes=3, seconds=40.0)
    spec = load("motion").spec
    report = Report(args.json)
    for area in args.areas:
        scene_rows = [
            measure(f"demo:{seed}", scene_frames(Scene(seed), args.seconds), spec, area, truth)
            for seed in range(args.scenes)
            for truth in [Scene(seed).ground_truth(args.seconds)]
        ]
        report.add(total(f"{args.scenes} synthetic scenes", scene_rows))
        for video in args.videos:
            with contextlib.closing(open_video(str(video))) as reader:
                report.add(measure(video.name, video_frames(reader), spec, area, []))
    report.write()


def measure(
    name: str, frames: Iterable[TimedFrame], spec: ClipSpec, area: float, truth: list[Segment]
) -> Row:
    gate = MotionGateConfig(min_area=area)
    stream, grid = RegionClipSource(name, motion_gate=gate), WindowGrid(_STRIDE_S)
    stream.start_buffering(spec)
    scored, windows = [], 0
    for time_s, pixels in frames:
        if not stream.accepts(time_s):
            continue
        stream.add_frame(pixels, FrameTime(time_s, 0.0))
        end_s = grid.due(time_s)
        if end_s is None or stream.ring is None or not stream.ring.covers(spec.times(end_s)):
            continue
        grid.advance_to(end_s)
        windows += 1
        start_s = float(spec.times(end_s)[0])
        if not stream.is_gated(start_s, end_s):
            scored.append((start_s, end_s))
            stream.mark_scored(end_s)
    missed = sum(not any(contains_motion(window, motion) for window in scored) for motion in truth)
    gated = 1 - len(scored) / max(1, windows)
    return Row(name, area, windows, gated, len(truth), missed)


def contains_motion(window: tuple[float, float], motion: Segment) -> bool:
    overlap = min(window[1], motion.end_s) - max(window[0], motion.start_s)
    return overlap >= 0.5 * min(motion.end_s - motion.start_s, window[1] - window[0])


def scene_frames(scene: Scene, seconds: float) -> Iterator[TimedFrame]:
    for number in range(int(seconds * _FPS)):
        yield number / _FPS, scene.render(number / _FPS)


def video_frames(reader: VideoReader) -> Iterator[TimedFrame]:
    while (time_s := reader.advance()) is not None:
        pixels = reader.retrieve()
        if pixels is not None:
            yield time_s, pixels


def total(name: str, rows: list[Row]) -> Row:
    windows = sum(row.windows for row in rows)
    return Row(
        name,
        rows[0].area,
        windows,
        sum(row.gated * row.windows for row in rows) / max(1, windows),
        sum(row.motions for row in rows),
        sum(row.missed for row in rows),
    )


if __name__ == "__main__":
    main()
