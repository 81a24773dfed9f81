"""`actionwatch scan` and `annotate`, as a person runs them."""

from __future__ import annotations

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from stream.synthetic import Scene
from stream.workers.curve_auth import make
from tests.waiting import wait_for

_RATE = 16_000


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ui.cli", *map(str, arguments)]


def actionwatch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False
    )


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines for a person; the worker's are in between."""
    lines = done.stderr.splitlines()
    return [line.removeprefix("actionwatch: ") for line in lines if line.startswith("actionwatch")]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return drawn(tmp_path / "film.mp4", 8, sound="aac")


def drawn(file: Path, seconds: int, *, sound: str = "") -> Path:
    """A film of a scene at 25 pictures a second, with a tone."""
    scene = Scene(7, width=320, height=240)
    with av.open(str(file), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        tone = container.add_stream(sound, rate=_RATE) if sound else None
        for number in range(seconds * 25):
            frame = VideoFrame.from_ndarray(scene.picture(number / 25), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
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


def sounds(file: Path) -> tuple[str, float, float]:
    """Codec, seconds and loudness of a film's sound."""
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


def pictures(file: Path) -> tuple[list[float], np.ndarray]:
    """The times of all pictures, and the middle one, RGB uint8 (H, W, 3)."""
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
    return [float(frame.time) for frame in frames], frames[len(frames) // 2].to_ndarray(
        format="rgb24"
    )


def test_scan_names_what_it_found_and_leaves_out_what_it_cannot_read(
    tmp_path: Path, film: Path
) -> None:
    done = actionwatch("scan", film, tmp_path / "nothing.mp4", "--out", tmp_path / "log")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"actionwatch: {tmp_path / 'nothing.mp4'}: no such file"
    assert f"{film}: " in done.stdout
    assert (tmp_path / "log" / "film.jsonl").is_file()
    assert (tmp_path / "log" / "film.vtt").read_text().startswith("WEBVTT")
    again = actionwatch("scan", film, "--out", tmp_path / "log")
    assert again.returncode == 0
    assert again.stdout == f"{film}: scanned before; --again scans it anew\n"
    listed = actionwatch("events", "list", "--data", tmp_path / "log")
    assert len(listed.stdout.splitlines()) == len(
        (tmp_path / "log" / "film.jsonl").read_text().splitlines()
    )


def test_a_scan_stops_when_it_is_told_to_and_says_what_is_left(tmp_path: Path) -> None:
    film = drawn(tmp_path / "long.mp4", 60)
    running = subprocess.Popen(
        command("scan", film, "--out", tmp_path / "log"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any((tmp_path / "log").glob("scores/*")))  # it is at work
    running.send_signal(signal.SIGINT)
    said, complained = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped; 1 file is left: scan again to go on" in complained
    assert said == ""  # nothing was scanned
    assert not (tmp_path / "log" / "long.jsonl").exists()


@pytest.mark.parametrize(("name", "sound"), [("film.mp4", "aac"), ("film.avi", "pcm_s16le")])
def test_annotate_draws_on_the_pictures_and_keeps_the_sound(
    tmp_path: Path, name: str, sound: str
) -> None:
    film = drawn(tmp_path / name, 8, sound=sound)
    out = tmp_path / "out.mp4"
    done = actionwatch("annotate", film, "-o", out)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"wrote {out}")
    times, middle = pictures(out)
    before, plain = pictures(film)
    assert np.allclose(times, np.array(before) - before[0], atol=0.002)
    changed = np.abs(middle.astype(int) - plain).mean(axis=2)
    assert changed[:120, :140].mean() > 10  # the words
    assert changed[130:].mean() < 4  # and the picture below them
    codec, seconds, loudness = sounds(out)
    assert codec == "aac"
    assert seconds == pytest.approx(8, abs=0.2)
    assert loudness > 0.01
    assert not list(tmp_path.glob("*.part"))


def test_annotate_says_what_it_needs_before_it_scans(tmp_path: Path, film: Path) -> None:
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    for arguments, reason in (
        ((film, "-o", film), "is the film itself"),
        ((film, "-o", tmp_path / "out.avi"), "must end in .mp4"),
        ((tmp_path / "none.mp4", "-o", tmp_path / "out.mp4"), "no such file"),
        ((film, "-o", tmp_path / "none" / "out.mp4"), f"there is no folder {tmp_path / 'none'}"),
        ((film, "-o", folder), "it is a folder"),
    ):
        done = actionwatch("annotate", *arguments)
        assert done.returncode == 2
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_annotate_names_a_film_that_is_none(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    done = actionwatch("annotate", text, "-o", tmp_path / "out.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert "text.mp4: not a video" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_a_film_without_a_window_is_told(tmp_path: Path) -> None:
    film = drawn(tmp_path / "short.mp4", 1)
    done = actionwatch("scan", film, "--out", tmp_path / "log")
    assert done.returncode == 0
    assert told(done) == [f"{film}: lasts 1.0 s, but the model looks at 1.6 s at a time: no window"]
    assert done.stdout.splitlines()[0] == f"{film}: 0 events, {tmp_path / 'log' / 'short'}.jsonl"


def test_scan_says_in_one_line_why_it_cannot_work(tmp_path: Path, film: Path) -> None:
    notes = tmp_path / "other" / "scanned.json"
    notes.parent.mkdir()
    notes.write_text("{")
    config = tmp_path / "config.yaml"
    make(tmp_path / "keys")
    keys = tmp_path / "keys" / "watch.keys"
    config.write_text(f"worker: {{endpoint: 'tcp://192.0.2.1:5555', keys: '{keys}'}}")
    taken = tmp_path / "taken" / "film.jsonl"
    taken.mkdir(parents=True)
    for arguments, reason in (
        (("--out", notes.parent), "scanned.json holds no notes that this version can read"),
        (("--out", tmp_path / "log", "--config", config), "tcp://192.0.2.1:5555 can't be used"),
        (("--out", film), f"{film}"),
        (("--out", taken.parent), "film.jsonl is no file"),
    ):
        done = actionwatch("scan", film, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = told(done)
        assert reason in line
        assert "Traceback" not in done.stderr


def test_copies_of_a_film_are_scanned_once(tmp_path: Path) -> None:
    film, copy = drawn(tmp_path / "x.mp4", 1), tmp_path / "more" / "x.mp4"
    copy.parent.mkdir()
    copy.write_bytes(film.read_bytes())
    done = actionwatch("scan", film, copy, "--out", tmp_path / "log")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"{copy}: the same film as {film}"
    assert len(list((tmp_path / "log").glob("*.jsonl"))) == 1
