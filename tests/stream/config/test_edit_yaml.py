from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stream.config.edit_yaml import events_text, with_events
from stream.config.events import EventsConfig
from stream.config.load import ConfigError, parse_config

ROOT = Path(__file__).parents[3]
POLICY = EventsConfig(
    threshold=0.7,
    min_duration=1.5,
    exclude=frozenset({"b", "a"}),
    labels={"wave": {"threshold": 0.9, "cooldown": 3}, "run": {"threshold": 0.5}},  # type: ignore[dict-item]
)
ODD = """---
# head
cameras:
    door:
        source:   "demo:0"   # x

events:   # what counts
    # the upper one
    threshold:    0.6      # starts
    labels:
        wave: {threshold: 0.80,   min_duration: 1s}
    include: [ wave ]

# tail
data: x"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only this\n",
        "events:\n",
        "events: {}",
        "events: {threshold: 0.5} # x\r\ndata: x\r\n",
        ODD,
        ODD.replace("\n", "\r\n"),
        *(file.read_text() for file in sorted((ROOT / "configs").glob("*.yaml"))),
    ],
)
def test_events_are_replaced_and_everything_else_is_preserved(text: str) -> None:
    changed = with_events(text, POLICY)
    values, before = yaml.safe_load(changed), yaml.safe_load(text) or {}
    assert EventsConfig.model_validate(values.pop("events")) == POLICY
    before.pop("events", None)
    assert values == before
    rest = [line for line in text.splitlines(keepends=True) if not line.startswith((" ", "events"))]
    assert "".join(rest).rstrip() in changed or all(line in changed for line in rest)
    if "events" in text:  # and back
        wanted = EventsConfig.model_validate((yaml.safe_load(text) or {}).get("events") or {})
        restored = yaml.safe_load(with_events(changed, wanted))["events"] or {}
        assert EventsConfig.model_validate(restored) == wanted


def test_comments_in_the_section_are_preserved() -> None:
    changed = with_events(ODD, POLICY)
    assert "events:   # what counts" in changed or "events: # what counts" in changed
    assert "    # the upper one\n    threshold: 0.7         # starts\n" in changed
    assert '        source:   "demo:0"   # x\n' in changed


@pytest.mark.parametrize(
    "text",
    [
        "x: &a {threshold: 0.5}\nevents: *a\n",
        "{events: {threshold: 0.5}}",
        "x: &a {}\nevents: {<<: *a}\n",
    ],
)
def test_section_that_refers_to_other_sections_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"refers to other parts|lines of their own"):
        with_events(text, POLICY)


def test_default_values_are_not_written() -> None:
    assert events_text(EventsConfig(cooldown=60)) == "events:\n  cooldown: 60s\n"


@pytest.mark.parametrize(
    "text",
    [
        "data: 2024-13-45",
        "? [a]\n: b",
        "data: !!int ''",
        "data: !!bool x",
        f"data: {'9' * 5000}",
        "1: x",
        'events: {labels: {"\\uD800": {threshold: .1, release_threshold: .9}}}',
        "data: !!timestamp x",
        "cameras: &c {door: *c}",
        "[" * 500,
    ],
)
def test_any_invalid_file_gives_a_one_line_error(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, Path("config.yaml"))
    assert str(caught.value).startswith("config.yaml")
    assert "\n" not in str(caught.value)
