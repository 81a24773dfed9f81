"""A film with its predictions and events drawn on it, its sound kept."""

from __future__ import annotations

import contextlib
import errno
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
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
from stream.sources.opencv_capture import SourceError
from stream.sources.video_file import open_recording
from ui.cli.overlay import caption_at, draw

_TICKS = 90_000  # a second
_PLAYED = {"aac", "mp3", "opus"}  # by browsers, in MP4
_AAC_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # a second, that all players take
_OPTIONS = {"preset": "veryfast", "crf": "21"}


def check_writable(out: Path) -> None:
    """Raises OSError where `annotate` could not write this file."""
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {out.parent}")
    with _part_of(out).open("wb"):
        pass
    _part_of(out).unlink()


def annotate(
    film: Path,
    out: Path,
    predictions: Sequence[Prediction],
    events: Sequence[tuple[str, float, float]],
    *,
    top: int,
    stop: StopEvent,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> bool:
    """Write `out`, an MP4 that browsers play. `events` are (label, start, end), in seconds.

    A prediction is shown from the middle of its window, of which it speaks best, to that of the
    next. False where `stop` ended it; then nothing is left. Raises SourceError for the film,
    OSError for the file.
    """
    part = _part_of(out)
    middles = [prediction.middle_s for prediction in predictions]
    try:
        with (
            contextlib.closing(open_recording(str(film))) as recording,
            _opened(film) as source,
            av.open(
                f"file:{part}", "w", format="mp4", options={"movflags": "+faststart"}
            ) as target,
        ):
            video: VideoStream | None = None
            sound = _Sound(source, target)
            while (time_s := recording.advance()) is not None and not stop.is_set():
                picture = recording.picture()
                if picture is None:
                    continue
                place = bisect_right(middles, time_s) - 1
                labels = predictions[place].top(top) if place >= 0 else []
                drawn = draw(picture, caption_at(time_s, labels, events))
                if video is None:
                    video = _video(target, drawn)
                sound.write_until(time_s)
                target.mux(video.encode(_frame(drawn, time_s, video)))
                on_progress(time_s)
            if video is not None:
                target.mux(video.encode(None))
                sound.write_until(float("inf"))
        if stop.is_set():
            return False
        part.replace(out)
    except av.error.FFmpegError as error:  # some are no OSError; of the film none comes here
        raise OSError(error.errno, error.strerror) from error
    finally:
        part.unlink(missing_ok=True)
    return True


def _part_of(out: Path) -> Path:
    """Where a file is written until it is whole."""
    return out.with_name(f"{out.name}.part")


def _opened(film: Path) -> av.container.InputContainer:
    try:
        return av.open(f"file:{film.resolve()}")
    except av.error.FFmpegError as error:
        raise SourceError(f"{film}: its sound can't be read: {error.strerror}") from error


class _Sound:
    """The sound of a film on its way into another: as it is where browsers play it, else AAC."""

    def __init__(self, source: av.container.InputContainer, target: av.container.OutputContainer):
        self._target = target
        # What nobody here can decode has no context.
        known = (one for one in source.streams.audio if one.codec_context is not None)
        self._source = next(known, None)
        if self._source is None:
            return
        picture = source.streams.video[0]
        self._begin_s = float((picture.start_time or 0) * (picture.time_base or 0))
        self._resampler: AudioResampler | None = None
        self._stream: AudioStream
        if self._source.codec_context.name in _PLAYED:
            self._stream = target.add_stream_from_template(self._source)
        else:
            own_rate = self._source.codec_context.sample_rate
            rate = min(_AAC_RATES, key=lambda rate: abs(rate - own_rate))
            self._stream = target.add_stream("aac", rate=rate, layout="stereo")
            self._resampler = AudioResampler(format="fltp", layout="stereo", rate=rate)
        self._packets = self._coming(source)
        self._next = next(self._packets, None)

    def write_until(self, time_s: float) -> None:
        """Write what sounds before that time, in seconds since the first picture."""
        while self._source is not None and self._next is not None:
            packet_s, packet = self._next
            if packet_s > time_s:
                return
            if packet_s >= 0:
                self._target.mux(packet)
            self._next = next(self._packets, None)

    def _coming(self, source: av.container.InputContainer) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their times in seconds. Raises SourceError where the film breaks off."""
        try:
            for packet in source.demux(self._source):
                for ready in [packet] if self._resampler is None else self._encoded(packet):
                    if ready.pts is None or ready.time_base is None:
                        continue
                    shift = round(self._begin_s / ready.time_base)
                    ready.pts -= shift
                    ready.dts = ready.pts
                    ready.stream = self._stream
                    yield float(ready.pts * ready.time_base), ready
        except av.error.FFmpegError as error:
            film = source.name.removeprefix("file:")
            raise SourceError(f"{film}: its sound can't be read: {error.strerror}") from error

    def _encoded(self, packet: av.Packet) -> Iterator[av.Packet]:
        assert self._resampler is not None
        frames: Sequence[object] = ()
        with contextlib.suppress(av.error.InvalidDataError):  # damaged: silence there will do
            frames = packet.decode()
        for frame in frames:
            assert isinstance(frame, AudioFrame)
            for part in self._resampler.resample(frame):
                yield from self._stream.encode(part)
        if packet.dts is None:  # the last one
            for part in self._resampler.resample(None):
                yield from self._stream.encode(part)
            yield from self._stream.encode(None)


def _video(target: av.container.OutputContainer, picture: np.ndarray) -> VideoStream:
    stream = target.add_stream("libx264", rate=30, options=_OPTIONS)
    height, width = picture.shape[:2]
    stream.width, stream.height = max(2, width & ~1), max(2, height & ~1)  # 4:2:0 wants even
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = stream.time_base = Fraction(1, _TICKS)
    return stream


def _frame(picture: np.ndarray, time_s: float, stream: VideoStream) -> VideoFrame:
    whole = np.ascontiguousarray(picture[: stream.height, : stream.width])
    frame = VideoFrame.from_ndarray(whole, format="rgb24")
    frame.pts = round(time_s * _TICKS)
    frame.time_base = Fraction(1, _TICKS)
    return frame
