"""Annotated videos: audio of all kinds, and files that can't be written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from stream.runtime.errors import UserError
from stream.sources.base import SourceError
from ui.cli.annotate import annotate, check_writable


def write_video(file: Path, codec: str, rate: int, *, damage: bytes = b"") -> Path:
    """One second of 64 x 64 frames and audio; `damage` replaces the audio packets."""
    with av.open(str(file), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        tone = container.add_stream(codec, rate=rate)
        for number in range(25):
            frame = VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
            if damage:
                packet = av.Packet(damage)
                packet.stream, packet.time_base = tone, Fraction(1, 1000)
                packet.pts = packet.dts = 40 * number
                container.mux(packet)
        container.mux(video.encode(None))
        if not damage:
            silence = np.zeros((1, rate), np.int16)
            part = AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            part.rate, part.pts, part.time_base = rate, 0, Fraction(1, rate)
            container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return file


def annotated(source: Path) -> tuple[int, float]:
    """Annotate a video; returns its number of frames and seconds of audio."""
    out = source.with_name("out.mp4")
    assert annotate(source, out, [], [], top=3, stop=Event())
    with av.open(str(out)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    with av.open(str(out)) as container:
        if not container.streams.audio:
            return frames, 0.0
        audio_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    return frames, audio_s


@pytest.mark.parametrize("rate", [7000, 44_100, 192_000])
def test_audio_of_any_rate_is_preserved(tmp_path: Path, rate: int) -> None:
    frames, audio_s = annotated(write_video(tmp_path / "video.mkv", "pcm_s16le", rate))
    assert frames == 25
    assert audio_s == pytest.approx(1, abs=0.1)


def test_corrupted_audio_drops_no_frames(tmp_path: Path) -> None:
    frames, _ = annotated(write_video(tmp_path / "video.mkv", "flac", 48_000, damage=b"\xff" * 100))
    assert frames == 25


def test_undecodable_audio_is_omitted(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mkv", "flac", 48_000)
    source.write_bytes(source.read_bytes().replace(b"A_FLAC", b"A_NONE"))
    assert annotated(source) == (25, 0.0)


def test_file_that_is_no_video_is_named_in_the_error(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4: not a video"):
        annotate(text, tmp_path / "out.mp4", [], [], top=3, stop=Event())
    assert list(tmp_path.iterdir()) == [text]


def test_unwritable_output_is_a_user_error(tmp_path: Path) -> None:
    for out in (tmp_path / "none" / "out.mp4", tmp_path, tmp_path / ("x" * 253 + ".mp4")):
        with pytest.raises(UserError, match=r"no folder|is a folder|too long"):
            check_writable(out)
    check_writable(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
