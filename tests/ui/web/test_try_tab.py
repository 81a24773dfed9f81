"""The tab "Try it" in real browsers, with webcams that play drawn motions."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import new_page, open_tab
from tests.motion_video import write_mp4, write_webcam
from tests.site import Site, start_site
from tests.waiting import wait_for

_WITHIN_MS = 60_000  # a browser on a busy machine
_SURE = re.compile(r"^(100|[5-9]\d) %$")
_FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


# A camera that the model is spared: on a busy machine, others leave no windows to visitors.
_CONFIG = """
cameras: {door: {source: "demo:0", motion_gate: {area: 1.0, look_every: 1h}}}
dashboard: {visitors: {most: 2}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run with two places for visitors."""
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
    write_mp4("approach", folder, rounds=6)
    return folder


@contextmanager
def visitor(site: Site, *flags: str, script: str = "") -> Iterator[Page]:
    """A browser of its own that has opened the tab."""
    with new_page(*flags) as page:
        if script:
            page.add_init_script(script)
        page.goto(site.page)
        open_tab(page, "Try it")
        expect(page.locator("aw-try")).to_contain_text("your webcam", timeout=_WITHIN_MS)
        yield page


def webcam(videos: Path, motion: str) -> tuple[str, ...]:
    return (*_FAKE, f"--use-file-for-fake-video-capture={videos / motion}.y4m")


def start_webcam(page: Page) -> None:
    page.get_by_role("button", name="Use my webcam").click()


def expect_motion(page: Page, motion: str) -> None:
    """It is what the model sees most, it is an event that goes on, and it is in the list."""
    best = page.locator(".aw-try-labels li").first
    expect(best).to_contain_text(motion, timeout=_WITHIN_MS)
    expect(best.locator("span").last).to_have_text(_SURE, timeout=_WITHIN_MS)
    expect(page.locator(".aw-try-badge")).to_contain_text(motion, timeout=_WITHIN_MS)
    expect(page.locator(".aw-try-events li").first).to_contain_text(motion, timeout=_WITHIN_MS)


def expect_said(page: Page, sentence: str) -> None:
    expect(page.locator("aw-try")).to_contain_text(sentence, timeout=_WITHIN_MS)


def track_state(page: Page) -> str:
    return page.evaluate("window.lent.getVideoTracks()[0].readyState")


# Keeps hold of the camera that the page was lent, to see whether it is given back.
_HOLD = """
const lend = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => (window.lent = await lend(wish));
"""


def test_the_motion_before_a_webcam_is_recognised_and_nothing_of_it_kept(
    site: Site, videos: Path
) -> None:
    with visitor(site, *webcam(videos, "wave"), script=_HOLD) as page:
        start_webcam(page)
        expect_motion(page, "wave")
        assert track_state(page) == "live"
        page.get_by_role("button", name="Stop").click()
        expect_said(page, "Stopped.")
        assert track_state(page) == "ended"
        expect(page.locator(".aw-try-events li")).to_have_count(
            1, timeout=_WITHIN_MS
        )  # the list stays
    with urllib.request.urlopen(site.url("api/predictions")) as answer:
        assert {one["camera"] for one in json.load(answer)} <= {"door"}
    with urllib.request.urlopen(site.url("api/events")) as answer:
        assert json.load(answer)["total"] == 0


def test_two_visitors_see_their_own_and_a_third_one_waits_for_a_place(
    site: Site, videos: Path
) -> None:
    with visitor(site, *webcam(videos, "approach")) as second:
        # Browsers of one thread share Playwright: the others are pages of a second browser.
        browser = second.context.browser
        assert browser is not None
        start_webcam(second)
        other = browser.browser_type.launch(
            executable_path=shutil.which("chromium"),
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
        expect_said(third, "All 2 places are taken.")
        first.close()  # nothing but the tab: the place has to be free at once
        start_webcam(third)
        expect_motion(third, "wave")
        other.close()


def test_a_video_from_the_disk_plays_with_its_labels(site: Site, videos: Path) -> None:
    with visitor(site) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a video").click()
        chooser.value.set_files(videos / "approach.mp4")
        expect_motion(page, "approach")
        expect(page.locator(".aw-try-events li").first).to_contain_text("0:00", timeout=_WITHIN_MS)
        expect_said(page, "approach.mp4 is over.")


def test_what_the_browser_can_not_play_is_told(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "clip.avi"
    file.write_bytes(b"RIFF" + bytes(1000))
    with visitor(site) as page:
        page.locator("aw-try input[type=file]").set_input_files(file)
        expect_said(page, "This browser can't play clip.avi; try MP4 with H.264.")


@pytest.mark.parametrize(
    ("flags", "script", "sentence"),
    [
        ((_FAKE[0],), "", "The browser did not lend its camera."),
        ((_FAKE[1],), "", "No camera was found."),
        (
            _FAKE,
            "Object.defineProperty(window, 'isSecureContext', {value: false})",
            "only to pages that came by https",
        ),
    ],
    ids=["refused", "no camera", "not https"],
)
def test_why_there_is_no_camera_is_told(
    site: Site, flags: tuple[str, ...], script: str, sentence: str
) -> None:
    with visitor(site, *flags, script=script) as page:
        button = page.get_by_role("button", name="Use my webcam")
        if "https" in sentence:
            expect(button).to_be_disabled(timeout=_WITHIN_MS)
        else:
            button.click()
        expect_said(page, sentence)


def test_who_goes_to_another_tab_gives_camera_and_place_back(site: Site, videos: Path) -> None:
    with visitor(site, *webcam(videos, "wave"), script=_HOLD) as page:
        start_webcam(page)
        expect(page.locator(".aw-try-labels li").first).to_be_visible(timeout=_WITHIN_MS)
        open_tab(page, "Health")
        wait_for(lambda: track_state(page) == "ended")
        open_tab(page, "Try it")
        expect_said(page, "Stopped, because this tab was left.")


def test_a_page_whose_server_turned_it_off_says_so(site: Site) -> None:
    off = {"most": 0, "longest_s": 300.0, "pixels": 307_200, "bytes": 526_336}
    with new_page() as page:
        page.route("**/api/visitors", lambda route: route.fulfill(json=off))
        page.goto(site.page)
        open_tab(page, "Try it")
        expect_said(page, "Trying it with your own webcam or video is turned off here.")
        expect(page.locator("aw-try button")).to_have_count(0, timeout=_WITHIN_MS)
