"""How old are predictions: our watch, and the usual loop, on a camera that does not wait.

A local HTTP camera sends pictures in real time, each with its number drawn into it, so that its
true time is known wherever it shows up. The usual loop reads as many pictures as the model takes,
infers, and repeats; what it has not read yet waits in buffers. Ours is `actionwatch run`'s
pipeline. Both run the same model, also slowed ten- and a hundredfold, as large ones would be.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report import machine, write_report
from model.predictor import Predictor
from model.trained_model import load
from model.worker import serve
from stream.config.config import Config
from stream.messages import Clip, Scores
from stream.pipeline import Pipeline
from stream.regions.resize import fit_picture
from stream.runtime.thread_limits import worker_environment
from stream.synthetic import Scene
from stream.workers.transport import WorkerEnd

_FPS = 30.0
_BITS = 16  # of a picture's number, as black and white fields along its upper edge
_FIELD = 20  # pixels


@dataclass(frozen=True)
class Row:
    """One way of watching. Ages are from the moment when a picture was sent to its prediction."""

    way: str
    slowed: float  # how many times slower the model was made
    predictions: int
    age_p50_s: float
    age_p95_s: float
    slope: float  # seconds that ages grow by, in a second: 0 is flat


class _Camera(ThreadingHTTPServer):
    """Sends drawn pictures in real time to whoever asks; slow readers are waited for, as by TCP."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        scene = Scene(3, width=640, height=360)
        self.pictures = [scene.picture(number / _FPS) for number in range(90)]
        self.sent_at: dict[int, float] = {}
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Stream(BaseHTTPRequestHandler):
    server: _Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        began_at, number = time.monotonic(), 0
        # A camera goes on at its own pace: what its reader is too slow for waits in buffers, here
        # as long as the reader likes, which is what a server over TCP does.
        with contextlib.suppress(OSError):
            while not self.server.over.wait(max(0.0, began_at + number / _FPS - time.monotonic())):
                self.server.sent_at[number % 2**_BITS] = began_at + number / _FPS
                self.wfile.write(_part(self.server.pictures[number % 90], number))
                number += 1

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _part(picture: np.ndarray, number: int) -> bytes:
    marked = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    for bit in range(_BITS):
        white = number % 2**_BITS >> bit & 1
        marked[:_FIELD, bit * _FIELD : (bit + 1) * _FIELD] = 255 * white
    jpeg = cv2.imencode(".jpg", marked)[1].tobytes()
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
        len(jpeg),
        jpeg,
    )


def _number(picture: np.ndarray) -> int:
    """The number that is drawn into a picture."""
    middles = [picture[_FIELD // 2, bit * _FIELD + _FIELD // 2].mean() for bit in range(_BITS)]
    return sum((value > 127) << bit for bit, value in enumerate(middles))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of each way")
    parser.add_argument("--quick", action="store_true", help="20 seconds of each way")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    parser.add_argument(
        "--slowed", type=float, nargs="+", default=[1, 10, 100], help="how many times the model is"
    )
    given = parser.parse_args()
    if given.work_for:
        work(given.work_for, given.slowed[0])
        return
    seconds = 20.0 if given.quick else 60 * given.minutes
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    print(machine())
    print(f"{'':<10} {'slowed':>7} {'predictions':>12} {'p50 s':>7} {'p95 s':>7} {'slope':>8}")
    rows = []
    for slowed in given.slowed:
        for way, watch in (("ours", ours), ("usual loop", usual_loop)):
            with _serving() as camera:
                ages = watch(camera, seconds, slowed)
            row = summed_up(way, slowed, ages)
            rows.append(row)
            print(
                f"{row.way:<10} {row.slowed:>7.0f} {row.predictions:>12} {row.age_p50_s:>7.3f} "
                f"{row.age_p95_s:>7.3f} {row.slope:>8.4f}",
                flush=True,
            )
    if given.json:
        write_report(given.json, rows)


@contextlib.contextmanager
def _serving() -> Iterator[_Camera]:
    with _Camera() as camera:
        thread = threading.Thread(target=camera.serve_forever)
        thread.start()
        try:
            yield camera
        finally:
            camera.over.set()
            camera.shutdown()
            thread.join()


def usual_loop(camera: _Camera, seconds: float, slowed: float) -> list[tuple[float, float]]:
    """Read T pictures, infer, repeat. Returns (when, age) of each prediction, in seconds."""
    model = load("motion")
    predictor = Predictor(model)
    capture = cv2.VideoCapture(camera.address, cv2.CAP_FFMPEG)
    ages, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        frames = []
        for _ in range(model.spec.frames):
            decoded, picture = capture.read()
            if not decoded:
                raise SystemExit("the camera stopped")
            frames.append(fit_picture(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), model.spec))
        _slowly(predictor, np.stack(frames)[None], slowed)
        now = time.monotonic()
        ages.append((now, now - camera.sent_at[_number(picture)]))
    capture.release()
    return ages


def ours(camera: _Camera, seconds: float, slowed: float) -> list[tuple[float, float]]:
    """The pipeline, with a worker process. Returns (when, age) of each prediction, in seconds."""
    ages: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/line"
        config = Config.model_validate(
            {
                "cameras": {"c": {"source": camera.address}},
                "data": folder,
                "worker": {"local": False, "endpoint": endpoint},
            }
        )
        command = [sys.executable, "-m", "benchmarks.freshness", "--work-for", endpoint]
        command += ["--slowed", str(slowed)]
        with Pipeline(config) as pipeline:
            worker = subprocess.Popen(command, env=worker_environment())
            try:
                until, newest_at = math.inf, 0.0
                while (now := time.monotonic()) < until:
                    prediction = pipeline.view("c").prediction
                    shown = pipeline.cameras["c"].picture.frame
                    if prediction is None or shown is None or prediction.newest_at == newest_at:
                        if pipeline.failure or worker.poll() is not None:
                            raise SystemExit(f"the worker died; {pipeline.failure}")
                        time.sleep(0.002)
                        continue
                    until = min(until, now + seconds)  # from the first one on
                    newest_at = prediction.newest_at
                    # How long a picture takes from the camera to us, the watch itself can't know.
                    under_way_s = shown.seen_at - camera.sent_at[_number(shown.pixels)]
                    ages.append((now, now - newest_at + under_way_s))
            finally:
                worker.terminate()
                worker.wait()
    return ages


def work(endpoint: str, slowed: float) -> None:
    """The worker process of `ours`."""
    model = load("motion")
    predictor = Predictor(model)

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        frames = np.stack([clip.frames for clip in clips])
        rows = _slowly(predictor, frames, slowed)
        return tuple(Scores(clip.number, row, 0.0) for clip, row in zip(clips, rows, strict=True))

    with WorkerEnd(endpoint, model.spec) as link:
        serve(predict, link, threading.Event(), room=lambda: 1, orphaned=lambda: False)


def summed_up(way: str, slowed: float, ages: list[tuple[float, float]]) -> Row:
    when, old = (np.array(values) for values in zip(*ages, strict=True))
    p50, p95 = np.percentile(old, [50, 95])
    slope = np.polyfit(when - when[0], old, 1)[0]
    return Row(way, slowed, len(ages), float(p50), float(p95), float(slope))


def _slowly(predictor: Predictor, clips: np.ndarray, times: float) -> np.ndarray:
    """Predict, and then wait as if it had taken so many times as long."""
    began = time.monotonic()
    shares = predictor.predict(clips)
    time.sleep((times - 1) * (time.monotonic() - began))
    return shares


if __name__ == "__main__":
    main()
