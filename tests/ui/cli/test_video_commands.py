"""`actionwatch scan` and `annotate`, through the command line."""

from __future__ import annotations

import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from stream.synthetic.scene import Scene
from stream.workers.curve_auth import create_keys
from tests.cli import actionwatch, command, invoke
from tests.waiting import wait_for

_RATE = 16_000


def messages(errors: str) -> list[str]:
    """The lines of the command itself, without the worker's."""
    lines = errors.splitlines()
    return [line.removeprefix("actionwatch: ") for line in lines if line.startswith("actionwatch")]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "video.mp4", 8, codec="aac")


def write_scene(file: Path, seconds: int, *, codec: str = "") -> Path:
    """A video of a synthetic scene at 25 frames/s, with a tone."""
    scene = Scene(7, width=320, height=240)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        tone = container.add_stream(codec, rate=_RATE) if codec else None
        for number in range(seconds * 25):
            frame = VideoFrame.from_ndarray(scene.render(number / 25), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            for number in range(seconds):
                times = np.arange(_RATE) / _RATE
                wave = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)[None]
                part = AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                part.rate, part.pts = _RATE, number * _RATE
                part.time_base = Fraction(1, _RATE)
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return file


def audio(file: Path) -> tuple[str, float, float]:
    """Codec, seconds and loudness of a video's audio."""
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray().ravel() for frame in container.decode(stream)]
        samples = np.concatenate(parts).astype(np.float64)
        channels = stream.codec_context.channels
        return (
            stream.codec_context.name,
            len(samples) / _RATE / channels,
            float(np.abs(samples).mean()),
        )


def frames(file: Path) -> tuple[list[float], np.ndarray]:
    """The times of all frames, and the middle frame, RGB uint8 (H, W, 3)."""
    with av.open(str(file)) as container:
        decoded = list(container.decode(video=0))
    return [float(frame.time) for frame in decoded], decoded[len(decoded) // 2].to_ndarray(
        format="rgb24"
    )


def test_scan_reports_results_and_skips_unreadable_files(tmp_path: Path, video: Path) -> None:
    done = actionwatch("scan", video, tmp_path / "nothing.mp4", "--out", tmp_path / "log")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"actionwatch: {tmp_path / 'nothing.mp4'}: no such file"
    assert f"{video}: " in done.stdout
    assert (tmp_path / "log" / "video.jsonl").is_file()
    assert (tmp_path / "log" / "video.vtt").read_text().startswith("WEBVTT")
    again = actionwatch("scan", video, "--out", tmp_path / "log")
    assert again.returncode == 0
    assert again.stdout == f"{video}: already scanned; use --force to scan it again\n"
    listed = actionwatch("events", "list", "--data", tmp_path / "log")
    assert len(listed.stdout.splitlines()) == len(
        (tmp_path / "log" / "video.jsonl").read_text().splitlines()
    )


def test_scan_stops_on_a_signal_and_reports_the_remaining_files(tmp_path: Path) -> None:
    video = write_scene(tmp_path / "long.mp4", 60)
    running = subprocess.Popen(
        command("scan", video, "--out", tmp_path / "log"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any((tmp_path / "log").glob("scores/*")))  # it has started
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped; 1 file left: scan again to resume" in errors
    assert output == ""  # nothing was scanned
    assert not (tmp_path / "log" / "long.jsonl").exists()


@pytest.mark.parametrize(("name", "codec"), [("video.mp4", "aac"), ("video.avi", "pcm_s16le")])
def test_annotate_draws_on_the_frames_and_preserves_the_audio(
    tmp_path: Path, name: str, codec: str
) -> None:
    video = write_scene(tmp_path / name, 8, codec=codec)
    out = tmp_path / "out.mp4"
    done = actionwatch("annotate", video, "-o", out)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"wrote {out}")
    times, middle = frames(out)
    before, plain = frames(video)
    assert np.allclose(times, np.array(before) - before[0], atol=0.002)
    changed = np.abs(middle.astype(int) - plain).mean(axis=2)
    assert changed[:120, :140].mean() > 10  # the text
    assert changed[130:].mean() < 4  # the frame below it
    codec, seconds, loudness = audio(out)
    assert codec == "aac"
    assert seconds == pytest.approx(8, abs=0.2)
    assert loudness > 0.01
    assert not list(tmp_path.glob("*.part"))


def test_annotate_checks_its_arguments_before_it_scans(tmp_path: Path, video: Path) -> None:
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    for arguments, reason in (
        ((video, "-o", video), "is the input file"),
        ((video, "-o", tmp_path / "out.avi"), "must end in .mp4"),
        ((tmp_path / "none.mp4", "-o", tmp_path / "out.mp4"), "no such file"),
        ((video, "-o", tmp_path / "none" / "out.mp4"), f"no folder {tmp_path / 'none'}"),
        ((video, "-o", folder), "it is a folder"),
    ):
        done = invoke("annotate", *arguments)
        assert done.exit_code == 2
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_annotate_names_a_file_that_is_no_video(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    done = actionwatch("annotate", text, "-o", tmp_path / "out.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert "text.mp4: not a video" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_video_without_a_full_window_is_reported(tmp_path: Path) -> None:
    video = write_scene(tmp_path / "short.mp4", 1)
    done = actionwatch("scan", video, "--out", tmp_path / "log")
    assert done.returncode == 0
    assert messages(done.stderr) == [
        f"{video}: no full window: the video (1.0 s) is shorter than the model's 1.6 s clip"
    ]
    assert done.stdout.splitlines()[0] == f"{video}: 0 events, {tmp_path / 'log' / 'short'}.jsonl"


def test_scan_errors_are_one_line(tmp_path: Path, video: Path) -> None:
    manifest = tmp_path / "other" / "scanned.json"
    manifest.parent.mkdir()
    manifest.write_text("{")
    config = tmp_path / "config.yaml"
    create_keys(tmp_path / "keys")
    keys = tmp_path / "keys" / "server.keys"
    config.write_text(f"worker: {{endpoint: 'tcp://192.0.2.1:5555', keys: '{keys}'}}")
    blocked = tmp_path / "blocked" / "video.jsonl"
    blocked.mkdir(parents=True)
    for arguments, reason in (
        (("--out", manifest.parent), "scanned.json is not a manifest of this version"),
        (("--out", tmp_path / "log", "--config", config), "tcp://192.0.2.1:5555 can't be used"),
        (("--out", video), f"{video}"),
        (("--out", blocked.parent), "video.jsonl is not a file"),
    ):
        done = invoke("scan", video, *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        (line,) = messages(done.stderr)
        assert reason in line
        assert "Traceback" not in done.stderr


def test_copies_of_a_video_are_scanned_once(tmp_path: Path) -> None:
    video, copy = write_scene(tmp_path / "x.mp4", 1), tmp_path / "more" / "x.mp4"
    copy.parent.mkdir()
    copy.write_bytes(video.read_bytes())
    done = actionwatch("scan", video, copy, "--out", tmp_path / "log")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"{copy}: the same video as {video}"
    assert len(list((tmp_path / "log").glob("*.jsonl"))) == 1
