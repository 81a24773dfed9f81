from __future__ import annotations

from typing import Any

import pytest

from stream.config.config import Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.load import ConfigError
from stream.messages import ClipSpec


def config(**values: Any) -> Config:
    return Config.model_validate({"cameras": {"door": {"source": "demo:1"}}, **values})


def test_what_differs_is_taken_over_or_waits_for_a_restart_by_name() -> None:
    after = config(
        model="other",
        cameras={"door": {"source": "demo:2"}, "gate": {"source": "demo:3"}},
        events={"enter": 0.7, "labels": {"jump": {"enter": 0.9}}},
        window={"stride": "0.5s"},
        retention={"clips": "2d"},
        worker={"answer_within": "9s"},
        alerts={"phone": {"webhook": "http://127.0.0.1:9/"}},
        dashboard={"top": 5, "port": 7861, "visitors": {"most": 1}},
    )
    before = config()
    merged, changes = compare(before, after)
    assert set(changes.applied) == {
        "cameras.door changed",
        "cameras.gate added",
        "events.enter",
        "events.labels.jump added",
        "window.stride",
        "retention.clips",
        "dashboard.top",
        "dashboard.visitors.most",
    }
    assert set(changes.needs_restart) == {
        "model",
        "worker.answer_within",
        "alerts.phone added",
        "dashboard.port",
    }
    assert (merged.cameras, merged.events, merged.window) == (
        after.cameras,
        after.events,
        after.window,
    )
    assert (merged.model, merged.worker, merged.alerts) == (
        before.model,
        before.worker,
        before.alerts,
    )
    assert merged.dashboard.top == 5
    assert merged.dashboard.port == before.dashboard.port
    assert compare(merged, after)[1] == Changes(needs_restart=changes.needs_restart)
    _, back = compare(merged, before)
    assert "cameras.gate removed" in back.applied


def test_the_same_configuration_changes_nothing() -> None:
    merged, changes = compare(config(), config())
    assert merged == config()
    assert str(changes) == "nothing is different"


def test_a_caller_may_take_care_of_more() -> None:
    tokens = {"tokens": {"bot": {"hash": f"sha256:{'0' * 64}"}}}
    merged, changes = compare(config(), config(dashboard=tokens), also=["dashboard.tokens"])
    assert changes.applied == ("dashboard.tokens.bot added",)
    assert "bot" in merged.dashboard.tokens


def test_whether_scores_are_kept_at_all_waits_for_a_restart() -> None:
    none = config(retention={"scores": "0s"})
    assert compare(config(), none)[1].needs_restart == ("retention.scores",)
    assert compare(config(), config(retention={"scores": "1h"}))[1].needs_restart == ()


def test_labels_must_be_those_of_the_model(spec: ClipSpec) -> None:
    before, after = config(), config(events={"ignore": ["fly"]})
    with pytest.raises(ConfigError, match="events: model small has no label 'fly'; it has still"):
        check_labels(after, before, spec)
    with pytest.raises(ConfigError, match="events: the model is not ready yet"):
        check_labels(after, before, None)
    check_labels(after, after, None)
    check_labels(config(events={"ignore": ["run"]}), before, spec)
