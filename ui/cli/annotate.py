"""Writes a video with its predictions and events drawn on it, with its audio."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event as StopEvent

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stream.messages import Prediction
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import PART, sync_and_rename
from stream.runtime.h264 import TICKS, TIME_BASE, add_h264_stream
from stream.sources.base import SourceError
from stream.sources.video_file import open_video
from ui.cli.overlay import caption_at, draw

_BROWSER_CODECS = {"aac", "mp3", "opus"}  # playable in MP4
_AAC_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz, supported by all players


def check_writable(out: Path) -> None:
    """Raise UserError if `annotate` can't write this file."""
    try:
        if out.is_dir():
            raise UserError(f"{out} can't be written: it is a folder; give another --out")
        if not out.parent.is_dir():
            raise UserError(f"{out} can't be written: no folder {out.parent}; give another --out")
        _part_of(out).touch()
        _part_of(out).unlink()
    except OSError as error:
        raise _write_error(out, error) from error


def annotate(
    video: Path,
    out: Path,
    predictions: Sequence[Prediction],
    events: Sequence[tuple[str, float, float]],
    *,
    top: int,
    stop: StopEvent,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> bool:
    """Write `out`, an MP4 for browsers. `events` are (label, start, end) in seconds.

    A prediction is shown from the middle of its window, which it describes best, to the middle of
    the next. Returns False, and writes nothing, if `stop` was set. Raises SourceError for the
    video, UserError for `out`.
    """
    part = _part_of(out)
    middles = [prediction.middle_s for prediction in predictions]
    try:
        with (
            contextlib.closing(open_video(str(video))) as reader,
            _open_container(video) as source,
            av.open(
                f"file:{part}", "w", format="mp4", options={"movflags": "+faststart"}
            ) as target,
        ):
            stream: VideoStream | None = None
            audio = _AudioCopy(source, target)
            while (time_s := reader.advance()) is not None and not stop.is_set():
                frame = reader.retrieve()
                if frame is None:
                    continue
                index = bisect_right(middles, time_s) - 1
                labels = predictions[index].top(top) if index >= 0 else []
                drawn = draw(frame, caption_at(time_s, labels, events))
                if stream is None:
                    height, width = drawn.shape[:2]
                    stream = add_h264_stream(target, width, height, crf=21, short=False)
                audio.write_until(time_s)
                target.mux(stream.encode(_video_frame(drawn, time_s, stream)))
                on_progress(time_s)
            if stream is not None:
                target.mux(stream.encode(None))
                audio.write_until(float("inf"))
        if stop.is_set():
            return False
        sync_and_rename(part, out)
    except (av.error.FFmpegError, OSError) as error:  # SourceErrors are not caught
        raise _write_error(out, error) from error
    finally:
        part.unlink(missing_ok=True)
    return True


def _part_of(out: Path) -> Path:
    """The temporary name of a file until it is complete."""
    return out.with_name(f"{out.name}{PART}")


def _write_error(out: Path, error: OSError | av.error.FFmpegError) -> UserError:
    return UserError(f"{out} can't be written: {reason_of(error)}; give another --out")


def _open_container(video: Path) -> av.container.InputContainer:
    try:
        return av.open(f"file:{video.resolve()}")
    except av.error.FFmpegError as error:
        raise SourceError(f"{video}: can't read its audio: {reason_of(error)}") from error


class _AudioCopy:
    """Copies the audio of a video: unchanged if browsers support its codec, else as AAC."""

    def __init__(self, source: av.container.InputContainer, target: av.container.OutputContainer):
        self._target = target
        # Streams without a decoder have no context.
        decodable = (one for one in source.streams.audio if one.codec_context is not None)
        self._source = next(decodable, None)
        if self._source is None:
            return
        video = source.streams.video[0]
        self._start_s = float((video.start_time or 0) * (video.time_base or 0))
        self._resampler: AudioResampler | None = None
        self._stream: AudioStream
        if self._source.codec_context.name in _BROWSER_CODECS:
            self._stream = target.add_stream_from_template(self._source)
        else:
            source_rate = self._source.codec_context.sample_rate
            rate = min(_AAC_RATES, key=lambda rate: abs(rate - source_rate))
            self._stream = target.add_stream("aac", rate=rate, layout="stereo")
            self._resampler = AudioResampler(format="fltp", layout="stereo", rate=rate)
        self._packets = self._read_packets(source)
        self._next = next(self._packets, None)

    def write_until(self, time_s: float) -> None:
        """Write the packets up to that time, in seconds since the first frame."""
        while self._source is not None and self._next is not None:
            packet_s, packet = self._next
            if packet_s > time_s:
                return
            if packet_s >= 0:
                self._target.mux(packet)
            self._next = next(self._packets, None)

    def _read_packets(
        self, source: av.container.InputContainer
    ) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their times in seconds. Raises SourceError if the video can't be read."""
        try:
            for packet in source.demux(self._source):
                for ready in [packet] if self._resampler is None else self._reencode(packet):
                    if ready.pts is None or ready.time_base is None:
                        continue
                    shift = round(self._start_s / ready.time_base)
                    ready.pts -= shift
                    ready.dts = ready.pts
                    ready.stream = self._stream
                    yield float(ready.pts * ready.time_base), ready
        except av.error.FFmpegError as error:
            name = source.name.removeprefix("file:")
            raise SourceError(f"{name}: can't read its audio: {reason_of(error)}") from error

    def _reencode(self, packet: av.Packet) -> Iterator[av.Packet]:
        assert self._resampler is not None
        frames: Sequence[object] = ()
        with contextlib.suppress(av.error.InvalidDataError):  # corrupted: becomes silence
            frames = packet.decode()
        for frame in frames:
            assert isinstance(frame, AudioFrame)
            for part in self._resampler.resample(frame):
                yield from self._stream.encode(part)
        if packet.dts is None:  # the last one
            for part in self._resampler.resample(None):
                yield from self._stream.encode(part)
            yield from self._stream.encode(None)


def _video_frame(frame: np.ndarray, time_s: float, stream: VideoStream) -> VideoFrame:
    cropped = np.ascontiguousarray(frame[: stream.height, : stream.width])
    encoded = VideoFrame.from_ndarray(cropped, format="rgb24")
    encoded.pts = round(time_s * TICKS)
    encoded.time_base = TIME_BASE
    return encoded
