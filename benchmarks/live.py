"""Video latency in the browser: three viewers, a slow link, sixteen cameras at once.

A camera process sends 1280 x 720 at 25 FPS over HTTP, with the time of day burnt into each frame;
`actionwatch run` reads it; headless Chromium shows the Live tab. The latency is the clock in the
frame that was just drawn on the canvas, compared with the browser's own clock. The baseline is the
same camera as MJPEG in an <img>, over the same slow link.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.page_probes import CLICK, ON_DRAW, ON_IMG_FRAME, RESPONSIVENESS
from benchmarks.report import machine, write_report
from benchmarks.slow_link import slow_link
from benchmarks.soak import free_port
from tests import burnt_clock
from tests.http_camera import HttpCamera

_LINK_BYTES_PER_S = 1e6
_WARM_UP_S = 6.0
_SIZES = {"large": (1280, 720, 25.0), "many": (640, 360, 10.0)}  # width, height, FPS
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@dataclass(frozen=True)
class Row:
    """Frames and latency of one viewer."""

    what: str
    width: int  # median of the frames
    fps: float
    age_p50_ms: float
    age_p95_ms: float


@dataclass(frozen=True)
class Grid:
    """Responsiveness of a page with many cameras."""

    cameras: int
    fps_each: float
    busy: float  # fraction of the time in tasks longer than 50 ms
    frame_p95_ms: float  # between two animation frames of the page
    click_p50_ms: float  # until the page has changed
    click_p95_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="duration of each measurement")
    parser.add_argument("--quick", action="store_true", help="8 seconds each")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--camera", nargs=2, metavar=("SIZE", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.camera:
        run_camera(given.camera[0], int(given.camera[1]))
        return
    seconds = 8.0 if given.quick else given.seconds
    print(machine())
    rows = []
    print(f"{'':<28} {'width':>6} {'fps':>6} {'p50 ms':>7} {'p95 ms':>7}")
    for row in (*three_viewers(seconds), *over_a_slow_link(seconds)):
        rows.append(row)
        ages = f"{row.age_p50_ms:>7.0f} {row.age_p95_ms:>7.0f}"
        print(f"{row.what:<28} {row.width:>6} {row.fps:>6.1f} {ages}", flush=True)
    grid = many_cameras(16, seconds)
    print(
        f"{grid.cameras} cameras: {grid.fps_each:.1f} FPS each, page busy {grid.busy:.0%}, "
        f"frame p95 {grid.frame_p95_ms:.0f} ms, click p50 {grid.click_p50_ms:.0f} ms, "
        f"p95 {grid.click_p95_ms:.0f} ms"
    )
    if given.json:
        write_report(given.json, rows, grid=asdict(grid))


def three_viewers(seconds: float) -> Iterator[Row]:
    with camera("large") as port, run([port]) as page_port, browser() as chromium:
        pages = [_live_page(chromium, page_port) for _ in range(3)]
        readings = _readings(pages, seconds)
    for number, read in enumerate(readings, 1):
        yield _row(f"viewer {number} of 3", read, seconds)


def over_a_slow_link(seconds: float) -> Iterator[Row]:
    with camera("large") as port, run([port]) as page_port, browser() as chromium:
        with slow_link("127.0.0.1", page_port, bytes_s=_LINK_BYTES_PER_S) as link:
            (read,) = _readings([_live_page(chromium, link)], seconds)
            yield _row("1 MB/s, Live tab", read, seconds)
        with slow_link("127.0.0.1", port, bytes_s=_LINK_BYTES_PER_S) as link:
            page = chromium.new_page()
            page.add_init_script(ON_IMG_FRAME)
            page.goto(f"http://127.0.0.1:{link}/page", wait_until="commit")
            (read,) = _readings([page], seconds)
            yield _row("1 MB/s, MJPEG in <img>", read, seconds)


def many_cameras(count: int, seconds: float) -> Grid:
    with camera("many") as port, run([port] * count) as page_port, browser() as chromium:
        page = _live_page(chromium, page_port)
        page.evaluate("window.readClocks = false")
        page.locator(".aw-camera").nth(count - 1).wait_for()
        page.wait_for_timeout(1000 * _WARM_UP_S)
        page.evaluate("window.readings.length = 0")
        measured = page.evaluate(RESPONSIVENESS, 1000 * seconds)
        drawn = page.evaluate("window.readings.length")
        clicks = []
        for number in range(count):
            clicks.append(page.evaluate(CLICK, f"Enlarge c{number}"))
            page.wait_for_timeout(300)
            clicks.append(page.evaluate(CLICK, "All cameras"))
            page.wait_for_timeout(300)
    p50, p95 = np.percentile(clicks, [50, 95]).tolist()
    return Grid(count, drawn / seconds / count, measured["busy"], measured["frame"], p50, p95)


def _live_page(chromium: Browser, port: int) -> Page:
    page = chromium.new_context(viewport={"width": 1500, "height": 1100}).new_page()
    page.add_init_script(ON_DRAW)
    page.goto(f"http://127.0.0.1:{port}/")
    return page


def _readings(pages: list[Page], seconds: float) -> list[list[list[float]]]:
    """The readings of pages over `seconds`, after a warm-up: (width, age in ms)."""
    pages[0].wait_for_timeout(1000 * _WARM_UP_S)
    for page in pages:
        page.evaluate("window.readings.length = 0")
    pages[0].wait_for_timeout(1000 * seconds)
    return [page.evaluate("window.readings") for page in pages]


def _row(what: str, readings: list[list[float]], seconds: float) -> Row:
    if not readings:
        return Row(what, 0, 0.0, float("nan"), float("nan"))
    widths, ages = np.array(readings).T
    p50, p95 = np.percentile(ages, [50, 95]).tolist()
    return Row(what, int(np.median(widths)), len(ages) / seconds, p50, p95)


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=list(_FLAGS)
        )
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def camera(size: str) -> Iterator[int]:
    """Start a camera process. Yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.live", "--camera", size, str(port)]
    with _process(command, f"http://127.0.0.1:{port}/page"):
        yield port


