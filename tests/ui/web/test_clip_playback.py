"""Event clips in a real browser: they play and seek, and each time shows its own frame."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from stream.capture.latest_frame import LatestFrame
from stream.messages import Frame
from stream.sinks.clips.mp4 import ClipFile
from tests import burnt_clock
from tests.browser import new_page
from tests.waiting import wait_for

BEGAN_S = 1000.0  # of the camera's clock, at the clip's first frame
SECONDS = 8
SEEK = f"""async at => {{
    const read = {burnt_clock.READ_IN_BROWSER};
    const video = document.querySelector("video");
    const shown = new Promise(done => video.requestVideoFrameCallback(done));
    const sought = new Promise(done => video.addEventListener("seeked", done, {{once: true}}));
    video.currentTime = at;
    await Promise.all([shown, sought]);
    const [width, height] = [video.videoWidth, video.videoHeight];
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return read(context, width, height);
}}"""


def times(rate: str) -> list[float]:
    """Timestamps of a camera's frames, in whole milliseconds."""
    if rate == "varying":
        gaps = np.random.default_rng(2).choice([0.03, 0.05, 0.1, 0.4], 400)
        all_times = BEGAN_S + np.cumsum([0.0, *gaps])
    else:
        all_times = BEGAN_S + np.arange(SECONDS * int(rate) + 1) / int(rate)
    return [round(float(time_s), 3) for time_s in all_times if time_s <= BEGAN_S + SECONDS]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    latest_frame = LatestFrame()
    for rate in ("15", "30", "varying"):
        clip = ClipFile(folder / f"{rate}.mp4", 960)
        for index, time_s in enumerate(times(rate)):
            pixels = burnt_clock.draw(time_s)
            clip.add(latest_frame.jpeg_of(Frame(pixels, time_s, 0.0, index)), time_s)
        clip.finish()
    colors = np.zeros((240, 320, 3), np.uint8)
    colors[:, :160], colors[:, 160:] = (200, 60, 30), (255, 255, 255)
    clip = ClipFile(folder / "colors.mp4", 960)
    for index in range(10):
        clip.add(latest_frame.jpeg_of(Frame(colors, float(index), 0.0, -1)), index / 10)
    clip.finish()
    return folder


@pytest.fixture(scope="module")
def site(clips: Path) -> Iterator[str]:
    """A web server with byte ranges, which browsers need to seek."""

    def page(request: Request) -> Response:
        name = request.path_params["name"]
        return HTMLResponse(f'<video src="/clips/{name}.mp4" muted preload="auto"></video>')

    def clip(request: Request) -> Response:
        return FileResponse(clips / f"{request.path_params['name']}.mp4")

    app = Starlette(routes=[Route("/page/{name}", page), Route("/clips/{name}.mp4", clip)])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with new_page() as page:
        yield page


def open_clip(page: Page, site: str, name: str) -> None:
    page.goto(f"{site}/page/{name}")
    page.wait_for_function("document.querySelector('video').readyState === 4")


@pytest.mark.parametrize("rate", ["15", "30", "varying"])
def test_seeking_shows_the_frame_of_that_time(page: Page, site: str, rate: str) -> None:
    open_clip(page, site, rate)
    length = page.evaluate("document.querySelector('video').duration")
    assert length == pytest.approx(SECONDS, abs=0.5)
    timestamps = np.array(times(rate))
    for at_s in (5.03, 0.0, 1.77, 7.2, 3.333, 3.4, 0.01, 8.01, 6.9):
        # The newest frame that is due is shown.
        due = timestamps[timestamps <= BEGAN_S + at_s + 1e-3].max()
        assert page.evaluate(SEEK, at_s) == pytest.approx(due, abs=1e-3)


def test_clip_starts_with_its_first_frame_and_plays_to_its_end(page: Page, site: str) -> None:
    open_clip(page, site, "15")
    first_s, last_s = page.evaluate(
        f"""async () => {{
            const read = {burnt_clock.READ_IN_BROWSER};
            const video = document.querySelector("video");
            const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
            const context = canvas.getContext("2d");
            const clock = () => {{
                context.drawImage(video, 0, 0);
                return read(context, video.videoWidth, video.videoHeight);
            }};
            const first = clock();
            const ended = new Promise(done => video.addEventListener("ended", done));
            video.playbackRate = 8;
            await video.play();
            await ended;
            return [first, clock()];
        }}"""
    )
    assert first_s == BEGAN_S
    # At this speed the browser may skip frames.
    assert last_s == pytest.approx(BEGAN_S + SECONDS, abs=0.3)


def test_clip_shows_the_colors_of_the_frames(page: Page, site: str) -> None:
    open_clip(page, site, "colors")
    colors = page.evaluate(
        """() => {
            const context = new OffscreenCanvas(320, 240).getContext("2d");
            context.drawImage(document.querySelector("video"), 0, 0);
            return [80, 240].map(x => [...context.getImageData(x, 120, 1, 1).data.slice(0, 3)]);
        }"""
    )
    assert np.array(colors) == pytest.approx(np.array([(200, 60, 30), (255, 255, 255)]), abs=8)
