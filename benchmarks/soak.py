"""A watch that is treated badly for long: what it loses, and whether it stays as it was.

Cameras are processes that send JPEGs over HTTP and are killed and started again at random; the
worker is killed, and stopped for seconds as if its model were slow, at random too. What a camera
shows is written into the brightness of its pictures, and the worker reads it from there, so that
every event that is missing or there twice is the watch's fault and not a model's. Compared is what
happened while a camera was up and a worker at work, with what is in the log.
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
from stream.runtime.thread_limits import worker_environment
from stream.sinks.event_log.event_log import EventLog
from stream.workers.transport import WorkerEnd

_FPS = 15.0
_LABELS = ("nothing", "one", "two", "three")
_SPEC = ClipSpec("soak", _LABELS, frozenset({"nothing"}), 8, 1.6, 32, 32, fit="squash")
_LEVELS = 60  # grey levels between one label and the next
_EVERY_S, _LASTS_S = 6.0, 3.0  # an event begins, and goes on
_SETTLES_S = 4.0  # after something came back: connecting, and the first window
_SAMPLE_S = 2.0


@dataclass(frozen=True)
class Row:
    """What was measured: the median of the first and of the last quarter."""

    what: str
    first: float
    last: float


@dataclass
class Process:
    """A process that is killed and started again, and when it was there, in UTC seconds."""

    command: list[str]
    up: list[tuple[float, float]] = field(default_factory=list)
    since: float = 0.0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen(self.command, env=worker_environment())
        self.since = time.time()

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.up.append((self.since, time.time()))
            self.running = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when")
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--camera", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.camera:
        be_camera(*given.camera)
    elif given.work_for:
        work(given.work_for)
    else:
        print(machine())
        soak(60.0 if given.quick else 60 * given.minutes, given.cameras, given.seed, given.json)


def soak(seconds: float, count: int, seed: int, file: Path | None) -> None:
    me = [sys.executable, "-m", "benchmarks.soak"]
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = [free_port() for _ in range(count + 1)]
        cameras = [
            Process([*me, "--camera", str(port), str(number)])
            for number, port in enumerate(ports[:count])
        ]
        worker = Process([*me, "--work-for", f"ipc://{folder}/line"])
        config = folder / "soak.yaml"
        config.write_text(
            f"worker: {{local: false, endpoint: 'ipc://{folder}/line', answer_within: 20s}}\n"
            f"data: {folder / 'data'}\ndashboard: {{port: {ports[-1]}}}\n"
            "events: {minimum: 0.5s}\ncameras:\n"
            + "".join(
                f"  c{number}: {{source: 'http://127.0.0.1:{port}/', retry_max: 2s}}\n"
                for number, port in enumerate(ports[:count])
            )
        )
        for process in (*cameras, worker):
            process.start()
        command = [sys.executable, "-m", "ui.cli", "run", str(config)]
        watch = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stopped: list[tuple[float, float]] = []
        try:
            samples = torment(seconds, watch, cameras, worker, stopped, chance, ports[-1])
        finally:
            watch.send_signal(signal.SIGINT)
            watch.wait(20)
            for process in (*cameras, worker):
                process.kill()
        with EventLog.open(folder / "data") as log:
            logged = list(log.rows())
    rows = [
        Row(what, *halves([sample[what] for sample in samples if what in sample]))
        for what in ("memory MB", "threads", "files", "age s")
    ]
    print(f"{'':<12} {'first quarter':>14} {'last quarter':>13}")
    for row in rows:
        print(f"{row.what:<12} {row.first:>14.2f} {row.last:>13.2f}")
    ready_at = min((sample["at"] for sample in samples if "age s" in sample), default=time.time())
    expected, missing, doubled = compare(cameras, worker, stopped, logged, ready_at)
    invented = sum(not happened(row) for row in logged)
    kills = sum(len(camera.up) - 1 for camera in cameras), len(worker.up) - 1, len(stopped)
    print(
        f"{kills[0]} cameras killed, {kills[1]} workers killed, {kills[2]} times stopped; "
        f"{expected} events undisturbed: {missing} missing, {doubled} twice; {len(logged)} logged, "
        f"{invented} of what did not happen"
    )
    if file:
        write_report(
            file, rows, expected=expected, missing=missing, doubled=doubled, invented=invented
        )


def torment(
    seconds: float,
    watch: subprocess.Popen[bytes],
    cameras: list[Process],
    worker: Process,
    stopped: list[tuple[float, float]],
    chance: random.Random,
    port: int,
) -> list[dict[str, float]]:
    """Do harm at random, and look at the watch now and then. Returns what was seen of it."""
    samples, until = [], time.monotonic() + seconds
    back: dict[int, float] = {}  # cameras that are down, and until when
    next_kill = time.monotonic() + 15
    while time.monotonic() < until:
        time.sleep(_SAMPLE_S)
        if watch.poll() is not None:
            raise SystemExit("the watch has ended")
        samples.append(seen_of(watch.pid, port))
        for number in [one for one, moment in back.items() if moment < time.monotonic()]:
            del back[number]
            cameras[number].start()
        if time.monotonic() < next_kill:
            continue
        next_kill = time.monotonic() + chance.uniform(8, 20)
        victim = chance.choice(["camera", "camera", "worker", "slow"])
        if victim == "camera":
            number = chance.randrange(len(cameras))
            if number not in back:
                cameras[number].kill()
                back[number] = time.monotonic() + chance.uniform(0.5, 8)
        elif victim == "worker":
            worker.kill()
            worker.start()
        elif worker.running is not None:
            began = time.time()
            worker.running.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(1, 4))
            worker.running.send_signal(signal.SIGCONT)
            stopped.append((began, time.time()))
    for number in back:
        cameras[number].start()
    return samples


def seen_of(pid: int, port: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    status = (process / "status").read_text()
    seen = {
        "at": time.time(),
        "memory MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "threads": float(status.partition("Threads:")[2].split()[0]),
        "files": float(len(list((process / "fd").iterdir()))),
    }
    with contextlib.suppress(OSError):  # the page comes later than the watch
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        ages = [
            sample.value
            for family in families
            if family.name == "actionwatch_prediction_age_seconds"
            for sample in family.samples
        ]
        if ages:
            seen["age s"] = statistics.median(ages)  # of the cameras: some may be down
    return seen


def halves(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last quarter; the start itself is left out."""
    values = values[max(1, len(values) // 10) :]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[:quarter]), statistics.median(values[-quarter:])


def compare(
    cameras: list[Process],
    worker: Process,
    stopped: list[tuple[float, float]],
    logged: list[dict],
    ready_at: float,
) -> tuple[int, int, int]:
    """Events that nothing disturbed: how many there were, are missing, and are there twice.

    `ready_at`, in UTC seconds, is when the watch itself was seen to predict.
    """
    expected = missing = doubled = 0
    for number, camera in enumerate(cameras):
        rows = [row for row in logged if row["camera"] == f"c{number}"]
        for begin, end in camera.up:
            first = int(np.ceil((begin + _SETTLES_S) / _EVERY_S))
            for index in range(first, int(end / _EVERY_S) + 1):
                starts, ends = index * _EVERY_S, index * _EVERY_S + _LASTS_S
                if starts < ready_at or ends + 1.5 > end:
                    continue
                if not at_work(worker, stopped, starts - 2, ends + 1.5):
                    continue
                expected += 1
                same = [row for row in rows if overlaps(row, _label(number, index), starts, ends)]
                missing += not same
                doubled += len(same) > 1
    return expected, missing, doubled


def at_work(worker: Process, stopped: list[tuple[float, float]], begin: float, end: float) -> bool:
    there = any(since + _SETTLES_S < begin and end < until for since, until in worker.up)
    return there and not any(since < end and begin < until for since, until in stopped)


def happened(row: dict) -> bool:
    """Whether what is logged was shown, at all."""
    number = int(row["camera"].removeprefix("c"))
    begin = datetime.fromisoformat(row["start"]).replace(tzinfo=timezone.utc).timestamp()
    near = round(begin / _EVERY_S)
    return any(
        row["label"] == _label(number, index) and abs(begin - index * _EVERY_S) < _LASTS_S + 1
        for index in (near - 1, near)
    )


def overlaps(row: dict, label: str, starts: float, ends: float) -> bool:
    if row["label"] != label or row["end"] is None:
        return False
    begin, end = (datetime.fromisoformat(row[key]) for key in ("start", "end"))
    begun, ended = (moment.replace(tzinfo=timezone.utc).timestamp() for moment in (begin, end))
    return min(ended, ends) - max(begun, starts) > 0.5 * _LASTS_S


def _label(camera: int, index: int) -> str:
    return _LABELS[1 + (index + camera) % 3]


def be_camera(port: int, number: int) -> None:
    """A camera process: what it shows depends on the time of day alone."""

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            rng = np.random.default_rng(number)
            with contextlib.suppress(OSError):
                while True:
                    jpeg = picture(number, time.time(), rng)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                    time.sleep(1 / _FPS - time.time() % (1 / _FPS))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    _end_with_parent()
    with ThreadingHTTPServer(("127.0.0.1", port), Stream) as server:
        server.daemon_threads = True
        server.serve_forever()


def picture(number: int, now: float, rng: np.random.Generator) -> bytes:
    index, since = divmod(now, _EVERY_S)
    shown = _LABELS.index(_label(number, int(index))) if since < _LASTS_S else 0
    pixels = rng.normal(30 + _LEVELS * shown, 4, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def work(endpoint: str) -> None:
    """The worker process: reads the labels from the brightness."""

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        return tuple(Scores(clip.number, shares(clip.frames), 0.0) for clip in clips)

    _end_with_parent()
    with WorkerEnd(endpoint, _SPEC, name="soak") as link:
        serve(predict, link, threading.Event(), room=lambda: 8, orphaned=lambda: False)


def shares(frames: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3) -> how many of the pictures show each label, float32 (labels,)."""
    levels = np.rint((frames.mean(axis=(1, 2, 3)) - 30) / _LEVELS).astype(int).clip(0, 3)
    return (np.bincount(levels, minlength=len(_LABELS)) / len(levels)).astype(np.float32)


def _end_with_parent() -> None:
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=look, daemon=True).start()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