@contextmanager
def run(ports: list[int]) -> Iterator[int]:
    """Run Actionwatch on the cameras of these ports. Yields the port of its page."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "live.yaml"
        config.write_text(
            f"data: {folder}/data\ndashboard: {{port: {port}}}\n"
            f"window: {{stride: {'0.25s' if len(ports) == 1 else '1s'}}}\ncameras:\n"
            + "".join(
                f"  c{number}: {{source: 'http://127.0.0.1:{one}/'}}\n"
                for number, one in enumerate(ports)
            )
        )
        command = [sys.executable, "-m", "ui.cli", "run", str(config)]
        with _process(command, f"http://127.0.0.1:{port}/healthz"):
            yield port


@contextmanager
def _process(command: list[str], health_url: str) -> Iterator[None]:
    """A subprocess that responds at a URL."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not _responds(health_url):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{' '.join(command)} did not start")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _responds(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True  # any HTTP status will do
    except OSError:
        return False


def run_camera(size: str, port: int) -> None:
    """The camera process: a sliding texture, and the clock."""
    width, height, fps = _SIZES[size]
    rng = np.random.default_rng(0)
    # As a JPEG 81 kB at 1280 x 720; real videos of that size have 50 to 70 kB.
    texture = cv2.GaussianBlur(rng.normal(0, 1, (2 * height, width)), (0, 0), 12)
    wall = (128 + 60 * texture / texture.std()).clip(0, 255).astype(np.uint8)[..., None]

    def draw(now: float) -> np.ndarray:
        image = burnt_clock.draw(now, width=width, height=height)
        upper = height - height // 8
        from_row = int(now * 40) % height
        image[:upper] = wall[from_row : from_row + upper]
        return image

    server = HttpCamera(fps, draw, port=port)
    server.start()


if __name__ == "__main__":
    main()
