"""How many cameras a machine can process: windows per second, age, fairness, cost per camera.

Cameras deliver frames of 640 x 480 at 15 fps, rendered in advance and paced by the clock. Capture
threads, rings, scheduler, ZeroMQ and a worker process run as in a service, without dashboard and
log. The worker is a stub with a fixed time per batch, or the embedded model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from threading import Event as StopEvent

import numpy as np

from benchmarks.processes import resources, start_process, work
from benchmarks.report import Report, parse_args
from stream.capture.camera import Camera
from stream.config.config import CameraConfig, WorkerConfig
from stream.messages import Clip, ClipSpec, FrameTime, Prediction
from stream.runtime.metrics import Metrics
from stream.runtime.processes import limit_opencv_threads, worker_environment
from stream.scheduling.scheduler import Scheduler
from stream.synthetic.motions import MOTIONS
from stream.synthetic.scene import Scene
from stream.workers.launcher import WorkerSetup, worker_command
from stream.workers.transport import SchedulerSocket

_FPS, _STRIDE_S, _BATCH = 15.0, 0.25, 8
_SETTLE_S = 10.0  # until the rings are full: their memory is allocated when it is written to
_STUB_S = 0.01  # the stub's time per batch
_SPEC = ClipSpec("stub", MOTIONS, frozenset(), 8, 1.6, 96, 96, fit="squash")


@dataclass(frozen=True)
class Row:
    """One number of cameras, measured for a while."""

    worker: str
    cameras: int
    windows_s: float  # scored per second, all cameras together
    due_s: float  # due per second
    slowest: float  # windows of the slowest camera, as a fraction of the mean
    age_p50_s: float
    age_p95_s: float
    skipped: int
    cpu: float  # cores per camera: capture and its part of the scheduler
    memory_mb: float  # of the stream process
    grown_mb: float  # during the measurement
    grown_late_mb: float  # in its second half


class _RenderedSource:
    """A source of frames that were rendered in advance."""

    finite = False

    def __init__(self, frames: list[np.ndarray], offset_s: float) -> None:
        self._frames, self._started_at = frames, time.monotonic() + offset_s
        self._index = 0

    def grab(self, stop: StopEvent) -> FrameTime | None:
        time_s = self._index / _FPS
        due_at = self._started_at + time_s
        if stop.wait(max(0.0, due_at - time.monotonic())):
            return None
        self._index += 1
        return FrameTime(time_s, due_at)

    def retrieve(self) -> np.ndarray:
        return self._frames[self._index % len(self._frames)].copy()

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="duration of each row")
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--workers", nargs="+", default=["stub", "motion"], help="stub, or models")
    args = parse_args(parser, seconds=8.0, cameras=[4, 32])
    report = Report(args.json)
    scene = Scene(3, width=640, height=480)
    frames = [scene.render(number / _FPS) for number in range(60)]
    for worker in args.workers:
        for count in args.cameras:
            report.add(measure(worker, count, args.seconds, frames))
    report.write()


class _Record:
    """What the scheduler reports: ages and numbers of predictions, failures."""

    def __init__(self, cameras: Collection[Camera]) -> None:
        self.ages = array("d")  # compact, so that the measurement itself adds little memory
        self.windows: Counter[str] = Counter()
        self.failures: list[str] = []
        self._cameras = cameras

    def on_model(self, spec: ClipSpec) -> None:
        for camera in self._cameras:
            camera.start_buffering(spec)

    def on_prediction(self, prediction: Prediction) -> None:
        self.ages.append(time.monotonic() - prediction.newest_at)
        self.windows[prediction.camera] += 1

    def on_hello(self, worker: bytes, devices: int) -> None:
        pass

    def on_timeout(self, worker: bytes) -> None:
        pass

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        self.failures.append(reason)


def measure(worker: str, count: int, seconds: float, frames: list[np.ndarray]) -> Row:
    metrics = Metrics()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/scheduler"
        link = SchedulerSocket(endpoint)
        cameras = {
            f"c{n}": Camera(
                f"c{n}",
                CameraConfig(source="demo:"),
                metrics,
                opener=lambda *_, n=n, **__: _RenderedSource(frames, n / count / _FPS),
                on_frame=lambda camera: link.wake(),
            )
            for n in range(count)
        }

        record = _Record(cameras.values())
        ages, windows, failures = record.ages, record.windows, record.failures
        scheduler = Scheduler(
            link,
            {name: camera.streams[0] for name, camera in cameras.items()},
            metrics,
            stride_s=_STRIDE_S,
            result_timeout_s=30.0,
            predictions=record,
            workers=record,
        )
        limit_opencv_threads()
        scheduler.start()
        if worker == "stub":
            process = start_process(stub, endpoint)
        else:
            setup = WorkerSetup(endpoint, worker, WorkerConfig(max_batch_size=_BATCH))
            process = subprocess.Popen(worker_command(setup), env=worker_environment())
        try:
            for camera in cameras.values():
                camera.start()
            while len(windows) < count:  # until all cameras are running
                time.sleep(0.05)
                if failures or process.poll() is not None:
                    raise SystemExit(f"worker {worker}: {' '.join(failures) or 'it crashed'}")
            time.sleep(_SETTLE_S)
            memory_mb = _memory_mb()
            del ages[:]
            windows.clear()
            skipped, cpu_s = metrics.total("skipped_windows"), time.process_time()
            started_at = time.monotonic()
            time.sleep(seconds / 2)
            middle_mb = _memory_mb()
            time.sleep(seconds / 2)
            elapsed_s = time.monotonic() - started_at
            cpu_s = time.process_time() - cpu_s
            skipped = metrics.total("skipped_windows") - skipped
            counts, ages_s = dict(windows), np.array(ages)
            end_mb = _memory_mb()
        finally:
            for camera in cameras.values():
                camera.request_stop()
            for camera in cameras.values():
                camera.join(5)
            scheduler.request_stop()
            scheduler.join(10)
            process.terminate()
            process.wait()
            link.__exit__()
    each = [counts.get(name, 0) for name in cameras]
    p50, p95 = np.percentile(ages_s, [50, 95])
    return Row(
        worker,
        count,
        sum(each) / elapsed_s,
        count / _STRIDE_S,
        min(each) / (sum(each) / count),
        float(p50),
        float(p95),
        skipped,
        cpu_s / elapsed_s / count,
        memory_mb,
        end_mb - memory_mb,
        end_mb - middle_mb,
    )


def stub(endpoint: str) -> None:
    """A worker with the same time for every batch."""
    probabilities = np.full(len(MOTIONS), 1 / len(MOTIONS), np.float32)

    def score(clips: tuple[Clip, ...]) -> list[np.ndarray]:
        time.sleep(_STUB_S)
        return [probabilities] * len(clips)

    work(endpoint, _SPEC, score, max_batch_size=_BATCH)


def _memory_mb() -> float:
    """Resident memory of this process: the median over two seconds, because the number of frames
    of a megabyte that cameras hold varies from moment to moment."""
    samples = []
    for _ in range(40):
        samples.append(resources(os.getpid())["memory, MB"])
        time.sleep(0.05)
    return statistics.median(samples)


if __name__ == "__main__":
    main()
