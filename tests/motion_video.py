"""Videos of one synthetic motion in a loop, as a webcam's (y4m) and as a file (MP4)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from stream.synthetic.motions import Motion
from stream.synthetic.stage import Stage

FPS = 15
_WIDTH, _HEIGHT = 320, 240
# Motions that the bundled model recognizes well: motion, start pose, duration in the frame.
_LOOPS = {
    "wave": (Motion("wave", 1.25, 0.12), (0.5, 0.5, 0.35, 0.0), 4.0),
    "approach": (Motion("approach", 0.35), (0.5, 0.5, 0.18, 0.0), 3.4),
}


def frames(motion: str) -> list[np.ndarray]:
    """One loop: RGB uint8, (H, W, 3)."""
    movement, start, seconds = _LOOPS[motion]
    rng = np.random.default_rng(1)
    stage = Stage(rng, _WIDTH, _HEIGHT, textures=("gradient",), difficulty=0.3)
    thing = stage.thing(rng, max_size=0.6)
    times = np.arange(round(seconds * FPS)) / FPS
    poses = movement.poses(np.array(start), times)
    return [
        stage.draw([[(thing, pose)]], float(now), rng)
        for now, pose in zip(times, poses, strict=True)
    ]


def write_webcam(motion: str, folder: Path) -> Path:
    """For Chromium's --use-file-for-fake-video-capture, which loops it."""
    file = folder / f"{motion}.y4m"
    with file.open("wb") as to:
        to.write(f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames(motion):
            to.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return file


def write_mp4(motion: str, folder: Path, *, loops: int = 1) -> Path:
    """A file that browsers can play."""
    looped = frames(motion) * loops
    return encode(folder / f"{motion}.mp4", looped, (_WIDTH, _HEIGHT), FPS, preset="ultrafast")


def encode(
    file: Path,
    frames: Iterable[np.ndarray],
    size: tuple[int, int],
    fps: int,
    codec: str = "libx264",
    **options: str,
) -> Path:
    """Write frames, RGB uint8 (H, W, 3), as an MP4 file; `size` is (width, height)."""
    with av.open(str(file), "w", format="mp4") as to:
        stream: Any = to.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for frame in frames:
            to.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        to.mux(stream.encode())
    return file
