from __future__ import annotations

import json

import numpy as np

from stream.messages import Event, Prediction
from stream.pipeline import View
from stream.runtime.metrics import Metrics
from ui.web.api.views import live_state, waiting_for


def event(camera: str, label: str) -> Event:
    """One that goes on since 1.0 s, as far as is known at 2.5 s."""
    return Event("e" * 32, camera, label, 1.0, 2.5, None, 2.0, 0.7, 1.5, 0.6)


def test_the_live_state_is_json_with_ages_in_milliseconds(clock) -> None:
    metrics = Metrics(now=clock)
    metrics.count("frames", "door", 9)
    prediction = Prediction(
        "door", ("a", "b", "c"), np.array([0.1, 0.7, 0.2], np.float32), 1.0, 2.0, 99.5, 0.01
    )
    view = View(prediction, (event("door", "b"),))
    state = live_state("door", "live", "", {"": view}, metrics, waiting="", now=100.0, top=2)
    assert json.loads(json.dumps(state))["camera"] == "door"
    assert state["labels"] == [["", "b", 0.7], ["", "c", 0.2]]
    assert state["events"] == [{"zone": "", "label": "b", "seconds": 1.5}]
    assert (state["frames_per_s"], state["age_ms"]) == (3.0, 500)


def test_what_of_an_age_no_stage_explains_was_waiting(clock, spec) -> None:
    metrics = Metrics(now=clock)
    for stage, seconds in {
        "age": 0.25,
        "line": 0.02,
        "inference": 0.1,
        "judge": 0.005,
    }.items():
        metrics.measure(stage, seconds)
    shares = np.array([0.1, 0.7, 0.2], np.float32)
    prediction = Prediction(
        "door", spec.labels, shares, 1.0, 2.0, 99.5, 0.08, sent_at=99.7, answered_at=99.8
    )
    view = View(prediction, (), judged_at=99.805)
    state = live_state("door", "live", "", {"": view}, metrics, waiting="", now=100.0, top=1)
    assert state["stages"] == [
        ("waiting", 200, 130, 130),
        ("line", 20, 20, 20),
        ("inference", 80, 100, 100),
        ("judge", 5, 5, 5),
    ]


def test_before_the_first_prediction_there_is_nothing_to_show(clock) -> None:
    nothing, metrics = View(None, ()), Metrics(now=clock)
    state = live_state(
        "door", "connecting", "", {"": nothing}, metrics, waiting="for it", now=100.0, top=3
    )
    assert (state["labels"], state["events"], state["stages"]) == ([], [], [])
    assert (state["waiting"], state["age_ms"]) == ("for it", None)


def test_a_camera_says_what_it_waits_for_until_its_predictions_are_of_now(spec) -> None:
    nothing = View(None, ())
    assert waiting_for("motion", None, {"": nothing}, 100.0) == "waiting for model motion"
    assert waiting_for("motion", spec, {"": nothing}, 100.0) == "collecting the first 0.4 s"
    shares = np.array([0.1, 0.7, 0.2], np.float32)
    seen = View(Prediction("door", spec.labels, shares, 1.0, 2.0, 99.5, 0.01), ())
    both = {"gate": nothing, "path": seen}
    assert waiting_for("motion", spec, both, 100.0) == ""
    assert waiting_for("motion", spec, both, 112.0) == "no prediction for 12 s"


def test_zones_show_their_likeliest_label_each(clock, spec) -> None:
    views = {}
    for zone, best in (("gate", 1), ("path", 2)):
        shares = np.eye(3, dtype=np.float32)[best]
        prediction = Prediction(f"door/{zone}", spec.labels, shares, 1.0, 2.0, 99.0 + best / 4, 0.0)
        views[zone] = View(prediction, ())
    views["gate"] = View(views["gate"].prediction, (event("door/gate", "jump"),))
    metrics = Metrics(now=clock)
    state = live_state("door", "live", "", views, metrics, waiting="", now=100.0, top=3)
    assert state["labels"] == [["gate", "jump", 1.0], ["path", "run", 1.0]]
    assert state["events"] == [{"zone": "gate", "label": "jump", "seconds": 1.5}]
    assert state["age_ms"] == 500  # of the freshest
