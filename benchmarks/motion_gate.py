"""What the motion gate spares the model, and what it makes it miss.

Windows of drawn scenes, whose motions are known, and of films, cut as a watch cuts them. A motion
is missed where no window with at least half of it in was looked at.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import machine, write_report
from model.trained_model import load
from stream.config.config import MotionGateConfig
from stream.messages import ClipSpec, Moment
from stream.regions.clip_source import ClipStream
from stream.regions.motion_gate import MotionGate
from stream.scheduling.window_grid import WindowGrid
from stream.sources.video_file import Recording, open_recording
from stream.synthetic import Scene, Segment

_FPS, _STRIDE_S = 25.0, 0.25
Picture = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One scene or film, with one threshold."""

    source: str
    area: float
    windows: int
    spared: float  # share of the windows that the model was not asked for
    motions: int
    missed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120, help="of each scene")
    parser.add_argument("--areas", type=float, nargs="+", default=[0.001, 0.002, 0.005, 0.02])
    parser.add_argument("--films", type=Path, nargs="*", default=[])
    parser.add_argument("--quick", action="store_true", help="3 scenes of 40 seconds")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    scenes, seconds = (3, 40.0) if given.quick else (given.scenes, given.seconds)
    spec = load("motion").spec
    print(machine())
    print(f"{'':<40} {'area':>6} {'windows':>8} {'spared':>7} {'motions':>8} {'missed':>7}")
    rows = []
    for area in given.areas:
        drawn = [
            watch(f"demo:{seed}", pictures_of(Scene(seed), seconds), spec, area, truth)
            for seed in range(scenes)
            for truth in [Scene(seed).truth(seconds)]
        ]
        rows.append(together(f"{scenes} drawn scenes", drawn))
        show(rows[-1])
        for film in given.films:
            with contextlib.closing(open_recording(str(film))) as recording:
                rows.append(watch(film.name, frames_of(recording), spec, area, []))
            show(rows[-1])
    if given.json:
        write_report(given.json, rows)


def watch(
    name: str, pictures: Iterable[Picture], spec: ClipSpec, area: float, truth: list[Segment]
) -> Row:
    usual = MotionGateConfig()
    gate = MotionGate(area=area, difference=usual.difference, look_every_s=usual.look_every)
    stream, grid = ClipStream(name, gate=gate), WindowGrid(_STRIDE_S)
    stream.watch(spec)
    looked, windows = [], 0
    for time_s, pixels in pictures:
        if not stream.wants(time_s):
            continue
        stream.take(pixels, Moment(time_s, 0.0))
        end_s = grid.due(time_s)
        if end_s is None or stream.ring is None or not stream.ring.covers(spec.times(end_s)):
            continue
        grid.take(end_s)
        windows += 1
        start_s = float(spec.times(end_s)[0])
        if not stream.is_still(start_s, end_s):
            looked.append((start_s, end_s))
            stream.looked(end_s)
    missed = sum(not any(shows(window, motion) for window in looked) for motion in truth)
    spared = 1 - len(looked) / max(1, windows)
    return Row(name, area, windows, spared, len(truth), missed)


def shows(window: tuple[float, float], motion: Segment) -> bool:
    shared = min(window[1], motion.end_s) - max(window[0], motion.start_s)
    return shared >= 0.5 * min(motion.end_s - motion.start_s, window[1] - window[0])


def pictures_of(scene: Scene, seconds: float) -> Iterator[Picture]:
    for number in range(int(seconds * _FPS)):
        yield number / _FPS, scene.picture(number / _FPS)


def frames_of(recording: Recording) -> Iterator[Picture]:
    while (time_s := recording.advance()) is not None:
        picture = recording.picture()
        if picture is not None:
            yield time_s, picture


def together(name: str, rows: list[Row]) -> Row:
    windows = sum(row.windows for row in rows)
    return Row(
        name,
        rows[0].area,
        windows,
        sum(row.spared * row.windows for row in rows) / max(1, windows),
        sum(row.motions for row in rows),
        sum(row.missed for row in rows),
    )


def show(row: Row) -> None:
    print(
        f"{row.source:<40} {row.area:>6} {row.windows:>8} {row.spared:>7.0%} {row.motions:>8} "
        f"{row.missed:>7}",
        flush=True,
    )


if __name__ == "__main__":
    main()
