from __future__ import annotations

import json

import numpy as np

from stream.messages import Event, Prediction
from stream.metrics import Metrics
from stream.pipeline import View
from ui.views import EVENT_HEADERS, event_rows, live_state, waiting_for


def event(camera: str, label: str) -> Event:
    """One that goes on since 1.0 s, as far as is known at 2.5 s."""
    return Event("e" * 32, camera, label, 1.0, 2.5, None, 2.0, 0.7, 1.5, 0.6)


def test_event_rows_are_for_reading() -> None:
    row = {
        "start": "2026-01-31T08:00:00.123Z",
        "end": "2026-01-31T08:00:02.123Z",
        "start_s": 1.0,
        "end_s": 3.04,
        "camera": "door",
        "label": "wave",
        "peak": 0.876,
        "closed_by": "",
    }
    still_open = {**row, "end": None, "end_s": None}
    stopped = {**row, "closed_by": "stop"}
    shown = event_rows([row, still_open, stopped])
    assert shown == [
        ["01-31 08:00:00", "door", "wave", "2.0 s", "88%"],
        ["01-31 08:00:00", "door", "wave", "going on", "88%"],
        ["01-31 08:00:00", "door", "wave", "2.0 s, stop", "88%"],
    ]
    assert {len(line) for line in shown} == {len(EVENT_HEADERS)}


def test_the_live_state_is_json_with_ages_in_milliseconds(clock) -> None:
    metrics = Metrics(now=clock)
    metrics.measure("age", 0.25)
    metrics.count("frames", "door", 9)
    metrics.count("skipped_windows", "door", 3)
    metrics.count("skipped_windows", "yard", 5)
    prediction = Prediction(
        "door", ("a", "b", "c"), np.array([0.1, 0.7, 0.2], np.float32), 1.0, 2.0, 99.5, 0.01
    )
    view = View(prediction, (event("door", "b"),))
    state = live_state("door", "live", "", {"": view}, metrics, waiting="", now=100.0, top=2)
    assert json.loads(json.dumps(state)) == state
    assert state["labels"] == [["b", 0.7], ["c", 0.2]]
    assert state["events"] == [{"label": "b", "seconds": 1.5}]
    assert state["drops"] == {"skipped windows": 3}
    assert (state["age_ms"], state["age_p50_ms"]) == (500, 250)


def test_before_the_first_prediction_there_is_nothing_to_show(clock) -> None:
    nothing, metrics = View(None, ()), Metrics(now=clock)
    state = live_state(
        "door", "connecting", "", {"": nothing}, metrics, waiting="for it", now=100.0, top=3
    )
    assert (state["labels"], state["events"], state["age_ms"]) == ([], [], None)
    assert state["waiting"] == "for it"


def test_a_camera_says_what_it_waits_for_until_its_first_prediction(spec) -> None:
    nothing = View(None, ())
    assert waiting_for("motion", None, {"": nothing}) == "waiting for model motion"
    assert waiting_for("motion", spec, {"": nothing}) == "collecting the first 0.4 s"
    shares = np.array([0.1, 0.7, 0.2], np.float32)
    seen = View(Prediction("door", spec.labels, shares, 1.0, 2.0, 99.5, 0.01), ())
    assert waiting_for("motion", spec, {"gate": nothing, "path": seen}) == ""


def test_zones_show_their_likeliest_label_each(clock, spec) -> None:
    views = {}
    for zone, best in (("gate", 1), ("path", 2)):
        shares = np.eye(3, dtype=np.float32)[best]
        prediction = Prediction(f"door/{zone}", spec.labels, shares, 1.0, 2.0, 99.0 + best / 4, 0.0)
        views[zone] = View(prediction, ())
    views["gate"] = View(views["gate"].prediction, (event("door/gate", "jump"),))
    metrics = Metrics(now=clock)
    state = live_state("door", "live", "", views, metrics, waiting="", now=100.0, top=3)
    assert state["labels"] == [["gate: jump", 1.0], ["path: run", 1.0]]
    assert state["events"] == [{"label": "gate: jump", "seconds": 1.5}]
    assert state["age_ms"] == 500  # of the freshest
