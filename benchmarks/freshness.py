"""How old predictions are: our pipeline and the usual loop, on a camera that does not wait.

A local HTTP camera sends frames in real time, with the time drawn into each, so that its age is
known wherever it shows up. The usual loop reads as many frames as the model needs,
predicts, and repeats; unread frames wait in buffers. Ours is the pipeline of `actionwatch run`.
Both run the same model, also slowed down 10 and 100 times, as large models would be.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.processes import start_process, work
from benchmarks.report import Report, parse_args
from model.predictor import Predictor
from model.trained_model import load
from stream.config.config import Config
from stream.messages import Clip
from stream.pipeline import Pipeline
from stream.regions.resize import fit_frame
from stream.synthetic.scene import Scene
from tests import burnt_clock
from tests.http_camera import PERIOD_S, HttpCamera

_FPS = 30.0


@dataclass(frozen=True)
class Row:
    """One method. Ages are from the time when a frame was sent to its prediction."""

    method: str
    slowdown: float  # how many times slower the model was made
    predictions: int
    age_p50_s: float
    age_p95_s: float
    slope: float  # growth of the age, in seconds per second


@contextlib.contextmanager
def _camera() -> Iterator[HttpCamera]:
    """A camera with its own pace: unread frames wait in buffers, without a limit."""
    scene = Scene(3, width=640, height=360)
    frames = [scene.render(number / _FPS) for number in range(90)]

    def draw(now: float) -> np.ndarray:
        return burnt_clock.stamp(frames[int(now * _FPS) % 90].copy(), now)

    with contextlib.closing(HttpCamera(_FPS, draw, queue=True)) as camera:
        camera.start()
        yield camera


def _age_s(pixels: np.ndarray) -> float:
    """Seconds since a frame was sent."""
    return (time.time() - burnt_clock.read(pixels)) % PERIOD_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="duration of each method")
    parser.add_argument("--slowdown", type=float, nargs="+", default=[1, 10, 100])
    args = parse_args(parser, minutes=1 / 3)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    report = Report(args.json)
    for slowdown in args.slowdown:
        for method, measure in (("ours", ours), ("usual loop", usual_loop)):
            with _camera() as camera:
                ages = measure(camera, 60 * args.minutes, slowdown)
            report.add(summarize(method, slowdown, ages))
    report.write()


def usual_loop(camera: HttpCamera, seconds: float, slowdown: float) -> list[tuple[float, float]]:
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
        ages.append((time.monotonic(), _age_s(pixels)))
    capture.release()
    return ages


def ours(camera: HttpCamera, seconds: float, slowdown: float) -> list[tuple[float, float]]:
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
        with Pipeline(config) as pipeline:
            worker = start_process(run_worker, endpoint, slowdown)
            try:
                until, newest_at = math.inf, 0.0
                while (now := time.monotonic()) < until:
                    prediction = pipeline.processor.view("c").prediction
                    shown = pipeline.cameras["c"].latest_frame.frame
                    if prediction is None or shown is None or prediction.newest_at == newest_at:
                        if pipeline.failure or worker.poll() is not None:
                            raise SystemExit(f"the worker crashed; {pipeline.failure}")
                        time.sleep(0.002)
                        continue
                    until = min(until, now + seconds)  # from the first prediction on
                    newest_at = prediction.newest_at
                    # The pipeline itself can't know how long a frame is on its way from the camera.
                    transport_s = _age_s(shown.pixels) - (time.monotonic() - shown.seen_at)
                    ages.append((now, now - newest_at + transport_s))
            finally:
                worker.terminate()
                worker.wait()
    return ages


def run_worker(endpoint: str, slowdown: float) -> None:
    """The worker process of `ours`."""
    model = load("motion")
    predictor = Predictor(model)

    def score(clips: tuple[Clip, ...]) -> np.ndarray:
        return _predict_slowed(predictor, np.stack([clip.frames for clip in clips]), slowdown)

    work(endpoint, model.spec, score)


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
