"""ClipFile: writes timed JPEGs to an MP4 that browsers play and seek in. Used by one thread."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from stream.runtime.files import PART, sync_and_rename
from stream.runtime.h264 import TICKS, TIME_BASE, add_h264_stream

_KEYFRAME_INTERVAL = int(1.8 * TICKS)  # below 2 s, as browsers seek from keyframes


class ClipFile:
    """An MP4 that is written to a temporary file, and renamed when it is complete.

    Each frame has its own time, so the clip follows the camera's variable frame rate. It has the
    size of the first frame, at most `max_width` pixels wide; other frames are resized to it.
    Raises OSError if the file can't be written, ValueError if a JPEG can't be decoded.
    """

    def __init__(self, file: Path, max_width: int) -> None:
        self._file, self._max_width = file, max_width
        part = self._part = file.with_name(file.name + PART)
        # Opened here: PyAV would leave its own file open if writing the header fails.
        self._output = part.open("wb")
        self._container = av.open(
            self._output,
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
            # Faststart moves the index to the front, and reads the file again for that.
            io_open=lambda *_: part.open("rb"),
        )
        self._stream: av.VideoStream | None = None
        self._decoder = av.CodecContext.create("mjpeg", "r")
        self._decoder.thread_count = 1
        self._reformatter = VideoReformatter()
        self._first_s = 0.0
        self._ticks = -1  # of the newest frame
        self._keyframe_ticks = 0  # of the newest requested keyframe
        self._gap = TICKS // 30  # between the two newest frames

    def add(self, jpeg: bytes, time_s: float) -> None:
        """Append a frame. Times are seconds on any monotonic clock."""
        decoded = self._decode(jpeg)
        if self._stream is None:
            self._first_s = time_s
            self._stream = self._add_stream(decoded)
        ticks = max(round((time_s - self._first_s) * TICKS), self._ticks + 1)
        if ticks > 0:
            self._gap = ticks - self._ticks
        frame = self._reformatter.reformat(
            decoded,
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation="AREA",
        )
        frame.pts = ticks
        frame.time_base = TIME_BASE
        frame.pict_type = PictureType.NONE
        if ticks == 0 or ticks - self._keyframe_ticks >= _KEYFRAME_INTERVAL:
            frame.pict_type, self._keyframe_ticks = PictureType.I, ticks
        self._ticks = ticks
        self._write(self._stream, frame)

    def finish(self) -> None:
        """Complete the file: it is then durably on disk under its final name."""
        if self._stream is None:
            raise ValueError(f"{self._file.name} has no frames; add some before `finish`")
        self._write(self._stream, None)
        self._container.close()
        self._output.close()
        sync_and_rename(self._part, self._file)

    def discard(self) -> None:
        """Close and delete the unfinished file."""
        with contextlib.suppress(
            OSError, av.FFmpegError
        ):  # for example the full disk that caused this
            self._container.close()
        with contextlib.suppress(OSError):
            self._output.close()
        with contextlib.suppress(OSError):  # deleted at the next start
            self._part.unlink()

    def _add_stream(self, frame: VideoFrame) -> av.VideoStream:
        width, height = frame.width, frame.height
        if width > self._max_width:
            width, height = self._max_width, round(height * self._max_width / width)
        return add_h264_stream(self._container, width, height)

    def _write(self, stream: av.VideoStream, frame: VideoFrame | None) -> None:
        for packet in stream.encode(frame):
            if packet.pts == self._ticks:  # earlier ones last until the next packet
                packet.duration = self._gap
            self._container.mux(packet)

    def _decode(self, jpeg: bytes) -> VideoFrame:
        frames = self._decoder.decode(av.Packet(jpeg))
        if not frames or not isinstance(frames[0], VideoFrame):
            raise ValueError(f"{len(jpeg)} bytes are not a JPEG")
        return frames[0]
