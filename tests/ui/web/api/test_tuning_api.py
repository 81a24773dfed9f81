from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_log import ScoreLog, as_kept
from tests.settings_site import SPEC, Settings, serve_settings

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
SPAN = {"since": "2026-05-01T12:00:00Z", "until": "2026-05-01T12:02:00Z"}
FAIRLY, SURE = 0.7, 0.95


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A watch with the scores and the events of a minute: a sure jump at 10 s, a fair one at 30."""
    data = tmp_path / "data"
    scores = ScoreLog(data, "a" * 32, SPEC, Metrics(), gap_s=5.0)
    detector = Detector("door", EventsConfig(), SPEC.background)
    events = []
    for step in range(1, 241):
        at_s = step * 0.25
        jump = SURE if 10 <= at_s < 13 else FAIRLY if 30 <= at_s < 33 else 0.02
        shares = as_kept(np.array([1 - jump, jump, 0.0], np.float32))
        one = Prediction("door", SPEC.labels, shares, at_s - 0.2, at_s + 0.2, 0.0, 0.0)
        scores.put(one, NOON + timedelta(seconds=one.end_s))
        events += detector.update(one)
    scores.close_all()
    with EventLog.create(data) as log:
        closed = [event for event in events if event.end_s is not None]
        log.save([LoggedEvent(event, "end", NOON, SPEC.model) for event in closed])
    with serve_settings(tmp_path) as settings:
        yield settings


def policy(settings: Settings, **changes: Any) -> dict[str, Any]:
    return settings.client.get("/api/tuning").json()["policy"] | changes


def trial(settings: Settings, policy: dict[str, Any], **others: Any) -> httpx.Response:
    body = {"policy": policy, "camera": "door", **SPAN, **others}
    # Half a character is sent as browsers send it.
    headers = {"Content-Type": "application/json"}
    return settings.client.post("/api/tuning", content=json.dumps(body), headers=headers)


def test_it_says_what_there_is_to_tune(settings: Settings) -> None:
    found = settings.client.get("/api/tuning").json()
    assert found["policy"]["enter"] == 0.6
    assert (found["labels"], found["background"]) == (["still", "jump", "run"], ["still"])
    assert (found["cameras"], found["file"]) == (["door"], "watch.yaml")
    assert found["cannot_save"] == ""
    assert settings.client.get("/api/tuning", headers={"role": "viewer"}).json()["cannot_save"]


def test_a_stricter_policy_would_have_lost_an_event(settings: Settings) -> None:
    as_it_is = trial(settings, policy(settings)).json()
    assert (as_it_is["same"], as_it_is["added"], as_it_is["lost"]) == (2, 0, 0)
    strict = trial(settings, policy(settings, enter=0.8)).json()
    assert (strict["same"], strict["lost"]) == (1, 1)
    (counts,) = strict["labels"]
    assert (counts["label"], counts["logged"], counts["would"]) == ("jump", 2, 1)
    assert [one["change"] for one in strict["logged"]] == ["same", "lost"]
    assert [one["start"] for one in strict["would"]] == [
        pytest.approx(NOON.timestamp() + 10, abs=0.5)
    ]


def test_the_thresholds_of_one_label_hold_for_it_alone(settings: Settings) -> None:
    strict = trial(settings, policy(settings, labels={"jump": {"enter": 0.99}})).json()
    assert strict["lost"] == 2
    assert trial(settings, policy(settings, labels={"run": {"enter": 0.99}})).json()["same"] == 2
    assert trial(settings, policy(settings, ignore=["jump"])).json()["lost"] == 2


def test_the_curve_goes_as_high_as_the_smoothed_score(settings: Settings) -> None:
    tried = trial(settings, policy(settings, smoothing=0), label="jump").json()
    (piece,) = tried["curve"]
    assert max(piece["high"]) == pytest.approx(SURE, abs=0.001)
    assert len(piece["at"]) == len(piece["low"]) == len(piece["high"]) <= 750
    assert piece["at"][0] >= tried["since"]


def test_a_trial_changes_nothing(settings: Settings) -> None:
    text, config = settings.file.read_text(), settings.pipeline.config
    trial(settings, policy(settings, enter=0.9))
    assert settings.file.read_text() == text
    assert settings.pipeline.config == config


@pytest.mark.parametrize(
    ("changes", "others", "status"),
    [
        ({"leave": 0.9}, {}, 400),
        ({"watch": ["fly"]}, {}, 400),
        ({}, {"camera": "../door"}, 404),
        ({}, {"camera": "\ud800"}, 422),
        ({}, {"until": SPAN["since"]}, 400),
        ({"enter": 1.5}, {}, 422),
        ({"enter": "0.5"}, {}, 422),
        ({}, {"since": "yesterday"}, 422),
        ({}, {"since": "0001-01-01T00:00:00+14:00"}, 200),
        ({}, {"label": "fly"}, 200),
    ],
)
def test_what_can_not_be_tried_is_refused(
    settings: Settings, changes: dict[str, Any], others: dict[str, Any], status: int
) -> None:
    assert trial(settings, policy(settings, **changes), **others).status_code == status


def test_scores_of_another_model_are_left_out_and_it_is_said(settings: Settings) -> None:
    settings.pipeline.spec = type(SPEC)("later", *SPEC_PARTS)
    tried = trial(settings, policy(settings)).json()
    assert tried["windows"] == 0
    assert any("another model (small)" in note for note in tried["notes"])


SPEC_PARTS = (SPEC.labels, SPEC.background, SPEC.frames, SPEC.span_s, SPEC.height, SPEC.width)


def test_saving_writes_the_events_keeps_the_comments_and_holds_at_once(settings: Settings) -> None:
    before = settings.file.read_text()
    wanted = policy(settings, enter=0.75, minimum=1.5, labels={"run": {"cool_down": 60.0}})
    outcome = settings.client.put("/api/tuning", json={"policy": wanted}).json()
    assert set(outcome["applied"]) == {"events.enter", "events.minimum", "events.labels.run added"}
    text = settings.file.read_text()
    assert "  enter: 0.75                   # not too low\n" in text
    assert '  door: {source: "demo:1"}      # the front one\n' in text
    assert settings.pipeline.config.events.policy("run").cool_down == 60
    (kept,) = settings.file.parent.glob("watch.yaml.bak-*")
    assert kept.read_text() == before
    assert policy(settings) == wanted | {
        "labels": {
            "run": {"enter": None, "leave": None, "minimum": None, "merge_gap": None}
            | {"cool_down": 60.0}
        }
    }


def test_a_policy_that_can_not_be_is_not_saved(settings: Settings) -> None:
    before = settings.file.read_text()
    for wanted in (policy(settings, leave=0.9), policy(settings, ignore=["fly"])):
        assert settings.client.put("/api/tuning", json={"policy": wanted}).status_code == 400
    assert settings.file.read_text() == before
