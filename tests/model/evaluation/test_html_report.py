"""The report: text stays text, nothing is fetched, and everybody can read and watch it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from model.evaluation.clip_video import encode
from model.evaluation.html_report import Mistake, page
from model.evaluation.metrics import Measured
from tests.browser import new_page

EVIL = "<img src=x onerror=alert(1)>"
QUOTES = "\"'><script>alert(2)</script>&amp;"
LABELS = (EVIL, QUOTES, "wave", "走路", "sit down", "stand up", "never shown")
VIDEO = encode(np.full((4, 32, 32, 3), 90, np.uint8), fps=4)
MISTAKE = Mistake(f"{QUOTES}.mp4", 1.25, 3.5, EVIL, QUOTES, 0.876, VIDEO)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(scope="module")
def measured() -> Measured:
    count = len(LABELS)
    truth = np.arange(80) % (count - 1)
    logits = np.random.default_rng(1).normal(size=(80, count)) + 1.5 * np.eye(count)[truth]
    weights = np.exp(logits)
    return Measured(LABELS, truth, weights / weights.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def html(measured: Measured) -> str:
    return page(f"Report {EVIL}", measured, [MISTAKE], facts={"Model": QUOTES, EVIL: "b"})


def test_text_stays_text(html: str) -> None:
    elements = Elements(html)
    outline = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "h3",
        "section",
    }
    tables = {"table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
    content = {"h1", "h2", "h3", "p", "div", "img", "ul", "li", "figure", "video", "figcaption"}
    assert {name for name, _ in elements.all} <= outline | tables | content
    allowed = {"class", "src", "alt", "style", "scope", "role", "tabindex", "aria-label", "lang"}
    allowed |= {"charset", "http-equiv", "content", "name"}
    allowed |= {"controls", "loop", "muted", "playsinline"}
    assert {key for _, attributes in elements.all for key in attributes} <= allowed
    for text in (EVIL, QUOTES, f"Report {EVIL}", f"{QUOTES}.mp4"):
        assert text in elements.texts


def test_nothing_comes_from_outside(html: str) -> None:
    elements = Elements(html)
    sources = [str(of["src"]) for _, of in elements.all if "src" in of]
    assert len(sources) == 3
    assert all(re.match(r"data:(image/png|video/mp4);base64,[A-Za-z0-9+/=]+$", s) for s in sources)
    assert "url(" not in html
    assert "@import" not in html


def test_says_all_of_a_mistake(html: str) -> None:
    texts = Elements(html).texts
    for text in ("Probability", "87.6\N{NO-BREAK SPACE}%", "Seconds", "1.2 to 3.5"):
        assert text in texts


def test_numbers_are_those_measured(html: str, measured: Measured) -> None:
    texts = Elements(html).texts
    for share in (measured.top(1), measured.top(5), measured.mean_class_accuracy):
        assert f"{100 * share:.1f}\N{NO-BREAK SPACE}%" in texts
    for number in (measured.macro_f1, measured.log_loss):
        assert f"{number:.3f}" in texts
    assert "80" in texts
    assert "–" in texts  # the recall of the label without clips


def test_tables_and_pictures_say_what_they_are(html: str) -> None:
    elements = Elements(html)
    assert elements.named("html") == [{"lang": "en"}]
    assert {of.get("scope") for of in elements.named("th")} == {"row", "col"}
    assert all(of["alt"] for of in elements.named("img"))
    assert all("controls" in of and of["aria-label"] for of in elements.named("video"))


def test_few_labels_without_mistakes_and_facts_make_a_page() -> None:
    measured = Measured(("a", "b"), np.array([0, 1]), np.eye(2))
    html = page("Good", measured, [], facts={})
    assert "No clip was named wrongly" in html
    assert "Top 5" not in html
    assert "About" not in html
    assert "<video" not in html


def test_a_file_name_that_is_no_text_can_still_be_written(
    measured: Measured, tmp_path: Path
) -> None:
    mistake = replace(MISTAKE, film="clip\udcff.mp4")
    (tmp_path / "report.html").write_text(
        page("r", measured, [mistake], facts={}), encoding="utf-8"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_everybody_can_read_and_watch_it(html: str, tmp_path: Path, width: int, dark: bool) -> None:
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    said: list[str] = []
    requests: list[str] = []
    with new_page(width=width, dark=dark) as browser:
        browser.on("console", lambda message: said.append(message.text))
        browser.on("dialog", lambda dialog: said.append(dialog.message))
        browser.on("request", lambda request: requests.append(request.url[:20]))
        browser.goto(file.as_uri())
        browser.wait_for_function("document.querySelector('video').readyState >= 2")
        assert browser.evaluate("document.querySelector('video').duration") == pytest.approx(1.0)
        assert browser.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert Axe().run(browser).response["violations"] == []
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
