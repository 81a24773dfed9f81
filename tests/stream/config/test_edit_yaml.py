from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stream.config.edit_yaml import events_text, with_events
from stream.config.events import EventsConfig
from stream.config.load import ConfigError, parse_config

ROOT = Path(__file__).parents[3]
POLICY = EventsConfig(
    enter=0.7,
    minimum=1.5,
    ignore=frozenset({"b", "a"}),
    labels={"wave": {"enter": 0.9, "cool_down": 3}, "run": {"enter": 0.5}},  # type: ignore[dict-item]
)
ODD = """---
# head
cameras:
    door:
        source:   "demo:0"   # x

events:   # what counts
    # the upper one
    enter:    0.6      # begins
    labels:
        wave: {enter: 0.80,   minimum: 1s}
    watch: [ wave ]

# tail
data: x"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only this\n",
        "events:\n",
        "events: {}",
        "events: {enter: 0.5} # x\r\ndata: x\r\n",
        ODD,
        ODD.replace("\n", "\r\n"),
        *(file.read_text() for file in sorted((ROOT / "configs").glob("*.yaml"))),
    ],
)
def test_the_events_are_those_that_were_wanted_and_all_else_stays(text: str) -> None:
    changed = with_events(text, POLICY)
    values, before = yaml.safe_load(changed), yaml.safe_load(text) or {}
    assert EventsConfig.model_validate(values.pop("events")) == POLICY
    before.pop("events", None)
    assert values == before
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith((" ", "events"))]
    assert "".join(kept).rstrip() in changed or all(line in changed for line in kept)
    if "events" in text:  # and back again
        wanted = EventsConfig.model_validate((yaml.safe_load(text) or {}).get("events") or {})
        again = yaml.safe_load(with_events(changed, wanted))["events"] or {}
        assert EventsConfig.model_validate(again) == wanted


def test_comments_in_the_section_stay() -> None:
    changed = with_events(ODD, POLICY)
    assert "events:   # what counts" in changed or "events: # what counts" in changed
    assert "    # the upper one\n    enter: 0.7         # begins\n" in changed
    assert '        source:   "demo:0"   # x\n' in changed


@pytest.mark.parametrize(
    "text",
    ["x: &a {enter: 0.5}\nevents: *a\n", "{events: {enter: 0.5}}", "x: &a {}\nevents: {<<: *a}\n"],
)
def test_what_hangs_together_with_other_parts_is_left_to_a_person(text: str) -> None:
    with pytest.raises(ValueError, match=r"refers to other parts|lines of their own"):
        with_events(text, POLICY)


def test_only_what_is_not_as_usual_is_written() -> None:
    assert events_text(EventsConfig(cool_down=60)) == "events:\n  cool_down: 60s\n"


@pytest.mark.parametrize(
    "text",
    [
        "data: 2024-13-45",
        "? [a]\n: b",
        "data: !!int ''",
        "data: !!bool x",
        f"data: {'9' * 5000}",
        "1: x",
        'events: {labels: {"\\uD800": {enter: .1, leave: .9}}}',
        "data: !!timestamp x",
        "cameras: &c {door: *c}",
        "[" * 500,
    ],
)
def test_whatever_is_in_a_file_is_told_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, Path("watch.yaml"))
    assert str(caught.value).startswith("watch.yaml")
    assert "\n" not in str(caught.value)
