from __future__ import annotations

import cv2
import numpy as np

from stream.capture.latest_frame import LatestPicture
from stream.messages import Frame


def frame(index: int, *, width: int = 64, height: int = 48) -> Frame:
    pixels = np.full((height, width, 3), index, np.uint8)
    return Frame(pixels, time_s=index / 10, seen_at=100 + index / 10, index=index)


def width_of(jpeg: bytes) -> int:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.shape[1]


def test_viewers_and_recorder_share_one_jpeg_of_a_frame() -> None:
    picture = LatestPicture()
    frames = [frame(index) for index in range(8)]
    shown = []
    for one in frames:
        picture.put(one)
        newest = picture.jpeg()
        assert newest is not None
        assert newest[0] is one
        shown.append(newest[1])
    # The recorder comes some frames later.
    assert [picture.jpeg_of(one) for one in frames] == shown
    assert all(picture.jpeg_of(one) is jpeg for one, jpeg in zip(frames, shown, strict=True))


def test_a_viewer_gets_the_jpeg_that_the_recorder_made() -> None:
    picture = LatestPicture()
    picture.put(frame(1))
    made = picture.jpeg_of(frame(1))
    newest = picture.jpeg()
    assert newest is not None
    assert newest[1] is made
    assert picture.jpeg() is newest


def test_keeps_few_jpegs() -> None:
    picture = LatestPicture()
    first = picture.jpeg_of(frame(0))
    for index in range(1, 100):
        picture.jpeg_of(frame(index))
    again = picture.jpeg_of(frame(0))
    assert again == first
    assert again is not first


def test_jpegs_are_no_wider_than_asked_for() -> None:
    assert width_of(LatestPicture().jpeg_of(frame(1, width=1920, height=1080))) == 960
    assert width_of(LatestPicture(1280).jpeg_of(frame(1, width=1920, height=1080))) == 1280
    assert width_of(LatestPicture(1280).jpeg_of(frame(1, width=640, height=480))) == 640


def test_viewers_share_the_jpeg_of_the_next_width() -> None:
    picture = LatestPicture()
    picture.put(frame(1, width=1920, height=1080))
    made = {asked: picture.jpeg(asked) for asked in (1, 320, 321, 640, 900, 1279, 9999)}
    widths = {asked: width_of(one[1]) for asked, one in made.items() if one is not None}
    assert widths == {1: 320, 320: 320, 321: 640, 640: 640, 900: 960, 1279: 1280, 9999: 1280}
    assert made[1] is made[320]
    assert made[321] is made[640]
    assert made[1279] is made[9999]
    assert picture.jpeg() is made[900]  # the recorder's width


def test_widths_beyond_the_cameras_own_are_one() -> None:
    picture = LatestPicture(1280)
    picture.put(frame(1, width=500, height=400))
    newest = picture.jpeg(640)
    assert newest is not None
    assert width_of(newest[1]) == 500
    assert newest is picture.jpeg(1280)
    assert newest is picture.jpeg()


def test_a_viewers_pictures_never_go_back() -> None:
    """At several widths, in any order."""
    picture = LatestPicture()
    for index in range(5):
        picture.put(frame(index, width=1280, height=720))
        for width in (320, 1280) if index % 2 else (640, 320):
            newest = picture.jpeg(width)
            assert newest is not None
            assert newest[0].index == index


def test_there_is_no_jpeg_before_the_first_frame() -> None:
    assert LatestPicture().jpeg() is None


def test_wants_every_picture_while_somebody_looks_on() -> None:
    picture = LatestPicture()
    picture.put(frame(0))
    assert not picture.wants(100.5)
    assert picture.wants(101.0)
    seen: list[int] = []
    unsubscribe = picture.subscribe(lambda: seen.append(1))
    assert picture.wants(100.1)
    picture.put(frame(1))
    unsubscribe()
    picture.put(frame(2))
    assert seen == [1]
    assert not picture.wants(100.3)
