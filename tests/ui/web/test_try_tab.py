"""The Try it tab in real browsers, with webcams that play synthetic motions."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import PROGRAM, new_page, open_tab
from tests.motion_video import write_mp4, write_webcam
from tests.site import IDLE_CAMERA, Site, start_site
from tests.waiting import wait_for

_CONFIDENT = re.compile(r"^(100|[5-9]\d) %$")
_FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


_CONFIG = f"""
cameras: {{door: {IDLE_CAMERA}}}
dashboard: {{try_it: {{max_sessions: 2}}}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run with at most two browser sessions."""
    folder = tmp_path_factory.mktemp("site")
    config = folder / "two.yaml"
    config.write_text(_CONFIG)
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for motion in ("wave", "approach"):
        write_webcam(motion, folder)
    write_mp4("approach", folder, loops=6)
    return folder


@contextmanager
def open_session(site: Site, *flags: str, script: str = "") -> Iterator[Page]:
    """A separate browser with the tab open."""
    with new_page(*flags) as page:
        if script:
            page.add_init_script(script)
        page.goto(site.page)
        open_tab(page, "Try it")
        expect(page.locator("aw-try")).to_contain_text("your webcam")
        yield page


def webcam(videos: Path, motion: str) -> tuple[str, ...]:
    return (*_FAKE, f"--use-file-for-fake-video-capture={videos / motion}.y4m")


def start_webcam(page: Page) -> None:
    page.get_by_role("button", name="Use my webcam").click()


def expect_motion(page: Page, motion: str) -> None:
    """It is the top label, an open event, and in the list of events."""
    top = page.locator(".aw-try-labels li").first
    expect(top).to_contain_text(motion)
    expect(top.locator("span").last).to_have_text(_CONFIDENT)
    expect(page.locator(".aw-try-badge")).to_contain_text(motion)
    expect(page.locator(".aw-try-events li").first).to_contain_text(motion)


def expect_text(page: Page, text: str) -> None:
    expect(page.locator("aw-try")).to_contain_text(text)


def track_state(page: Page) -> str:
    return page.evaluate("window.webcam.getVideoTracks()[0].readyState")


# Exposes the webcam stream, to check that it is released.
_EXPOSE = """
const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) =>
    (window.webcam = await getUserMedia(constraints));
"""


def test_webcam_motion_is_recognized_and_not_stored(site: Site, videos: Path) -> None:
    with open_session(site, *webcam(videos, "wave"), script=_EXPOSE) as page:
        start_webcam(page)
        expect_motion(page, "wave")
        assert track_state(page) == "live"
        page.get_by_role("button", name="Stop").click()
        expect_text(page, "Stopped.")
        assert track_state(page) == "ended"
        expect(page.locator(".aw-try-events li")).to_have_count(1)
    with urllib.request.urlopen(site.url("api/predictions")) as response:
        assert {one["camera"] for one in json.load(response)} <= {"door"}
    with urllib.request.urlopen(site.url("api/events")) as response:
        assert json.load(response)["total"] == 0


def test_two_sessions_are_separate_and_a_third_one_is_rejected(site: Site, videos: Path) -> None:
    with open_session(site, *webcam(videos, "approach")) as second:
        # One thread has one Playwright: the other sessions are pages of a second browser.
        browser = second.context.browser
        assert browser is not None
        start_webcam(second)
        other = browser.browser_type.launch(
            executable_path=PROGRAM,
            args=["--no-sandbox", "--disable-gpu", *webcam(videos, "wave")],
        )
        first, third = other.new_page(), other.new_page()
        for page in (first, third):
            page.goto(site.page)
            open_tab(page, "Try it")
        start_webcam(first)
        expect_motion(first, "wave")
        expect_motion(second, "approach")
        listed = second.locator(".aw-try-events")
        expect(listed).not_to_contain_text("wave")
        expect(first.locator(".aw-try-events")).not_to_contain_text("approach")
        start_webcam(third)
        expect_text(third, "Session limit reached (2).")
        first.close()  # closing the page frees the session at once
        start_webcam(third)
        expect_motion(third, "wave")
        other.close()


def test_video_file_plays_with_its_labels(site: Site, videos: Path) -> None:
    with open_session(site) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a video").click()
        chooser.value.set_files(videos / "approach.mp4")
        expect_motion(page, "approach")
        duration_s = page.locator("aw-try video").evaluate("video => video.duration")
        expect_text(page, "End of approach.mp4.")
        texts = page.locator(".aw-try-events li").all_inner_texts()
        starts = [re.match(r"(\d+):(\d\d)", text) for text in texts]
        starts_s = [60 * int(start[1]) + int(start[2]) for start in starts if start]
        assert len(starts_s) == len(texts) > 0
        assert starts_s == sorted(starts_s, reverse=True)  # the newest first
        assert starts_s[0] < duration_s  # media time: not the time of day


def test_unsupported_video_shows_an_error(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "clip.avi"
    file.write_bytes(b"RIFF" + bytes(1000))
    with open_session(site) as page:
        page.locator("aw-try input[type=file]").set_input_files(file)
        expect_text(page, "This browser can't play clip.avi; try MP4 with H.264.")


@pytest.mark.parametrize(
    ("flags", "script", "message"),
    [
        ((_FAKE[0],), "", "Camera access was denied."),
        ((_FAKE[1],), "", "No camera found."),
        (
            _FAKE,
            "Object.defineProperty(window, 'isSecureContext', {value: false})",
            "only over HTTPS",
        ),
    ],
    ids=["denied", "no camera", "not https"],
)
def test_missing_camera_access_is_explained(
    site: Site, flags: tuple[str, ...], script: str, message: str
) -> None:
    with open_session(site, *flags, script=script) as page:
        button = page.get_by_role("button", name="Use my webcam")
        if "HTTPS" in message:
            expect(button).to_be_disabled()
        else:
            button.click()
        expect_text(page, message)


def test_hidden_tab_releases_the_camera_and_ends_the_session(site: Site, videos: Path) -> None:
    with open_session(site, *webcam(videos, "wave"), script=_EXPOSE) as page:
        start_webcam(page)
        expect(page.locator(".aw-try-labels li").first).to_be_visible()
        open_tab(page, "Health")
        wait_for(lambda: track_state(page) == "ended")
        open_tab(page, "Try it")
        expect_text(page, "Stopped: the tab was hidden.")


def test_disabled_tab_shows_a_message(site: Site) -> None:
    limits = {
        "max_sessions": 0,
        "max_duration_s": 300.0,
        "max_pixels": 307_200,
        "max_message_bytes": 526_336,
    }
    with new_page() as page:
        page.route("**/api/try/limits", lambda route: route.fulfill(json=limits))
        page.goto(site.page)
        open_tab(page, "Try it")
        expect_text(page, "Try it is disabled on this server.")
        expect(page.locator("aw-try button")).to_have_count(0)
