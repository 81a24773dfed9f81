"""The report escapes text, fetches nothing, and is accessible."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from model.evaluation.clip_video import encode
from model.evaluation.evaluate import Mistake
from model.evaluation.html_report import render_report
from model.evaluation.metrics import ClassificationReport
from model.predictor import softmax
from tests.browser import new_page

EVIL = "<img src=x onerror=alert(1)>"
QUOTES = "\"'><script>alert(2)</script>&amp;"
LABELS = (EVIL, QUOTES, "wave", "走路", "sit down", "stand up", "never shown")
VIDEO = encode(np.full((4, 32, 32, 3), 90, np.uint8), fps=4)
MISTAKE = Mistake(f"{QUOTES}.mp4", 1.25, 3.5, EVIL, QUOTES, 0.876, VIDEO)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text nodes."""

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
def report() -> ClassificationReport:
    count = len(LABELS)
    truth = np.arange(80) % (count - 1)
    logits = np.random.default_rng(1).normal(size=(80, count)) + 1.5 * np.eye(count)[truth]
    return ClassificationReport(LABELS, truth, softmax(logits))


@pytest.fixture(scope="module")
def html(report: ClassificationReport) -> str:
    return render_report(f"Report {EVIL}", report, [MISTAKE], facts={"Model": QUOTES, EVIL: "b"})


def test_text_is_escaped(html: str) -> None:
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


def test_page_loads_nothing_from_outside(html: str) -> None:
    elements = Elements(html)
    sources = [str(attributes["src"]) for _, attributes in elements.all if "src" in attributes]
    assert len(sources) == 3
    assert all(re.match(r"data:(image/png|video/mp4);base64,[A-Za-z0-9+/=]+$", s) for s in sources)
    assert "url(" not in html
    assert "@import" not in html


def test_mistake_has_probability_and_time(html: str) -> None:
    texts = Elements(html).texts
    for text in ("Probability", "87.6\N{NO-BREAK SPACE}%", "Seconds", "1.2 to 3.5"):
        assert text in texts


def test_numbers_are_those_of_the_report(html: str, report: ClassificationReport) -> None:
    texts = Elements(html).texts
    for fraction in (report.top(1), report.top(5), report.mean_class_accuracy):
        assert f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%" in texts
    for number in (report.macro_f1, report.log_loss):
        assert f"{number:.3f}" in texts
    assert "80" in texts
    assert "–" in texts  # the recall of the label without clips


def test_tables_and_images_are_accessible(html: str) -> None:
    elements = Elements(html)
    assert elements.named("html") == [{"lang": "en"}]
    assert {one.get("scope") for one in elements.named("th")} == {"row", "col"}
    assert all(one["alt"] for one in elements.named("img"))
    assert all("controls" in one and one["aria-label"] for one in elements.named("video"))


def test_page_without_mistakes_and_facts() -> None:
    report = ClassificationReport(("a", "b"), np.array([0, 1]), np.eye(2))
    html = render_report("Good", report, [], facts={})
    assert "No clip was misclassified" in html
    assert "Top 5" not in html
    assert "About" not in html
    assert "<video" not in html


def test_invalid_file_name_can_be_written(report: ClassificationReport, tmp_path: Path) -> None:
    mistake = replace(MISTAKE, name="clip\udcff.mp4")
    html = render_report("r", report, [mistake], facts={})
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    assert "clip?.mp4" in Elements(html).texts


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_page_is_accessible_and_its_video_loads(
    html: str, tmp_path: Path, width: int, dark: bool
) -> None:
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    messages: list[str] = []
    requests: list[str] = []
    with new_page(width=width, dark=dark) as browser:
        browser.on("console", lambda message: messages.append(message.text))
        browser.on("dialog", lambda dialog: messages.append(dialog.message))
        browser.on("request", lambda request: requests.append(request.url[:20]))
        browser.goto(file.as_uri())
        browser.wait_for_function("document.querySelector('video').readyState >= 2")
        assert browser.evaluate("document.querySelector('video').duration") == pytest.approx(1.0)
        assert browser.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert Axe().run(browser).response["violations"] == []
    assert messages == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
