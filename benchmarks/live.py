"""Video latency in the browser: three viewers, a slow link, sixteen cameras at once.

A camera process sends 1280 x 720 at 25 FPS over HTTP, with the time of day burnt into each frame;
`actionwatch run` reads it; headless Chromium shows the Live tab. The latency is the clock in the
frame that was just drawn on the canvas, compared with the browser's own clock. The baseline is the
same camera as MJPEG in an <img>, over the same slow link.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page

from benchmarks.page_probes import CLICK, ON_DRAW, ON_IMG_FRAME, RESPONSIVENESS
from benchmarks.processes import free_port, start_process
from benchmarks.report import Report, parse_args
from benchmarks.slow_link import slow_link
from tests import burnt_clock
from tests.browser import new_page
from tests.http_camera import HttpCamera
from tests.site import start_site

_LINK_BYTES_PER_S = 1e6
_WARM_UP_S = 6.0
_SIZES = {"large": (1280, 720, 25.0), "many": (640, 360, 10.0)}  # width, height, FPS


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
    args = parse_args(parser, seconds=8.0)
    report = Report(args.json)
    for row in (*three_viewers(args.seconds), *over_a_slow_link(args.seconds)):
        report.add(row)
    grid = many_cameras(16, args.seconds)
    print(grid)
    report.write(grid=asdict(grid))


def three_viewers(seconds: float) -> Iterator[Row]:
    with camera("large") as port, run([port]) as page_port, browser() as chromium:
        pages = [_live_page(chromium, page_port) for _ in range(3)]
        readings = _readings(pages, seconds)
    for number, read in enumerate(readings, 1):
        yield _row(f"viewer {number} of 3", read, seconds)


def over_a_slow_link(seconds: float) -> Iterator[Row]:
    with camera("large") as port, run([port]) as page_port, browser() as chromium:
        with slow_link(page_port, bytes_s=_LINK_BYTES_PER_S) as link:
            (read,) = _readings([_live_page(chromium, link)], seconds)
            yield _row("1 MB/s, Live tab", read, seconds)
        with slow_link(port, bytes_s=_LINK_BYTES_PER_S) as link:
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
    with new_page() as page:
        chromium = page.context.browser
        assert chromium is not None
        yield chromium


@contextmanager
def camera(size: str) -> Iterator[int]:
    """Start a camera process. Yields its port."""
    port = free_port()
    process = start_process(run_camera, size, port)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def run(ports: list[int]) -> Iterator[int]:
    """Run Actionwatch on the cameras of these ports. Yields the port of its page."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "live.yaml"
        config.write_text(
            f"window: {{stride: {'0.25s' if len(ports) == 1 else '1s'}}}\ncameras:\n"
            + "".join(
                f"  c{number}: {{source: 'http://127.0.0.1:{port}/'}}\n"
                for number, port in enumerate(ports)
            )
        )
        with start_site(Path(folder), config=config) as site:
            yield int(site.host.partition(":")[2])


def run_camera(size: str, port: int) -> None:
    """The camera process: a sliding texture, and the clock."""
    width, height, fps = _SIZES[size]
    rng = np.random.default_rng(0)
    # As a JPEG 81 kB at 1280 x 720; real videos of that size have 50 to 70 kB.
    texture = cv2.GaussianBlur(rng.normal(0, 1, (2 * height, width)), (0, 0), 12)
    wall = (128 + 60 * texture / texture.std()).clip(0, 255).astype(np.uint8)[..., None]

    def draw(now: float) -> np.ndarray:
        first_row = int(now * 40) % height
        image = wall[first_row : first_row + height].repeat(3, axis=2)
        return burnt_clock.stamp(image, now)

    HttpCamera(fps, draw, port=port).start()


if __name__ == "__main__":
    main()
