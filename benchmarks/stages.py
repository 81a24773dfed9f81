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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from stream.messages import Clip, ClipSpec, Frame, Prediction
from stream.regions.frame_ring import FrameRing
from stream.regions.resize import fit_frame
from stream.runtime.metrics import Metrics
from stream.runtime.processes import limit_opencv_threads
from stream.sinks.event_log.event_log import EventLog
from stream.sources.opencv_capture import rgb
from stream.synthetic.scene import Scene
from stream.workers.transport import SchedulerSocket
from stream.workers.wire import Batch, Hello, Message, Ready, Result, pack, unpack
from tests.event_samples import logged
from tests.motion_video import encode
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
    video = encode(folder / "video.mp4", frames_rgb, size, int(_FPS), codec="mpeg4")
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
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
    round_trip = stack.enter_context(worker_link(folder, clip, spec, probabilities))
    latest = LatestFrame()

    def encode_jpeg() -> None:
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
        log.write_updates([logged(spec.labels[0], start_s, start_s + 1)])

    frames_per_window = _FPS * _STRIDE_S
    return {
        "grab and decode": (frames_per_window, grab),
        "to BGR": (frames_per_window, capture.retrieve),
        "to RGB": (frames_per_window, lambda: rgb(bgr)),
        "resize": (frames_per_window, lambda: fit_frame(frames_rgb[0], spec)),
        "append to ring": (frames_per_window, append),
        "cut clip": (1, lambda: ring.window(spec.times(ring.newest_s or 0.0))),
        "pack and unpack": (1, lambda: unpack([bytes(part) for part in pack(Batch((clip,)))])),
        "send, wait and reply": (1, round_trip),
        _INFER: (1, lambda: predictor.predict(frames[None])),
        "detect": (1, detect),
        "log (per event)": (0.1, write),
        "encode for viewers": (frames_per_window, encode_jpeg),
        "state for viewers": (frames_per_window, live_message),
    }


@contextlib.contextmanager
def worker_link(
    folder: Path, clip: Clip, spec: ClipSpec, probabilities: np.ndarray
) -> Iterator[Callable[[], None]]:
    """A scheduler socket and a worker that replies at once. Yields a function for a round trip."""
    stop = threading.Event()
    with SchedulerSocket(f"ipc://{folder}/workers") as link:
        thread = threading.Thread(
            target=work,
            args=(link.endpoint, spec, lambda clips: [probabilities]),
            kwargs={"stop": stop},
        )
        thread.start()

        def receive(kind: type[Message]) -> bytes:
            while True:
                received = link.receive()
                if received is None:
                    link.wait(1.0)
                elif isinstance(received[1], kind):
                    return received[0]

        def round_trip() -> None:
            link.send(identity, Batch((clip,)))
            receive(Result)
            receive(Ready)

        receive(Hello)
        identity = receive(Ready)
        yield round_trip
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
