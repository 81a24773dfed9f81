"""Adds an H.264 stream to a container of PyAV, for all videos that this program writes."""

from __future__ import annotations

from fractions import Fraction

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

TICKS = 90_000  # of presentation times, per second
TIME_BASE = Fraction(1, TICKS)


def add_h264_stream(
    container: av.container.OutputContainer,
    width: int,
    height: int,
    *,
    crf: int = 23,
    short: bool = True,
) -> av.VideoStream:
    """A stream of 4:2:0 frames, which browsers play; its sides are rounded down to even pixels.

    `crf` is x264's quality: lower is better and larger. A short clip is encoded by one thread, so
    that its bytes are reproducible and other cores stay free, and without B-frames, so that packets
    are in display order and the first frame is at time 0. Its frames must have the colors of a
    JPEG in limited range: the BT.601 matrix, which is also swscale's default for RGB, with the
    primaries of sRGB.
    """
    options = {"preset": "veryfast", "crf": str(crf), **({"bf": "0"} if short else {})}
    stream = container.add_stream("libx264", rate=30, options=options)
    stream.width, stream.height = max(2, width & ~1), max(2, height & ~1)
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    if short:
        context = stream.codec_context
        context.thread_count = 1
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.SMPTE170M
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
    return stream
