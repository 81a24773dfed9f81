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
from stream.sinks.score_files import quantize
from stream.sinks.score_log import ScoreLog
from tests.settings_site import SPEC, Settings, serve_settings

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
SPAN = {"since": "2026-05-01T12:00:00Z", "until": "2026-05-01T12:02:00Z"}
MEDIUM, HIGH = 0.7, 0.95


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A run with scores and events of a minute: jumps at 10 s (0.95) and at 30 s (0.7)."""
    data = tmp_path / "data"
    scores = ScoreLog(data, "a" * 32, Metrics())
    scores.on_model(SPEC, ())
    detector = Detector("door", EventsConfig(), SPEC.background)
    events = []
    for step in range(1, 241):
        at_s = step * 0.25
        jump = HIGH if 10 <= at_s < 13 else MEDIUM if 30 <= at_s < 33 else 0.02
        probabilities = quantize(np.array([1 - jump, jump, 0.0], np.float32))
        prediction = Prediction(
            "door", SPEC.labels, probabilities, at_s - 0.2, at_s + 0.2, 0.0, 0.0
        )
        scores.on_prediction(prediction, NOON + timedelta(seconds=prediction.end_s))
        events += detector.update(prediction)
    scores.join(0)
    with EventLog.create(data) as log:
        closed = [event for event in events if event.end_s is not None]
        log.write_updates([LoggedEvent(event, "end", NOON, SPEC.model) for event in closed])
    with serve_settings(tmp_path) as settings:
        yield settings


def policy(settings: Settings, **changes: Any) -> dict[str, Any]:
    return settings.client.get("/api/tuning").json()["policy"] | changes


def preview(settings: Settings, policy: dict[str, Any], **options: Any) -> httpx.Response:
    body = {"policy": policy, "camera": "door", **SPAN, **options}
    # A lone surrogate is sent as browsers send it.
    headers = {"Content-Type": "application/json"}
    return settings.client.post("/api/tuning", content=json.dumps(body), headers=headers)


def test_current_policy_labels_and_cameras_are_returned(settings: Settings) -> None:
    found = settings.client.get("/api/tuning").json()
    assert found["policy"]["threshold"] == 0.6
    assert (found["labels"], found["background"]) == (["still", "jump", "run"], ["still"])
    assert (found["cameras"], found["file"]) == (["door"], "config.yaml")
    assert found["save_error"] == ""
    assert settings.client.get("/api/tuning", headers={"role": "viewer"}).json()["save_error"]


def test_stricter_policy_removes_an_event(settings: Settings) -> None:
    current = preview(settings, policy(settings)).json()
    assert (current["unchanged"], current["added"], current["removed"]) == (2, 0, 0)
    strict = preview(settings, policy(settings, threshold=0.8)).json()
    assert (strict["unchanged"], strict["removed"]) == (1, 1)
    (counts,) = strict["labels"]
    assert (counts["label"], counts["logged"], counts["preview"]) == ("jump", 2, 1)
    assert [event["change"] for event in strict["logged"]] == ["unchanged", "removed"]
    assert [event["start"] for event in strict["preview"]] == [
        pytest.approx(NOON.timestamp() + 10, abs=0.5)
    ]


def test_label_thresholds_apply_to_that_label_only(settings: Settings) -> None:
    strict = preview(settings, policy(settings, labels={"jump": {"threshold": 0.99}})).json()
    assert strict["removed"] == 2
    assert (
        preview(settings, policy(settings, labels={"run": {"threshold": 0.99}})).json()["unchanged"]
        == 2
    )
    assert preview(settings, policy(settings, exclude=["jump"])).json()["removed"] == 2


def test_curve_reaches_the_maximum_of_the_smoothed_score(settings: Settings) -> None:
    response = preview(settings, policy(settings, smoothing=0), label="jump").json()
    (segment,) = response["curve"]
    assert max(segment["high"]) == pytest.approx(HIGH, abs=0.001)
    assert len(segment["times"]) == len(segment["low"]) == len(segment["high"]) <= 750
    assert segment["times"][0] >= response["since"]


def test_preview_changes_nothing(settings: Settings) -> None:
    text, config = settings.file.read_text(), settings.pipeline.config
    preview(settings, policy(settings, threshold=0.9))
    assert settings.file.read_text() == text
    assert settings.pipeline.config == config


@pytest.mark.parametrize(
    ("changes", "options", "status"),
    [
        ({"release_threshold": 0.9}, {}, 400),
        ({"include": ["fly"]}, {}, 400),
        ({}, {"camera": "../door"}, 404),
        ({}, {"camera": "\ud800"}, 422),
        ({}, {"until": SPAN["since"]}, 400),
        ({"threshold": 1.5}, {}, 422),
        ({"threshold": "0.5"}, {}, 422),
        ({}, {"since": "yesterday"}, 422),
        ({}, {"since": "0001-01-01T00:00:00+14:00"}, 200),
        ({}, {"label": "fly"}, 200),
    ],
)
def test_invalid_previews_are_rejected(
    settings: Settings, changes: dict[str, Any], options: dict[str, Any], status: int
) -> None:
    assert preview(settings, policy(settings, **changes), **options).status_code == status


def test_scores_of_another_model_are_excluded_with_a_note(settings: Settings) -> None:
    settings.pipeline.spec = type(SPEC)("later", *SPEC_PARTS)
    response = preview(settings, policy(settings)).json()
    assert response["windows"] == 0
    assert any("another model (small)" in note for note in response["notes"])


SPEC_PARTS = (SPEC.labels, SPEC.background, SPEC.frames, SPEC.span_s, SPEC.height, SPEC.width)


def test_save_writes_events_preserves_comments_and_applies_them(settings: Settings) -> None:
    before = settings.file.read_text()
    changed = policy(settings, threshold=0.75, min_duration=1.5, labels={"run": {"cooldown": 60.0}})
    result = settings.client.put("/api/tuning", json={"policy": changed}).json()
    assert set(result["applied"]) == {
        "events.threshold",
        "events.min_duration",
        "events.labels.run added",
    }
    text = settings.file.read_text()
    assert "  threshold: 0.75               # not too low\n" in text
    assert '  door: {source: "demo:1"}      # the front one\n' in text
    assert settings.pipeline.config.events.policy("run").cooldown == 60
    (backup,) = settings.file.parent.glob("config.yaml.bak-*")
    assert backup.read_text() == before
    assert policy(settings) == changed | {
        "labels": {
            "run": {
                "threshold": None,
                "release_threshold": None,
                "min_duration": None,
                "merge_gap": None,
            }
            | {"cooldown": 60.0}
        }
    }


def test_invalid_policy_is_not_saved(settings: Settings) -> None:
    before = settings.file.read_text()
    for changed in (policy(settings, release_threshold=0.9), policy(settings, exclude=["fly"])):
        assert settings.client.put("/api/tuning", json={"policy": changed}).status_code == 400
    assert settings.file.read_text() == before
