"""Makes the screenshots of the dashboard in this folder: `python -m docs.screenshots URL`.

The URL is that of a run with some events: `actionwatch run configs/demo.yaml`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.browser import new_page
from tests.motion_video import write_webcam

_HERE = Path(__file__).parent
_TABS = ("Live", "Timeline", "Events", "Tuning", "Try it", "Health", "Configuration")
_SETTLE_MS = 3000  # charts and video appear some time after their tab


def main(url: str) -> None:
    """A screenshot of each tab, and of the first one on a phone and with the dark theme."""
    with tempfile.TemporaryDirectory() as folder:
        webcam = write_webcam("wave", Path(folder))
        with new_page(
            *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
            f"--use-file-for-fake-video-capture={webcam}",
        ) as page:
            for tab in _TABS:
                _screenshot(page, url, tab, f"dashboard-{tab.lower().replace(' ', '-')}.png")
    with new_page(dark=True) as page:
        _screenshot(page, url, "Live", "dashboard-dark.png")
    with new_page(width=390, height=844) as page:
        _screenshot(page, url, "Live", "dashboard-phone.png")


def _screenshot(page: Page, url: str, tab: str, file: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_timeout(_SETTLE_MS)
    if tab == "Events":
        page.locator("aw-events tbody tr").nth(1).click()
        page.wait_for_timeout(_SETTLE_MS)
    if tab == "Try it":
        page.get_by_role("button", name="Use my webcam").click()
        page.wait_for_timeout(3 * _SETTLE_MS)
    page.screenshot(path=_HERE / file)
    print(file)


if __name__ == "__main__":
    main(sys.argv[1])
