"""A clip's pictures -> an MP4 in memory that browsers play."""

from __future__ import annotations

import io
import math
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

_TICKS = 90_000  # a second
_SMALLEST, _LARGEST = 240, 1920  # pixels of the shorter and the longer side, enlarged
_OPTIONS = {
    "preset": "veryfast",
    "crf": "23",
    "bf": "0",  # so that the first picture is at time 0
}


def encode(frames: np.ndarray, fps: float) -> bytes:
    """An MP4 (H.264) of pictures, uint8 RGB (T, H, W, 3), `fps` of them a second.

    Small pictures are enlarged by a whole number, pixel by pixel, so that their shorter side has
    240 pixels or more: one sees what the model saw. A row or column over an even number is left
    out, because 4:2:0 wants even sides. Raises ValueError for arrays and rates that are no clip.
    """
    shape = frames.shape
    if frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape or 1 in shape[1:]:
        raise ValueError(
            f"clip frames must be uint8 (T, H, W, 3) of 2 x 2 pixels or more, "
            f"got {frames.dtype} {shape}"
        )
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise ValueError(f"fps must be above 0 and at most 1000, got {fps}")
    times = _enlargement(shape[1], shape[2])
    height, width = (side * times & ~1 for side in shape[1:3])
    file = io.BytesIO()
    with av.open(
        file,
        "w",
        format="mp4",
        options={"movflags": "+faststart"},
        # Faststart puts the index first, for which what was written is read again.
        io_open=lambda *_: io.BytesIO(file.getvalue()),
    ) as container:
        stream = _stream(container, width, height)
        for place, picture in enumerate(frames):
            large = picture.repeat(times, axis=0).repeat(times, axis=1)[:height, :width]
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
            frame.pts, frame.time_base = round(place * _TICKS / fps), Fraction(1, _TICKS)
            _write(container, stream, frame, fps)
        _write(container, stream, None, fps)
    return file.getvalue()


def _enlargement(height: int, width: int) -> int:
    wanted = math.ceil(_SMALLEST / min(height, width))
    return max(1, min(wanted, _LARGEST // max(height, width)))


def _stream(container: av.container.OutputContainer, width: int, height: int) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=30, options=_OPTIONS)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, _TICKS)
    context = stream.codec_context
    context.time_base = Fraction(1, _TICKS)
    context.thread_count = 1  # the same bytes each time, and many clips are small
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.SMPTE170M  # what RGB becomes unless one says otherwise
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream


def _write(
    container: av.container.OutputContainer,
    stream: av.VideoStream,
    frame: VideoFrame | None,
    fps: float,
) -> None:
    for packet in stream.encode(frame):
        packet.duration = round(_TICKS / fps)  # the last one is shown as long as the others
        container.mux(packet)
