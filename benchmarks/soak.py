"""A run under random faults: lost and duplicate events, and growth of memory, threads and files.

Cameras are processes that send JPEGs over HTTP; they are killed and restarted at random. So is the
worker, which is also paused for seconds, as if its model were slow. The brightness of a frame
encodes its label, and the worker reads the label from it, so that every missing or duplicate event
is a fault of the pipeline, not of a model. The log is compared with the events that happened while
camera and worker were up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.report import machine, write_report
from model.worker import serve
from stream.messages import Clip, ClipSpec, Scores
from stream.runtime.processes import worker_environment
from stream.sinks.event_log.event_log import EventLog
from stream.workers.transport import WorkerClient

_FPS = 15.0
_LABELS = ("nothing", "one", "two", "three")
_SPEC = ClipSpec("soak", _LABELS, frozenset({"nothing"}), 8, 1.6, 32, 32, fit="squash")
_LEVELS = 60  # gray levels between two labels
_PERIOD_S, _DURATION_S = 6.0, 3.0  # between event starts, and of an event
_RECOVERY_S = 4.0  # after a restart: connecting, and the first window
_SAMPLE_S = 2.0


@dataclass(frozen=True)
class Row:
    """A measured quantity: medians of the first and of the last quarter."""

    quantity: str
    first: float
    last: float


@dataclass
class Process:
    """A process that is killed and restarted, and its up times, in UTC seconds."""

    command: list[str]
    up_times: list[tuple[float, float]] = field(default_factory=list)
    started_at: float = 0.0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen(self.command, env=worker_environment())
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
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--camera", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.camera:
        run_camera(*args.camera)
    elif args.work_for:
        run_worker(args.work_for)
    else:
        print(machine())
        soak(60.0 if args.quick else 60 * args.minutes, args.cameras, args.seed, args.json)


def soak(seconds: float, count: int, seed: int, file: Path | None) -> None:
    own_command = [sys.executable, "-m", "benchmarks.soak"]
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ports = [free_port() for _ in range(count + 1)]
        cameras = [
            Process([*own_command, "--camera", str(port), str(number)])
            for number, port in enumerate(ports[:count])
        ]
        worker = Process([*own_command, "--work-for", f"ipc://{folder}/scheduler"])
        config = folder / "soak.yaml"
        config.write_text(
            f"worker: {{local: false, endpoint: 'ipc://{folder}/scheduler', result_timeout: 20s}}\n"
            f"data: {folder / 'data'}\ndashboard: {{port: {ports[-1]}}}\n"
            "events: {min_duration: 0.5s}\ncameras:\n"
            + "".join(
                f"  c{number}: {{source: 'http://127.0.0.1:{port}/', max_retry_delay: 2s}}\n"
                for number, port in enumerate(ports[:count])
            )
        )
        for process in (*cameras, worker):
            process.start()
        command = [sys.executable, "-m", "ui.cli", "run", str(config)]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        paused: list[tuple[float, float]] = []
        try:
            samples = inject_faults(seconds, run, cameras, worker, paused, rng, ports[-1])
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(20)
            for process in (*cameras, worker):
                process.kill()
        with EventLog.open(folder / "data") as log:
            logged = list(log.rows())
    rows = [
        Row(name, *quarter_medians([sample[name] for sample in samples if name in sample]))
        for name in ("memory MB", "threads", "files", "age s")
    ]
    print(f"{'':<12} {'first quarter':>14} {'last quarter':>13}")
    for row in rows:
        print(f"{row.quantity:<12} {row.first:>14.2f} {row.last:>13.2f}")
    ready_at = min((sample["at"] for sample in samples if "age s" in sample), default=time.time())
    expected, missing, duplicated = compare(cameras, worker, paused, logged, ready_at)
    spurious = sum(not happened(row) for row in logged)
    kills = (
        sum(len(camera.up_times) - 1 for camera in cameras),
        len(worker.up_times) - 1,
        len(paused),
    )
    print(
        f"{kills[0]} camera kills, {kills[1]} worker kills, {kills[2]} worker pauses; "
        f"{expected} undisturbed events: {missing} missing, {duplicated} duplicated; "
        f"{len(logged)} logged, {spurious} spurious"
    )
    if file:
        write_report(
            file, rows, expected=expected, missing=missing, duplicated=duplicated, spurious=spurious
        )


def inject_faults(
    seconds: float,
    run: subprocess.Popen[bytes],
    cameras: list[Process],
    worker: Process,
    paused: list[tuple[float, float]],
    rng: random.Random,
    port: int,
) -> list[dict[str, float]]:
    """Inject faults at random, and sample the run. Returns the samples."""
    samples, deadline = [], time.monotonic() + seconds
    restart_at: dict[int, float] = {}  # of cameras that are down
    next_kill = time.monotonic() + 15
    while time.monotonic() < deadline:
        time.sleep(_SAMPLE_S)
        if run.poll() is not None:
            raise SystemExit("the run has ended")
        samples.append(sample_run(run.pid, port))
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


def sample_run(pid: int, port: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    status = (process / "status").read_text()
    sample = {
        "at": time.time(),
        "memory MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "threads": float(status.partition("Threads:")[2].split()[0]),
        "files": float(len(list((process / "fd").iterdir()))),
    }
    with contextlib.suppress(OSError):  # the dashboard starts later than the run
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            families = text_string_to_metric_families(response.read().decode())
        ages = [
            metric.value
            for family in families
            if family.name == "actionwatch_prediction_age_seconds"
            for metric in family.samples
        ]
        if ages:
            sample["age s"] = statistics.median(ages)  # over cameras: some may be down
    return sample


def quarter_medians(values: list[float]) -> tuple[float, float]:
    """Medians of the first and of the last quarter, without the startup."""
    values = values[max(1, len(values) // 10) :]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[:quarter]), statistics.median(values[-quarter:])


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
    start = datetime.fromisoformat(row["start"]).replace(tzinfo=timezone.utc).timestamp()
    near = round(start / _PERIOD_S)
    return any(
        row["label"] == _label(number, index) and abs(start - index * _PERIOD_S) < _DURATION_S + 1
        for index in (near - 1, near)
    )


def overlaps(row: dict, label: str, start_s: float, end_s: float) -> bool:
    if row["label"] != label or row["end"] is None:
        return False
    start, end = (datetime.fromisoformat(row[key]) for key in ("start", "end"))
    event_start, event_end = (
        moment.replace(tzinfo=timezone.utc).timestamp() for moment in (start, end)
    )
    return min(event_end, end_s) - max(event_start, start_s) > 0.5 * _DURATION_S


def _label(camera: int, index: int) -> str:
    return _LABELS[1 + (index + camera) % 3]


def run_camera(port: int, number: int) -> None:
    """A camera process: the shown label depends only on the time of day."""

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            rng = np.random.default_rng(number)
            with contextlib.suppress(OSError):
                while True:
                    jpeg = render_jpeg(number, time.time(), rng)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                    time.sleep(1 / _FPS - time.time() % (1 / _FPS))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    _end_with_parent()
    with ThreadingHTTPServer(("127.0.0.1", port), Stream) as server:
        server.daemon_threads = True
        server.serve_forever()


def render_jpeg(number: int, now: float, rng: np.random.Generator) -> bytes:
    index, elapsed_s = divmod(now, _PERIOD_S)
    shown = _LABELS.index(_label(number, int(index))) if elapsed_s < _DURATION_S else 0
    pixels = rng.normal(30 + _LEVELS * shown, 4, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def run_worker(endpoint: str) -> None:
    """The worker process: reads the labels from the brightness."""

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        return tuple(Scores(clip.number, label_fractions(clip.frames), 0.0) for clip in clips)

    _end_with_parent()
    with WorkerClient(endpoint, _SPEC, name="soak") as link:
        serve(predict, link, threading.Event(), capacity=lambda: 8, is_orphaned=lambda: False)


def label_fractions(frames: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3) -> fraction of frames with each label, float32 (labels,)."""
    levels = np.rint((frames.mean(axis=(1, 2, 3)) - 30) / _LEVELS).astype(int).clip(0, 3)
    return (np.bincount(levels, minlength=len(_LABELS)) / len(levels)).astype(np.float32)


def _end_with_parent() -> None:
    parent = os.getppid()

    def poll() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=poll, daemon=True).start()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
