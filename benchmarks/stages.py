"""What one window costs in each stage, from the camera's picture to the event log.

Every stage is timed by itself on its own, with real objects, so that the sum says what a window
costs in work, and the largest says where to look. Pictures are counted for the frames that a window
has on average: a stride's worth of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report import machine, write_report
from model.predictor import Predictor
from model.trained_model import load
from model.worker import serve
from stream.capture.latest_frame import LatestPicture
from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.events.processor import View
from stream.messages import Clip, ClipSpec, Event, Frame, LoggedEvent, Prediction, Scores
from stream.regions.frame_ring import FrameRing
from stream.regions.resize import fit_picture
from stream.runtime.metrics import Metrics
from stream.runtime.thread_limits import for_capture
from stream.sinks.event_log.event_log import EventLog
from stream.sources.opencv_capture import rgb
from stream.synthetic import Scene
from stream.workers.transport import SchedulerEnd, WorkerEnd
from stream.workers.wire import Answer, Ask, Hello, Message, Work, pack, unpack
from ui.web.api.views import live_state

_FPS, _STRIDE_S = 25.0, 0.25
_INFER = "infer"


@dataclass(frozen=True)
class Row:
    """One stage."""

    stage: str
    once_us: float  # median microseconds of doing it once
    times: float  # how often a window needs it
    window_us: float  # of a window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="motion", help="embedded name or folder")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], help="of the camera")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 rounds")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    print(machine())
    for_capture()
    with contextlib.ExitStack() as stack:
        stages = prepared(given.model, tuple(given.size), stack)
        rows = []
        for name, (times, run) in stages.items():
            once = 1e6 * median_s(run, 20 if given.quick else given.rounds)
            rows.append(Row(name, once, times, once * times))
    print(f"{'stage':<22} {'us once':>9} {'times':>6} {'us a window':>12}")
    for row in rows:
        print(f"{row.stage:<22} {row.once_us:>9.0f} {row.times:>6.2f} {row.window_us:>12.0f}")
    overhead = sum(row.window_us for row in rows if row.stage != _INFER)
    print(f"{'all but inference':<22} {'':>9} {'':>6} {overhead:>12.0f}")
    if given.json:
        write_report(given.json, rows, overhead_us=overhead)


def prepared(
    name: str, size: tuple[int, int], stack: contextlib.ExitStack
) -> dict[str, tuple[float, Callable[[], object]]]:
    """Each stage: how often a window needs it, and how to do it once."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    model = load(name)
    spec, predictor = model.spec, Predictor(model)
    scene = Scene(3, width=size[0], height=size[1])
    pictures = [scene.picture(number / _FPS) for number in range(50)]
    capture = cv2.VideoCapture(str(film(folder / "film.mp4", pictures)), cv2.CAP_FFMPEG)
    stack.callback(capture.release)

    def grab() -> None:
        if not capture.grab():  # from the beginning again
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            capture.grab()

    grab()
    bgr = cv2.cvtColor(pictures[0], cv2.COLOR_RGB2BGR)
    small = fit_picture(pictures[0], spec)
    ring, clock = FrameRing(spec), iter(range(10**9))

    def append() -> None:
        number = next(clock)
        ring.append(small, number / _FPS, number / _FPS)

    for _ in range(int(spec.span_s * _FPS) + 2):
        append()
    frames, times, _ = ring.window(spec.times(ring.newest_s or 0.0))
    clip = Clip("c", 1, frames, times)
    shares = predictor.predict(frames[None])[0]
    line = stack.enter_context(Line(folder, clip, model.spec, shares))
    latest = LatestPicture()

    def encode() -> None:
        latest.put(Frame(pictures[0], next(clock) / _FPS, 0.0, 0))
        latest.jpeg()

    metrics = Metrics()
    view = View(Prediction("c", spec.labels, shares, 0.0, 1.0, 0.0, 0.0), ())

    def tell() -> bytes:  # what goes to a browser with each picture
        state = live_state("c", "live", "", {"": view}, metrics, waiting="", now=1.0, top=3)
        return json.dumps(state).encode()

    detector = Detector("c", EventsConfig(), spec.background, gap_s=5.0)

    def detect() -> None:
        end_s = next(clock) * _STRIDE_S
        detector.update(Prediction("c", spec.labels, shares, end_s - 1, end_s, 0.0, 0.0))

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
        log.save([LoggedEvent(event, "end", datetime.now(timezone.utc), spec.model)])

    each = _FPS * _STRIDE_S  # pictures a window
    return {
        "grab and decode": (each, grab),
        "to BGR": (each, capture.retrieve),
        "to RGB": (each, lambda: rgb(bgr)),
        "resize": (each, lambda: fit_picture(pictures[0], spec)),
        "into the ring": (each, append),
        "cut": (1, lambda: ring.window(spec.times(ring.newest_s or 0.0))),
        "pack and unpack": (1, lambda: unpack([bytes(part) for part in pack(Work((clip,)))])),
        "send, wait and reply": (1, line.round_trip),
        _INFER: (1, lambda: predictor.predict(frames[None])),
        "detect": (1, detect),
        "log (each event)": (0.1, write),
        "encode for viewers": (each, encode),
        "tell viewers": (each, tell),
    }


class Line:
    """A scheduler's end and a worker's end over ZeroMQ, the worker answering at once."""

    def __init__(self, folder: Path, clip: Clip, spec: ClipSpec, shares: np.ndarray) -> None:
        self._clip, self._stop = clip, threading.Event()
        self._link = SchedulerEnd(f"ipc://{folder}/line")

        def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
            return tuple(Scores(one.number, shares, 0.0) for one in clips)

        def work() -> None:
            with WorkerEnd(self._link.endpoint, spec) as worker:
                serve(predict, worker, self._stop, room=lambda: 1, orphaned=lambda: False)

        self._thread = threading.Thread(target=work)

    def __enter__(self) -> Line:
        self._thread.start()
        self._hear(Hello)
        self._identity = self._hear(Ask)
        return self

    def round_trip(self) -> None:
        self._link.send(self._identity, Work((self._clip,)))
        self._hear(Answer)
        self._hear(Ask)

    def _hear(self, kind: type[Message]) -> bytes:
        while True:
            heard = self._link.receive()
            if heard is None:
                self._link.wait(1.0)
            elif isinstance(heard[1], kind):
                return heard[0]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.__exit__()


def film(file: Path, pictures: list[np.ndarray]) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, (width, height))
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return file


def median_s(run: Callable[[], object], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
