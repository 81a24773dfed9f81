from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from stream.runtime.h264 import TICKS, TIME_BASE, add_h264_stream


def encode(*, short: bool) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(1)
    with av.open(file, "w", format="mp4") as container:
        stream = add_h264_stream(container, 65, 49, short=short)
        for number in range(12):
            pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
            frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number * TICKS // 12, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("short", [True, False])
def test_sides_are_even_and_times_exact(short: bool) -> None:
    with av.open(io.BytesIO(encode(short=short))) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 64, 48)
        assert video.codec_context.pix_fmt == "yuv420p"
        times = [frame.pts * Fraction(frame.time_base) for frame in container.decode(video=0)]
    assert times == [Fraction(number, 12) for number in range(12)]


def test_packets_of_a_short_clip_are_in_display_order_from_time_0() -> None:
    with av.open(io.BytesIO(encode(short=True))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
    assert packets[0].pts == 0


def test_short_clip_is_encoded_to_the_same_bytes_each_time() -> None:
    assert encode(short=True) == encode(short=True)
