"""Encodes a clip's frames to an MP4 in memory that browsers can play."""

from __future__ import annotations

import io
import math

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from stream.runtime.h264 import TICKS, TIME_BASE, add_h264_stream

_MIN_SIDE, _MAX_SIDE = 240, 1920  # pixels of the shorter and the longer side after upscaling


def encode(frames: np.ndarray, fps: float) -> bytes:
    """An MP4 (H.264) of frames, uint8 RGB (T, H, W, 3), at `fps` frames per second.

    Small frames are upscaled by an integer factor, without interpolation, so that the shorter side
    has at least 240 pixels and the model's input is visible. An odd last row or column is cropped,
    because 4:2:0 needs even sides. Raises ValueError for an invalid array or fps.
    """
    shape = frames.shape
    if frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape or 1 in shape[1:]:
        raise ValueError(
            f"clip frames must be uint8 (T, H, W, 3) of 2 x 2 pixels or more, "
            f"got {frames.dtype} {shape}"
        )
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise ValueError(f"fps must be above 0 and at most 1000, got {fps}")
    scale = _upscale_factor(shape[1], shape[2])
    height, width = (side * scale & ~1 for side in shape[1:3])
    file = io.BytesIO()
    with av.open(
        file,
        "w",
        format="mp4",
        options={"movflags": "+faststart"},
        # Faststart moves the index to the front, for which it reads the written data again.
        io_open=lambda *_: io.BytesIO(file.getvalue()),
    ) as container:
        stream = add_h264_stream(container, width, height)
        for index, pixels in enumerate(frames):
            large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width]
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
            frame.pts, frame.time_base = round(index * TICKS / fps), TIME_BASE
            _write(container, stream, frame, fps)
        _write(container, stream, None, fps)
    return file.getvalue()


def _upscale_factor(height: int, width: int) -> int:
    wanted = math.ceil(_MIN_SIDE / min(height, width))
    return max(1, min(wanted, _MAX_SIDE // max(height, width)))


def _write(
    container: av.container.OutputContainer,
    stream: av.VideoStream,
    frame: VideoFrame | None,
    fps: float,
) -> None:
    for packet in stream.encode(frame):
        packet.duration = round(TICKS / fps)  # also of the last frame
        container.mux(packet)
