"""A run under random faults: lost and duplicate events, and growth of memory, threads and files.

Cameras are processes that send JPEGs over HTTP; they are killed and restarted at random. So is the
worker, which is also paused for seconds, as if its model were slow. The brightness of a frame
encodes its label, and the worker reads the label from it, so that every missing or duplicate event
is a fault of the pipeline, not of a model. The log is compared with the events that happened while
camera and worker were up.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import free_port, growth, resources, start_process, work
from benchmarks.report import Report, parse_args
from stream.messages import ClipSpec
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.rows import moment
from tests.http_camera import HttpCamera
from tests.site import Site, start_site

_FPS = 15.0
_LABELS = ("nothing", "one", "two", "three")
_SPEC = ClipSpec("soak", _LABELS, frozenset({"nothing"}), 8, 1.6, 32, 32, fit="squash")
_LEVELS = 60  # gray levels between two labels
_PERIOD_S, _DURATION_S = 6.0, 3.0  # between event starts, and of an event
_RECOVERY_S = 4.0  # after a restart: connecting, and the first window
_SAMPLE_S = 2.0


@dataclass
class Process:
    """A process that is killed and restarted, and its up times, in UTC seconds."""

    function: Callable[..., None]
    arguments: tuple[int | str, ...]
    up_times: list[tuple[float, float]] = field(default_factory=list)
    started_at: float = 0.0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = start_process(self.function, *self.arguments)
        self.started_at = time.time()

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.up_times.append((self.started_at, time.time()))
            self.running = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    args = parse_args(parser, minutes=1.0)
    soak(60 * args.minutes, args.cameras, random.Random(args.seed), Report(args.json))


def soak(seconds: float, count: int, rng: random.Random, report: Report) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, endpoint = Path(temporary), f"ipc://{temporary}/scheduler"
        ports = [free_port() for _ in range(count)]
        cameras = [Process(run_camera, (port, number)) for number, port in enumerate(ports)]
        worker = Process(run_worker, (endpoint,))
        config = folder / "soak.yaml"
        config.write_text(
            f"worker: {{local: false, endpoint: '{endpoint}', result_timeout: 20s}}\n"
            "events: {min_duration: 0.5s}\ncameras:\n"
            + "".join(
                f"  c{number}: {{source: 'http://127.0.0.1:{port}/', max_retry_delay: 2s}}\n"
                for number, port in enumerate(ports)
            )
        )
        for process in (*cameras, worker):
            process.start()
        paused: list[tuple[float, float]] = []
        try:
            with start_site(folder, config=config) as site:
                samples = inject_faults(seconds, site, cameras, worker, paused, rng)
        finally:
            for process in (*cameras, worker):
                process.kill()
        with EventLog.open(folder / "data") as log:
            logged = list(log.rows())
    ready_at = min((sample["at"] for sample in samples if "age, s" in sample), default=time.time())
    for row in growth(samples[max(1, len(samples) // 10) :]):  # without the startup
        if row.quantity != "at":
            report.add(row)
    expected, missing, duplicated = compare(cameras, worker, paused, logged, ready_at)
    spurious = sum(not happened(row) for row in logged)
    print(
        f"{sum(len(camera.up_times) - 1 for camera in cameras)} camera kills, "
        f"{len(worker.up_times) - 1} worker kills, {len(paused)} worker pauses; "
        f"{expected} undisturbed events: {missing} missing, {duplicated} duplicated; "
        f"{len(logged)} logged, {spurious} spurious"
    )
    report.write(expected=expected, missing=missing, duplicated=duplicated, spurious=spurious)


def inject_faults(
    seconds: float,
    site: Site,
    cameras: list[Process],
    worker: Process,
    paused: list[tuple[float, float]],
    rng: random.Random,
) -> list[dict[str, float]]:
    """Inject faults at random, and sample the run. Returns the samples."""
    samples, deadline = [], time.monotonic() + seconds
    restart_at: dict[int, float] = {}  # of cameras that are down
    next_kill = time.monotonic() + 15
    while time.monotonic() < deadline:
        time.sleep(_SAMPLE_S)
        samples.append(sample_run(site))
        for number in [index for index, at in restart_at.items() if at < time.monotonic()]:
            del restart_at[number]
            cameras[number].start()
        if time.monotonic() < next_kill:
            continue
        next_kill = time.monotonic() + rng.uniform(8, 20)
        target = rng.choice(["camera", "camera", "worker", "slow"])
        if target == "camera":
            number = rng.randrange(len(cameras))
            if number not in restart_at:
                cameras[number].kill()
                restart_at[number] = time.monotonic() + rng.uniform(0.5, 8)
        elif target == "worker":
            worker.kill()
            worker.start()
        elif worker.running is not None:
            started_at = time.time()
            worker.running.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(1, 4))
            worker.running.send_signal(signal.SIGCONT)
            paused.append((started_at, time.time()))
    for number in restart_at:
        cameras[number].start()
    return samples


def sample_run(site: Site) -> dict[str, float]:
    sample = {"at": time.time(), **resources(site.pid)}
    with urllib.request.urlopen(site.url("metrics"), timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
    ages = [
        metric.value
        for family in families
        if family.name == "actionwatch_prediction_age_seconds"
        for metric in family.samples
    ]
    if ages:
        sample["age, s"] = statistics.median(ages)  # over cameras: some may be down
    return sample


def compare(
    cameras: list[Process],
    worker: Process,
    paused: list[tuple[float, float]],
    logged: list[dict],
    ready_at: float,
) -> tuple[int, int, int]:
    """Counts of undisturbed events: expected, missing, duplicated.

    `ready_at`, in UTC seconds, is the time of the run's first prediction.
    """
    expected = missing = duplicated = 0
    for number, camera in enumerate(cameras):
        rows = [row for row in logged if row["camera"] == f"c{number}"]
        for start, end in camera.up_times:
            first = int(np.ceil((start + _RECOVERY_S) / _PERIOD_S))
            for index in range(first, int(end / _PERIOD_S) + 1):
                start_s, end_s = index * _PERIOD_S, index * _PERIOD_S + _DURATION_S
                if start_s < ready_at or end_s + 1.5 > end:
                    continue
                if not worker_was_up(worker, paused, start_s - 2, end_s + 1.5):
                    continue
                expected += 1
                matches = [
                    row for row in rows if overlaps(row, _label(number, index), start_s, end_s)
                ]
                missing += not matches
                duplicated += len(matches) > 1
    return expected, missing, duplicated


def worker_was_up(
    worker: Process, paused: list[tuple[float, float]], start: float, end: float
) -> bool:
    is_up = any(since + _RECOVERY_S < start and end < until for since, until in worker.up_times)
    return is_up and not any(since < end and start < until for since, until in paused)


def happened(row: dict) -> bool:
    """Whether a camera showed the logged event at all."""
    number = int(row["camera"].removeprefix("c"))
    start = _utc_s(row["start"])
    near = round(start / _PERIOD_S)
    return any(
        row["label"] == _label(number, index) and abs(start - index * _PERIOD_S) < _DURATION_S + 1
        for index in (near - 1, near)
    )


def overlaps(row: dict, label: str, start_s: float, end_s: float) -> bool:
    if row["label"] != label or row["end"] is None:
        return False
    shared_s = min(_utc_s(row["end"]), end_s) - max(_utc_s(row["start"]), start_s)
    return shared_s > 0.5 * _DURATION_S


def _utc_s(text: str) -> float:
    return moment(text).timestamp()


def _label(camera: int, index: int) -> str:
    return _LABELS[1 + (index + camera) % 3]


def run_camera(port: int, number: int) -> None:
    """A camera process: the shown label depends only on the time of day."""
    rng = np.random.default_rng(number)

    def draw(_: float) -> np.ndarray:
        index, elapsed_s = divmod(time.time(), _PERIOD_S)
        shown = _LABELS.index(_label(number, int(index))) if elapsed_s < _DURATION_S else 0
        return rng.normal(30 + _LEVELS * shown, 4, (120, 160, 3)).clip(0, 255).astype(np.uint8)

    HttpCamera(_FPS, draw, port=port).start()


def run_worker(endpoint: str) -> None:
    """The worker process: reads the labels from the brightness."""
    work(
        endpoint,
        _SPEC,
        lambda clips: [label_fractions(clip.frames) for clip in clips],
        max_batch_size=8,
    )


def label_fractions(frames: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3) -> fraction of frames with each label, float32 (labels,)."""
    levels = np.rint((frames.mean(axis=(1, 2, 3)) - 30) / _LEVELS).astype(int).clip(0, 3)
    return (np.bincount(levels, minlength=len(_LABELS)) / len(levels)).astype(np.float32)


if __name__ == "__main__":
    main()
