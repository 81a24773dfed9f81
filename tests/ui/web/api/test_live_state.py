from __future__ import annotations

import json

import numpy as np

from stream.events.processor import CameraView
from stream.messages import Event, Prediction
from stream.runtime.metrics import Metrics
from ui.web.api.live import live_state, waiting_for


def event(camera: str, label: str) -> Event:
    """An open event that started at 1.0 s, as of 2.5 s."""
    return Event("e" * 32, camera, label, 1.0, 2.5, None, 2.0, 0.7, 1.5, 0.6)


def test_live_state_is_json_with_ages_in_milliseconds(clock) -> None:
    metrics = Metrics(now=clock)
    metrics.count("frames", "door", 9)
    prediction = Prediction(
        "door", ("a", "b", "c"), np.array([0.1, 0.7, 0.2], np.float32), 1.0, 2.0, 99.5, 0.01
    )
    view = CameraView(prediction, (event("door", "b"),))
    state = live_state("door", "live", "", {"": view}, metrics, waiting="", now=100.0, top=2)
    assert json.loads(json.dumps(state))["camera"] == "door"
    assert state["labels"] == [["", "b", 0.7], ["", "c", 0.2]]
    assert state["events"] == [{"zone": "", "label": "b", "duration_s": 1.5}]
    assert (state["frames_per_s"], state["age_ms"]) == (3.0, 500)


def test_age_that_no_stage_accounts_for_is_queueing(clock, spec) -> None:
    metrics = Metrics(now=clock)
    for stage, seconds in {
        "age": 0.25,
        "transport": 0.02,
        "inference": 0.1,
        "event_detection": 0.005,
    }.items():
        metrics.measure(stage, seconds)
    probabilities = np.array([0.1, 0.7, 0.2], np.float32)
    prediction = Prediction(
        "door", spec.labels, probabilities, 1.0, 2.0, 99.5, 0.08, sent_at=99.7, received_at=99.8
    )
    view = CameraView(prediction, (), processed_at=99.805)
    state = live_state("door", "live", "", {"": view}, metrics, waiting="", now=100.0, top=1)
    assert state["stages"] == [
        ("queueing", 200, 130, 130),
        ("transport", 20, 20, 20),
        ("inference", 80, 100, 100),
        ("event_detection", 5, 5, 5),
    ]


def test_state_is_empty_before_the_first_prediction(clock) -> None:
    empty, metrics = CameraView(None, ()), Metrics(now=clock)
    state = live_state(
        "door", "connecting", "", {"": empty}, metrics, waiting="for the model", now=100.0, top=3
    )
    assert (state["labels"], state["events"], state["stages"]) == ([], [], [])
    assert (state["waiting"], state["age_ms"]) == ("for the model", None)


def test_waiting_text_until_predictions_are_current(spec) -> None:
    empty = CameraView(None, ())
    assert waiting_for("motion", None, {"": empty}, 100.0) == "waiting for model motion"
    assert waiting_for("motion", spec, {"": empty}, 100.0) == "collecting the first 0.4 s"
    probabilities = np.array([0.1, 0.7, 0.2], np.float32)
    predicted = CameraView(Prediction("door", spec.labels, probabilities, 1.0, 2.0, 99.5, 0.01), ())
    both = {"gate": empty, "path": predicted}
    assert waiting_for("motion", spec, both, 100.0) == ""
    assert waiting_for("motion", spec, both, 112.0) == "no prediction for 12 s"


def test_each_zone_shows_its_top_label(clock, spec) -> None:
    views = {}
    for zone, best in (("gate", 1), ("path", 2)):
        probabilities = np.eye(3, dtype=np.float32)[best]
        prediction = Prediction(
            f"door/{zone}", spec.labels, probabilities, 1.0, 2.0, 99.0 + best / 4, 0.0
        )
        views[zone] = CameraView(prediction, ())
    views["gate"] = CameraView(views["gate"].prediction, (event("door/gate", "jump"),))
    metrics = Metrics(now=clock)
    state = live_state("door", "live", "", views, metrics, waiting="", now=100.0, top=3)
    assert state["labels"] == [["gate", "jump", 1.0], ["path", "run", 1.0]]
    assert state["events"] == [{"zone": "gate", "label": "jump", "duration_s": 1.5}]
    assert state["age_ms"] == 500  # of the newest prediction
