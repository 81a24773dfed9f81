"""Cost of one window in each stage, from the camera's frame to the event log.

Each stage is timed separately, with real objects: the sum is the work per window, and the largest
stage is the one to optimize. Stages per frame count once for each frame of a stride.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from benchmarks.processes import work
from benchmarks.report import Report, parse_args
from model.bench import interleaved_medians
from model.predictor import Predictor
from model.trained_model import load
from stream.capture.latest_frame import LatestFrame
from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.events.processor import CameraView
from stream.messages import Clip, ClipSpec, Event, Frame, LoggedEvent, Prediction
from stream.regions.frame_ring import FrameRing
from stream.regions.resize import fit_frame
from stream.runtime.metrics import Metrics
from stream.runtime.processes import limit_opencv_threads
from stream.sinks.event_log.event_log import EventLog
from stream.sources.opencv_capture import rgb
from stream.synthetic.scene import Scene
from stream.workers.transport import SchedulerSocket
from stream.workers.wire import Batch, Hello, Message, Ready, Result, pack, unpack
from ui.web.api.live import live_state

_FPS, _STRIDE_S = 25.0, 0.25
_INFER = "infer"


@dataclass(frozen=True)
class Row:
    """One stage."""

    stage: str
    call_us: float  # median microseconds of one call
    calls: float  # calls per window
    window_us: float  # per window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="motion", help="embedded name or folder")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], help="of a frame")
    parser.add_argument("--rounds", type=int, default=200)
    args = parse_args(parser, rounds=20)
    report = Report(args.json)
    limit_opencv_threads()
    with contextlib.ExitStack() as stack:
        stages = prepare_stages(args.model, tuple(args.size), stack)
        for name, (calls, run) in stages.items():
            call_us = 1e6 * interleaved_medians({name: run}, args.rounds)[name]
            report.add(Row(name, call_us, calls, call_us * calls))
    overhead_us = sum(row.window_us for row in report.rows if row.stage != _INFER)
    print(f"all but inference: {overhead_us:.0f} us per window")
    report.write(overhead_us=overhead_us)


def prepare_stages(
    name: str, size: tuple[int, int], stack: contextlib.ExitStack
) -> dict[str, tuple[float, Callable[[], object]]]:
    """Each stage: its calls per window, and a function for one call."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    model = load(name)
    spec, predictor = model.spec, Predictor(model)
    scene = Scene(3, width=size[0], height=size[1])
    frames_rgb = [scene.render(number / _FPS) for number in range(50)]
    capture = cv2.VideoCapture(str(write_video(folder / "video.mp4", frames_rgb)), cv2.CAP_FFMPEG)
    stack.callback(capture.release)

    def grab() -> None:
        if not capture.grab():  # rewind
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            capture.grab()

    grab()
    bgr = cv2.cvtColor(frames_rgb[0], cv2.COLOR_RGB2BGR)
    small = fit_frame(frames_rgb[0], spec)
    ring, clock = FrameRing(spec), iter(range(10**9))

    def append() -> None:
        number = next(clock)
        ring.append(small, number / _FPS, number / _FPS)

    for _ in range(int(spec.span_s * _FPS) + 2):
        append()
    frames, times, _ = ring.window(spec.times(ring.newest_s or 0.0))
    clip = Clip("c", 1, frames, times)
    probabilities = predictor.predict(frames[None])[0]
    link = stack.enter_context(WorkerLink(folder, clip, model.spec, probabilities))
    latest = LatestFrame()

    def encode() -> None:
        latest.put(Frame(frames_rgb[0], next(clock) / _FPS, 0.0, 0))
        latest.jpeg()

    metrics = Metrics()
    view = CameraView(Prediction("c", spec.labels, probabilities, 0.0, 1.0, 0.0, 0.0), ())

    def live_message() -> bytes:  # sent to a browser with each frame
        state = live_state("c", "live", "", {"": view}, metrics, waiting="", now=1.0, top=3)
        return json.dumps(state).encode()

    detector = Detector("c", EventsConfig(), spec.background, gap_s=5.0)

    def detect() -> None:
        end_s = next(clock) * _STRIDE_S
        detector.update(Prediction("c", spec.labels, probabilities, end_s - 1, end_s, 0.0, 0.0))

    log = stack.enter_context(EventLog.create(folder / "log"))

    def write() -> None:
        start_s = float(next(clock))
        event = Event(
            id=uuid.uuid4().hex,
            camera="c",
            label=spec.labels[0],
            start_s=start_s,
            latest_s=start_s + 1,
            end_s=start_s + 1,
            detected_s=start_s + 1,
            peak=0.9,
            peak_s=start_s,
            mean=0.8,
        )
        log.write_updates([LoggedEvent(event, "end", datetime.now(timezone.utc), spec.model)])

    frames_per_window = _FPS * _STRIDE_S
    return {
        "grab and decode": (frames_per_window, grab),
        "to BGR": (frames_per_window, capture.retrieve),
        "to RGB": (frames_per_window, lambda: rgb(bgr)),
        "resize": (frames_per_window, lambda: fit_frame(frames_rgb[0], spec)),
        "append to ring": (frames_per_window, append),
        "cut clip": (1, lambda: ring.window(spec.times(ring.newest_s or 0.0))),
        "pack and unpack": (1, lambda: unpack([bytes(part) for part in pack(Batch((clip,)))])),
        "send, wait and reply": (1, link.round_trip),
        _INFER: (1, lambda: predictor.predict(frames[None])),
        "detect": (1, detect),
        "log (per event)": (0.1, write),
        "encode for viewers": (frames_per_window, encode),
        "state for viewers": (frames_per_window, live_message),
    }


class WorkerLink:
    """A scheduler socket and a worker over ZeroMQ; the worker replies at once."""

    def __init__(self, folder: Path, clip: Clip, spec: ClipSpec, probabilities: np.ndarray) -> None:
        self._clip, self._stop = clip, threading.Event()
        self._link = SchedulerSocket(f"ipc://{folder}/workers")

        self._thread = threading.Thread(
            target=work,
            args=(self._link.endpoint, spec, lambda clips: [probabilities]),
            kwargs={"stop": self._stop},
        )

    def __enter__(self) -> WorkerLink:
        self._thread.start()
        self._receive(Hello)
        self._identity = self._receive(Ready)
        return self

    def round_trip(self) -> None:
        self._link.send(self._identity, Batch((self._clip,)))
        self._receive(Result)
        self._receive(Ready)

    def _receive(self, kind: type[Message]) -> bytes:
        while True:
            received = self._link.receive()
            if received is None:
                self._link.wait(1.0)
            elif isinstance(received[1], kind):
                return received[0]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.__exit__()


def write_video(file: Path, frames_rgb: list[np.ndarray]) -> Path:
    height, width = frames_rgb[0].shape[:2]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, (width, height))
    for frame in frames_rgb:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return file


if __name__ == "__main__":
    main()
