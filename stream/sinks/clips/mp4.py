"""ClipFile: JPEGs with their times -> an MP4 that browsers play and seek in. Used by one thread."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)

PART = ".part"  # ends the names of files that are not whole yet
_TICKS = 90_000  # a second
_KEY_EVERY = int(1.8 * _TICKS)  # a browser seeks from the keyframe before; with the next, 2 s
_OPTIONS = {
    "preset": "veryfast",
    "crf": "23",
    # Without them decoding order is showing order, so that the first picture is at time 0.
    "bf": "0",
}


class ClipFile:
    """An MP4 that is written picture by picture beside its name, which it gets when it is whole.

    Each picture has its own time, so the clip's rate is the camera's, however that varies. It is
    as large as the first picture, at most `widest` pixels wide; others are brought to that size.
    Raises OSError where the file can't be written, ValueError where a JPEG can't be read.
    """

    def __init__(self, file: Path, widest: int) -> None:
        self._file, self._widest = file, widest
        part = self._part = file.with_name(file.name + PART)
        # A file of our own: PyAV would leave one open in which it can't even begin.
        self._bytes = part.open("wb")
        self._container = av.open(
            self._bytes,
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
            # Faststart puts the index first, for which the file is read while it is written.
            io_open=lambda *_: part.open("rb"),
        )
        self._stream: av.VideoStream | None = None
        self._decoder = av.CodecContext.create("mjpeg", "r")
        self._decoder.thread_count = 1
        self._reformatter = VideoReformatter()
        self._first_s = 0.0
        self._ticks = -1  # of the newest picture
        self._key_ticks = 0  # of the newest keyframe that was asked for
        self._gap = _TICKS // 30  # between the two newest pictures

    def add(self, jpeg: bytes, time_s: float) -> None:
        """Put a picture at the end. Times are seconds on any clock that only goes forward."""
        picture = self._decoded(jpeg)
        if self._stream is None:
            self._first_s = time_s
            self._stream = self._begin(picture)
        ticks = max(round((time_s - self._first_s) * _TICKS), self._ticks + 1)
        if ticks > 0:
            self._gap = ticks - self._ticks
        frame = self._reformatter.reformat(
            picture,
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation="AREA",
        )
        frame.pts = ticks
        frame.time_base = Fraction(1, _TICKS)
        frame.pict_type = PictureType.NONE
        if ticks == 0 or ticks - self._key_ticks >= _KEY_EVERY:
            frame.pict_type, self._key_ticks = PictureType.I, ticks
        self._ticks = ticks
        self._write(self._stream, frame)

    def finish(self) -> None:
        """Make it whole: from now on it is on the disk, under its name."""
        if self._stream is None:
            raise ValueError(f"{self._file.name} has no pictures; add some before it is finished")
        self._write(self._stream, None)
        self._container.close()
        self._bytes.close()
        settle(self._part, self._file)

    def discard(self) -> None:
        """Leave nothing of it."""
        with contextlib.suppress(OSError, av.FFmpegError):  # such as a full disk, which is why
            self._container.close()
        with contextlib.suppress(OSError):
            self._bytes.close()
        with contextlib.suppress(OSError):  # then it is cleared away at the next start
            self._part.unlink()

    def _begin(self, picture: VideoFrame) -> av.VideoStream:
        width, height = picture.width, picture.height
        if width > self._widest:
            width, height = self._widest, round(height * self._widest / width)
        stream = self._container.add_stream("libx264", rate=30, options=_OPTIONS)
        stream.width, stream.height = max(2, width & ~1), max(2, height & ~1)  # 4:2:0 wants even
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _TICKS)
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.thread_count = 1  # the cores belong to capture and inference
        # A JPEG's colours: the matrix of BT.601 with the primaries of sRGB.
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.SMPTE170M
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        return stream

    def _write(self, stream: av.VideoStream, frame: VideoFrame | None) -> None:
        for packet in stream.encode(frame):
            if packet.pts == self._ticks:  # those before last until the next one
                packet.duration = self._gap
            self._container.mux(packet)

    def _decoded(self, jpeg: bytes) -> VideoFrame:
        frames = self._decoder.decode(av.Packet(jpeg))
        if not frames or not isinstance(frames[0], VideoFrame):
            raise ValueError(f"{len(jpeg)} bytes are no JPEG")
        return frames[0]


def write_whole(data: bytes, file: Path) -> None:
    """Write a file that is there either whole or not at all. Raises OSError."""
    part = file.with_name(file.name + PART)
    try:
        part.write_bytes(data)
        settle(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def settle(part: Path, file: Path) -> None:
    """Give a file that is whole its name, in this order on the disk too."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(file)
    if os.name == "posix":  # elsewhere folders can't be opened
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
