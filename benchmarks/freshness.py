"""How old predictions are: our pipeline and the usual loop, on a camera that does not wait.

A local HTTP camera sends frames in real time, with the frame number drawn into each, so that its
send time is known wherever it shows up. The usual loop reads as many frames as the model needs,
predicts, and repeats; unread frames wait in buffers. Ours is the pipeline of `actionwatch run`.
Both run the same model, also slowed down 10 and 100 times, as large models would be.
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
from stream.regions.resize import fit_frame
from stream.runtime.thread_limits import worker_environment
from stream.synthetic import Scene
from stream.workers.transport import WorkerClient

_FPS = 30.0
_BITS = 16  # of a frame's number, as black and white fields along its upper edge
_FIELD = 20  # pixels


@dataclass(frozen=True)
class Row:
    """One method. Ages are from the time when a frame was sent to its prediction."""

    method: str
    slowdown: float  # how many times slower the model was made
    predictions: int
    age_p50_s: float
    age_p95_s: float
    slope: float  # growth of the age, in seconds per second


class _Camera(ThreadingHTTPServer):
    """Sends rendered frames to its clients in real time; blocks for slow clients, as TCP does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        scene = Scene(3, width=640, height=360)
        self.frames = [scene.render(number / _FPS) for number in range(90)]
        self.sent_at: dict[int, float] = {}
        self.stopped = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Stream(BaseHTTPRequestHandler):
    server: _Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        started_at, number = time.monotonic(), 0
        # The camera keeps its own pace: frames that a client has not read yet wait in buffers,
        # without a limit, as with a server over TCP.
        with contextlib.suppress(OSError):
            while not self.server.stopped.wait(
                max(0.0, started_at + number / _FPS - time.monotonic())
            ):
                self.server.sent_at[number % 2**_BITS] = started_at + number / _FPS
                self.wfile.write(_part(self.server.frames[number % 90], number))
                number += 1

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _part(pixels: np.ndarray, number: int) -> bytes:
    marked = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    for bit in range(_BITS):
        white = number % 2**_BITS >> bit & 1
        marked[:_FIELD, bit * _FIELD : (bit + 1) * _FIELD] = 255 * white
    jpeg = cv2.imencode(".jpg", marked)[1].tobytes()
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
        len(jpeg),
        jpeg,
    )


def _number(pixels: np.ndarray) -> int:
    """Read the number that is drawn into a frame."""
    levels = [pixels[_FIELD // 2, bit * _FIELD + _FIELD // 2].mean() for bit in range(_BITS)]
    return sum((value > 127) << bit for bit, value in enumerate(levels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="duration of each method")
    parser.add_argument("--quick", action="store_true", help="20 seconds per method")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    parser.add_argument(
        "--slowdown",
        type=float,
        nargs="+",
        default=[1, 10, 100],
        help="slowdown factors of the model",
    )
    args = parser.parse_args()
    if args.work_for:
        run_worker(args.work_for, args.slowdown[0])
        return
    seconds = 20.0 if args.quick else 60 * args.minutes
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    print(machine())
    print(f"{'':<10} {'slowdown':>8} {'predictions':>12} {'p50 s':>7} {'p95 s':>7} {'slope':>8}")
    rows = []
    for slowdown in args.slowdown:
        for method, measure in (("ours", ours), ("usual loop", usual_loop)):
            with _serve_camera() as camera:
                ages = measure(camera, seconds, slowdown)
            row = summarize(method, slowdown, ages)
            rows.append(row)
            print(
                f"{row.method:<10} {row.slowdown:>8.0f} {row.predictions:>12} "
                f"{row.age_p50_s:>7.3f} {row.age_p95_s:>7.3f} {row.slope:>8.4f}",
                flush=True,
            )
    if args.json:
        write_report(args.json, rows)


@contextlib.contextmanager
def _serve_camera() -> Iterator[_Camera]:
    with _Camera() as camera:
        thread = threading.Thread(target=camera.serve_forever)
        thread.start()
        try:
            yield camera
        finally:
            camera.stopped.set()
            camera.shutdown()
            thread.join()


def usual_loop(camera: _Camera, seconds: float, slowdown: float) -> list[tuple[float, float]]:
    """Read T frames, predict, repeat. Returns (time, age) of each prediction, in seconds."""
    model = load("motion")
    predictor = Predictor(model)
    capture = cv2.VideoCapture(camera.address, cv2.CAP_FFMPEG)
    ages, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        frames = []
        for _ in range(model.spec.frames):
            decoded, pixels = capture.read()
            if not decoded:
                raise SystemExit("the camera stopped")
            frames.append(fit_frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), model.spec))
        _predict_slowed(predictor, np.stack(frames)[None], slowdown)
        now = time.monotonic()
        ages.append((now, now - camera.sent_at[_number(pixels)]))
    capture.release()
    return ages


def ours(camera: _Camera, seconds: float, slowdown: float) -> list[tuple[float, float]]:
    """Our pipeline, with a worker process. Returns (time, age) of each prediction, in seconds."""
    ages: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/scheduler"
        config = Config.model_validate(
            {
                "cameras": {"c": {"source": camera.address}},
                "data": folder,
                "worker": {"local": False, "endpoint": endpoint},
            }
        )
        command = [sys.executable, "-m", "benchmarks.freshness", "--work-for", endpoint]
        command += ["--slowdown", str(slowdown)]
        with Pipeline(config) as pipeline:
            worker = subprocess.Popen(command, env=worker_environment())
            try:
                until, newest_at = math.inf, 0.0
                while (now := time.monotonic()) < until:
                    prediction = pipeline.view("c").prediction
                    shown = pipeline.cameras["c"].latest_frame.frame
                    if prediction is None or shown is None or prediction.newest_at == newest_at:
                        if pipeline.failure or worker.poll() is not None:
                            raise SystemExit(f"the worker crashed; {pipeline.failure}")
                        time.sleep(0.002)
                        continue
                    until = min(until, now + seconds)  # from the first prediction on
                    newest_at = prediction.newest_at
                    # The pipeline itself can't know how long a frame is on its way from the camera.
                    transport_s = shown.seen_at - camera.sent_at[_number(shown.pixels)]
                    ages.append((now, now - newest_at + transport_s))
            finally:
                worker.terminate()
                worker.wait()
    return ages


def run_worker(endpoint: str, slowdown: float) -> None:
    """The worker process of `ours`."""
    model = load("motion")
    predictor = Predictor(model)

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        frames = np.stack([clip.frames for clip in clips])
        rows = _predict_slowed(predictor, frames, slowdown)
        return tuple(Scores(clip.number, row, 0.0) for clip, row in zip(clips, rows, strict=True))

    with WorkerClient(endpoint, model.spec) as link:
        serve(predict, link, threading.Event(), capacity=lambda: 1, is_orphaned=lambda: False)


def summarize(method: str, slowdown: float, ages: list[tuple[float, float]]) -> Row:
    times, ages_s = (np.array(values) for values in zip(*ages, strict=True))
    p50, p95 = np.percentile(ages_s, [50, 95])
    slope = np.polyfit(times - times[0], ages_s, 1)[0]
    return Row(method, slowdown, len(ages), float(p50), float(p95), float(slope))


def _predict_slowed(predictor: Predictor, clips: np.ndarray, factor: float) -> np.ndarray:
    """Predict, and wait as if that had needed `factor` times as long."""
    started_at = time.monotonic()
    probabilities = predictor.predict(clips)
    time.sleep((factor - 1) * (time.monotonic() - started_at))
    return probabilities


if __name__ == "__main__":
    main()
