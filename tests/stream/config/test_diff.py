from __future__ import annotations

from typing import Any

import pytest

from stream.config.config import Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.load import ConfigError
from stream.messages import ClipSpec


def config(**values: Any) -> Config:
    return Config.model_validate({"cameras": {"door": {"source": "demo:1"}}, **values})


def test_changes_are_applied_or_need_a_restart() -> None:
    after = config(
        model="other",
        cameras={"door": {"source": "demo:2"}, "gate": {"source": "demo:3"}},
        events={"threshold": 0.7, "labels": {"jump": {"threshold": 0.9}}},
        window={"stride": "0.5s"},
        retention={"clips": "2d"},
        worker={"result_timeout": "9s"},
        alerts={"phone": {"webhook": "http://127.0.0.1:9/"}},
        dashboard={"top_k": 5, "port": 7861, "try_it": {"max_sessions": 1}},
    )
    before = config()
    merged, changes = compare(before, after)
    assert set(changes.applied) == {
        "cameras.door changed",
        "cameras.gate added",
        "events.threshold",
        "events.labels.jump added",
        "window.stride",
        "retention.clips",
        "dashboard.top_k",
        "dashboard.try_it.max_sessions",
    }
    assert set(changes.needs_restart) == {
        "model",
        "worker.result_timeout",
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
    assert merged.dashboard.top_k == 5
    assert merged.dashboard.port == before.dashboard.port
    assert compare(merged, after)[1] == Changes(needs_restart=changes.needs_restart)
    _, back = compare(merged, before)
    assert "cameras.gate removed" in back.applied


def test_same_configuration_has_no_changes() -> None:
    merged, changes = compare(config(), config())
    assert merged == config()
    assert str(changes) == "no changes"


def test_caller_can_apply_more_keys() -> None:
    tokens = {"tokens": {"bot": {"hash": f"sha256:{'0' * 64}"}}}
    merged, changes = compare(config(), config(dashboard=tokens), also=["dashboard.tokens"])
    assert changes.applied == ("dashboard.tokens.bot added",)
    assert "bot" in merged.dashboard.tokens


def test_enabling_the_score_log_needs_a_restart() -> None:
    none = config(retention={"scores": "0s"})
    assert compare(config(), none)[1].needs_restart == ("retention.scores",)
    assert compare(config(), config(retention={"scores": "1h"}))[1].needs_restart == ()


def test_labels_must_be_labels_of_the_model(spec: ClipSpec) -> None:
    before, after = config(), config(events={"exclude": ["fly"]})
    with pytest.raises(ConfigError, match="events: model small has no label 'fly'; it has still"):
        check_labels(after, before, spec)
    with pytest.raises(ConfigError, match="events: the labels are unknown until the"):
        check_labels(after, before, None)
    check_labels(after, after, None)
    check_labels(config(events={"exclude": ["run"]}), before, spec)
