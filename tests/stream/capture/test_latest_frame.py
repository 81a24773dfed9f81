from __future__ import annotations

import cv2
import numpy as np

from stream.capture.latest_frame import LatestFrame
from stream.messages import Frame


def frame(index: int, *, width: int = 64, height: int = 48) -> Frame:
    pixels = np.full((height, width, 3), index, np.uint8)
    return Frame(pixels, time_s=index / 10, seen_at=100 + index / 10, index=index)


def width_of(jpeg: bytes) -> int:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.shape[1]


def test_viewers_and_recorder_share_one_jpeg_of_a_frame() -> None:
    latest = LatestFrame()
    frames = [frame(index) for index in range(8)]
    jpegs = []
    for one in frames:
        latest.put(one)
        newest = latest.jpeg()
        assert newest is not None
        assert newest[0] is one
        jpegs.append(newest[1])
    # The recorder is some frames behind.
    assert [latest.jpeg_of(one) for one in frames] == jpegs
    assert all(latest.jpeg_of(one) is jpeg for one, jpeg in zip(frames, jpegs, strict=True))


def test_viewer_gets_the_jpeg_that_the_recorder_encoded() -> None:
    latest = LatestFrame()
    latest.put(frame(1))
    encoded = latest.jpeg_of(frame(1))
    newest = latest.jpeg()
    assert newest is not None
    assert newest[1] is encoded
    again = latest.jpeg()
    assert again is not None
    assert again[1] is encoded


def test_few_jpegs_are_stored() -> None:
    latest = LatestFrame()
    first = latest.jpeg_of(frame(0))
    for index in range(1, 100):
        latest.jpeg_of(frame(index))
    again = latest.jpeg_of(frame(0))
    assert again == first
    assert again is not first


def test_jpegs_have_at_most_the_default_width() -> None:
    assert width_of(LatestFrame().jpeg_of(frame(1, width=1920, height=1080))) == 960
    assert width_of(LatestFrame(1280).jpeg_of(frame(1, width=1920, height=1080))) == 1280
    assert width_of(LatestFrame(1280).jpeg_of(frame(1, width=640, height=480))) == 640


def test_requested_width_is_rounded_up_to_a_shared_one() -> None:
    latest = LatestFrame()
    latest.put(frame(1, width=1920, height=1080))
    requested = (1, 320, 321, 640, 900, 1279, 9999)
    jpegs = {width: newest[1] for width in requested if (newest := latest.jpeg(width))}
    widths = {width: width_of(jpeg) for width, jpeg in jpegs.items()}
    assert widths == {1: 320, 320: 320, 321: 640, 640: 640, 900: 960, 1279: 1280, 9999: 1280}
    assert jpegs[1] is jpegs[320]
    assert jpegs[321] is jpegs[640]
    assert jpegs[1279] is jpegs[9999]
    newest = latest.jpeg()
    assert newest is not None
    assert newest[1] is jpegs[900]  # the recorder's width


def test_all_widths_above_the_cameras_own_share_one_jpeg() -> None:
    latest = LatestFrame(1280)
    latest.put(frame(1, width=500, height=400))
    jpegs = [newest[1] for width in (640, 1280, None) if (newest := latest.jpeg(width))]
    assert len(jpegs) == 3
    assert width_of(jpegs[0]) == 500
    assert jpegs[1] is jpegs[0]
    assert jpegs[2] is jpegs[0]


def test_viewer_never_gets_an_older_frame() -> None:
    """At several widths, in any order."""
    latest = LatestFrame()
    for index in range(5):
        latest.put(frame(index, width=1280, height=720))
        for width in (320, 1280) if index % 2 else (640, 320):
            newest = latest.jpeg(width)
            assert newest is not None
            assert newest[0].index == index


def test_no_jpeg_before_the_first_frame() -> None:
    assert LatestFrame().jpeg() is None


def test_every_frame_is_due_while_there_is_a_subscriber() -> None:
    latest = LatestFrame()
    latest.put(frame(0))
    assert not latest.is_due(100.5)
    assert latest.is_due(101.0)
    calls: list[int] = []
    unsubscribe = latest.subscribe(lambda: calls.append(1))
    assert latest.is_due(100.1)
    latest.put(frame(1))
    unsubscribe()
    latest.put(frame(2))
    assert calls == [1]
    assert not latest.is_due(100.3)
