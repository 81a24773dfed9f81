"""Leak test of the dashboard: pages are opened and closed continuously.

A real run with a log of many events, and Chromium that opens the page, visits each tab, starts a
webcam session on Try it, and closes the page; every third page crashes instead. Three are open at a
time. Memory, threads, sockets and files of the run are sampled for `--minutes`, after a warm-up of
five minutes in which its buffers fill. The response times of the event table are measured, too.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from playwright.sync_api import BrowserContext, Error, Page

from benchmarks.processes import growth, resources
from benchmarks.report import Report, parse_args
from model.bench import interleaved_medians
from stream.sinks.event_log.event_log import EventLog
from tests.browser import new_page
from tests.event_samples import logged
from tests.site import start_site

_TABS = ("Timeline", "Events", "Tuning", "Health", "Configuration", "Live")
_CONCURRENT_PAGES = 3
_TAB_MS = 300  # on each tab
_WARM_UP_S = 300.0  # until all threads were started and the allocator has its arenas
_LABELS = ("wave", "approach", "recede", "move left")
_QUERIES = (
    "limit=50",
    "limit=50&offset=90000",
    "limit=50&label=wave&camera=yard",
    "limit=50&min_peak=0.9&reviewed=false",
)
_REPEATS = 20  # of each query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--events", type=int, default=100_000, help="in the log")
    given = parse_args(parser)
    report = Report(given.json)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "data", given.events)
        config = folder / "config.yaml"
        config.write_text("cameras: {yard: {source: 'demo:0'}}\n")
        with start_site(folder, config=config) as site:
            response_times = interleaved_medians(
                {query: partial(get, site.url(f"api/events?{query}")) for query in _QUERIES},
                _REPEATS,
            )
            samples, visits = measure(site.page, site.pid, 60 * given.minutes)
    for query, seconds in response_times.items():
        print(f"/api/events?{query:<45} {seconds * 1000:6.0f} ms")
    print(f"{visits} visits")
    for row in growth(samples):
        report.add(row)
    report.write(visits=visits, response_times_s=response_times, events=given.events)


def fill(folder: Path, count: int) -> None:
    """Write a log of `count` events, one per minute."""
    start_utc = datetime.now(timezone.utc) - timedelta(minutes=count)
    with EventLog.create(folder) as log:
        for start in range(0, count, 5000):
            updates = []
            for number in range(start, min(start + 5000, count)):
                label, camera = _LABELS[number % len(_LABELS)], ("yard", "door")[number % 2]
                start_s, peak = 60.0 * number, 0.6 + 0.4 * (number % 97) / 97
                updates.append(
                    logged(
                        label, start_s, start_s + 4, camera=camera, peak=peak, start_utc=start_utc
                    )
                )
            log.write_updates(updates)


def get(url: str) -> None:
    with urllib.request.urlopen(url) as response:
        response.read()


def measure(url: str, pid: int, seconds: float) -> tuple[list[dict[str, float]], int]:
    """Visit the page for `seconds` after the warm-up. Returns samples and the number of visits."""
    samples: list[dict[str, float]] = []
    visits = 0
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with new_page(*flags) as page:
        browser = page.context.browser
        assert browser is not None
        started_at = time.monotonic()
        while time.monotonic() < started_at + _WARM_UP_S + seconds or not samples:
            contexts = [browser.new_context() for _ in range(_CONCURRENT_PAGES)]
            pages = [visit(context, url) for context in contexts]
            with contextlib.suppress(Error):  # raised by the crash
                pages[0].goto("chrome://crash")
            for context in contexts:
                context.close()
            visits += len(contexts)
            if time.monotonic() > started_at + _WARM_UP_S:
                samples.append(resources(pid))
    return samples, visits


def visit(context: BrowserContext, url: str) -> Page:
    """Open the page, visit every tab, and start a session on Try it."""
    page = context.new_page()
    page.goto(url)
    for tab in _TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(_TAB_MS)
    page.get_by_role("tab", name="Try it", exact=True).click()
    page.get_by_role("button", name="Use my webcam").click()
    page.wait_for_timeout(_TAB_MS)
    return page


if __name__ == "__main__":
    main()
