from __future__ import annotations

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import Event, Prediction

LABELS = ("still", "jump", "run")
SPAN_S = 1.6


def prediction(middle_s: float, probabilities: tuple[float, float, float]) -> Prediction:
    return Prediction(
        camera="door",
        labels=LABELS,
        probabilities=np.array(probabilities, np.float32),
        start_s=middle_s - SPAN_S / 2,
        end_s=middle_s + SPAN_S / 2,
        newest_at=0.0,
        inference_s=0.0,
    )


def detect(
    script: list[tuple[float, tuple[float, float, float]]],
    *,
    stride_s: float = 0.1,
    **config: object,
) -> list[Event]:
    """Run a script of (end in seconds, probabilities) and return the closed events."""
    detector = Detector("door", EventsConfig.model_validate(config), frozenset({"still"}))
    closed, now_s = [], 1.0
    for until_s, probabilities in script:
        while now_s < until_s - 1e-9:
            closed += [
                e for e in detector.update(prediction(now_s, probabilities)) if e.end_s is not None
            ]
            now_s += stride_s
    return closed + detector.flush("stop")


STILL, JUMP, RUN = (0.98, 0.01, 0.01), (0.01, 0.98, 0.01), (0.01, 0.01, 0.98)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 0.6])
def test_start_and_end_are_when_the_action_happened(smoothing: float) -> None:
    events = detect([(3, STILL), (5, JUMP), (8, STILL)], smoothing=smoothing)
    assert [event.label for event in events] == ["jump"]
    assert events[0].start_s == pytest.approx(3, abs=0.15)
    assert events[0].end_s == pytest.approx(5, abs=0.15)
    assert events[0].closed_by == ""


def test_single_outlier_neither_starts_nor_splits_an_event() -> None:
    events = detect([(3, STILL), (3.1, JUMP), (6, STILL)])
    assert events == []
    events = detect([(3, STILL), (4, JUMP), (4.1, STILL), (5, JUMP), (7, STILL)])
    assert len(events) == 1


def test_short_events_are_dropped() -> None:
    script = [(3, STILL), (3.8, JUMP), (6, STILL)]
    assert len(detect(script, min_duration=0.5)) == 1
    assert detect(script, min_duration=1.5) == []


def test_hysteresis_keeps_event_open_between_thresholds() -> None:
    uncertain = (0.5, 0.5, 0.0)
    thresholds = {"threshold": 0.6, "release_threshold": 0.4}
    events = detect([(3, STILL), (4, JUMP), (6, uncertain), (8, STILL)], **thresholds)
    assert len(events) == 1
    assert events[0].end_s == pytest.approx(6, abs=0.3)
    assert detect([(3, STILL), (6, uncertain), (8, STILL)], **thresholds) == []


def test_background_label_has_no_events() -> None:
    assert detect([(6, STILL)]) == []


def test_each_label_has_its_own_event() -> None:
    events = detect([(2, STILL), (4, JUMP), (6, RUN), (8, STILL)])
    assert [event.label for event in events] == ["jump", "run"]
    assert events[0].end_s == pytest.approx(events[1].start_s, abs=0.2)


def test_label_can_have_its_own_thresholds() -> None:
    likely = (0.3, 0.7, 0.0)
    script = [(2, STILL), (4, likely), (6, STILL)]
    assert len(detect(script)) == 1
    assert detect(script, labels={"jump": {"threshold": 0.8}}) == []


def test_stop_closes_open_events() -> None:
    events = detect([(2, STILL), (5, JUMP)])
    assert [(event.label, event.closed_by) for event in events] == [("jump", "stop")]
    assert events[0].end_s == pytest.approx(4.9 + SPAN_S / 2)  # it filled the last window


def test_gap_closes_open_events() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    for at_s in (1.0, 2.0, 3.0):
        detector.update(prediction(at_s, JUMP))
    (closed,) = detector.update(prediction(60.0, JUMP))
    assert (closed.end_s, closed.closed_by) == (3.0 + SPAN_S / 2, "gap")
    assert detector.open() == []


def test_label_has_at_most_one_open_event() -> None:
    detector = Detector("door", EventsConfig(), frozenset({"still"}))
    opened = []
    for step in range(50):
        opened += detector.update(prediction(1 + 0.1 * step, JUMP))
        assert len(detector.open()) <= 1
    assert len(opened) == 1
    assert opened[0].end_s is None


def test_out_of_order_prediction_is_ignored() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    detector.update(prediction(2.0, JUMP))
    assert detector.update(prediction(1.0, STILL)) == []
    assert [event.label for event in detector.update(prediction(3.0, JUMP))] == ["jump"]


def test_peak_and_mean_are_of_the_smoothed_probability() -> None:
    events = detect([(2, STILL), (4, (0.1, 0.9, 0.0)), (6, STILL)], smoothing=0)
    assert events[0].peak == pytest.approx(0.9, abs=1e-6)
    assert events[0].mean == pytest.approx(0.9, abs=1e-6)


def test_event_that_resumes_within_merge_gap_is_the_same() -> None:
    script = [(2, STILL), (4, JUMP), (4.8, STILL), (6, JUMP), (9, STILL)]
    (event,) = detect(script, smoothing=0, merge_gap="1s")
    assert event.start_s == pytest.approx(2, abs=0.11)
    assert event.end_s == pytest.approx(6, abs=0.11)
    apart = detect(script, smoothing=0, merge_gap="0.5s")
    assert [round(one.start_s, 1) for one in apart] == [2.0, 4.8]
    assert len({one.id for one in apart}) == 2


def test_event_is_closed_after_merge_gap() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, merge_gap=1), frozenset({"still"}))
    for at_s in (1.0, 1.5, 2.0):
        detector.update(prediction(at_s, JUMP))
    assert detector.update(prediction(2.5, STILL)) == []
    assert detector.open() == []  # an ended event is not open
    assert detector.update(prediction(3.0, STILL)) == []
    (closed,) = detector.update(prediction(3.75, STILL))
    assert (closed.end_s, closed.closed_by) == (2.5, "")


def test_ended_event_keeps_its_end_at_a_stop() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, merge_gap=5), frozenset({"still"}))
    for at_s in (1.0, 1.5, 2.0):
        detector.update(prediction(at_s, JUMP))
    detector.update(prediction(2.5, STILL))
    (closed,) = detector.flush("stop")
    assert (closed.end_s, closed.closed_by) == (2.5, "")


def test_no_event_starts_during_cooldown() -> None:
    script = [(2, STILL), (4, JUMP), (6, STILL), (8, JUMP), (12, STILL), (14, JUMP), (16, STILL)]
    events = detect(script, smoothing=0, cooldown="5s")
    assert [round(event.start_s) for event in events] == [2, 12]


def test_action_longer_than_cooldown_starts_after_it() -> None:
    events = detect([(2, STILL), (4, JUMP), (6, STILL), (12, JUMP)], smoothing=0, cooldown="4s")
    assert [event.start_s for event in events] == pytest.approx([2, 8], abs=0.11)


def test_include_and_exclude_select_labels() -> None:
    script = [(2, STILL), (4, JUMP), (6, RUN), (8, STILL)]
    assert [event.label for event in detect(script, include=["run"])] == ["run"]
    assert [event.label for event in detect(script, exclude=["run"])] == ["jump"]
    assert detect(script, include=["run"], exclude=["run"]) == []


def test_unknown_event_while_all_probabilities_are_low() -> None:
    uncertain = (0.4, 0.3, 0.3)
    script = [(2, STILL), (5, uncertain), (8, STILL)]
    assert detect(script) == []
    (event,) = detect(script, unknown_below=0.5)
    assert event.label == "unknown"
    assert event.start_s == pytest.approx(2, abs=0.15)
    assert event.end_s == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("threshold", [0.4, 0.6])
@pytest.mark.parametrize("period_s", [0.2, 1.0, 7.0])
def test_oscillation_around_a_threshold_gives_one_event(threshold: float, period_s: float) -> None:
    script: list[tuple[float, tuple[float, float, float]]] = [(2.0, STILL), (4.0, JUMP)]
    for step in range(int(60 / (period_s / 2))):
        probability = threshold + (0.05 if step % 2 else -0.05)
        script.append((4 + (step + 1) * period_s / 2, (1 - probability, probability, 0.0)))
    script.append((70.0, STILL))
    assert len(detect(script)) == 1


def test_start_and_detection_are_different_times() -> None:
    (event,) = detect([(3, STILL), (6, JUMP), (9, STILL)])
    # The window reaches half a span beyond its middle.
    assert event.detected_s >= event.start_s + 0.5 + SPAN_S / 2
    assert event.detected_s < event.start_s + 1.0 + SPAN_S / 2


def test_event_has_the_time_of_its_peak() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    probabilities = ((0.3, 0.7, 0.0), (0.05, 0.95, 0.0), (0.3, 0.7, 0.0))
    for at_s, probability in zip((1.0, 2.0, 3.0), probabilities, strict=True):
        detector.update(prediction(at_s, probability))
    (event,) = detector.flush()
    assert event.peak_s == 2.0


def test_event_over_all_windows_spans_all_windows() -> None:
    (event,) = detect([(5, JUMP)])
    assert event.start_s == pytest.approx(1.0 - SPAN_S / 2)
    assert event.end_s == pytest.approx(4.9 + SPAN_S / 2)


def test_event_after_a_gap_starts_after_the_previous_event() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    events = [*detector.update(prediction(1.0, JUMP)), *detector.update(prediction(2.0, JUMP))]
    (closed,) = detector.flush("gap")
    for at_s in (2.5, 3.5):
        events += detector.update(prediction(at_s, JUMP))
    assert events[-1].start_s == closed.end_s


def test_cooldown_continues_over_gaps() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, cooldown=60), frozenset({"still"}))
    detector.update(prediction(1.0, JUMP))
    detector.update(prediction(2.0, JUMP))
    (closed,) = detector.flush("gap")
    assert closed.closed_by == "gap"
    assert detector.update(prediction(20.0, JUMP)) + detector.update(prediction(21.0, JUMP)) == []


def test_unknown_needs_no_include() -> None:
    script = [(2, STILL), (5, (0.4, 0.3, 0.3)), (8, STILL)]
    (event,) = detect(script, unknown_below=0.5, include=["run"])
    assert event.label == "unknown"


def with_open_event(**config: object) -> Detector:
    """A detector with an open jump that started at 1 s; the last window is at 2 s."""
    policy = {"smoothing": 0, "min_duration": 0, "merge_gap": 0, **config}
    detector = Detector("door", EventsConfig.model_validate(policy), frozenset({"still"}))
    for at_s in (1.0, 2.0):
        detector.update(prediction(at_s, JUMP))
    return detector


def update_config(detector: Detector, **config: object) -> list[Event]:
    policy = {"smoothing": 0, "min_duration": 0, "merge_gap": 0, **config}
    return detector.update_config(EventsConfig.model_validate(policy))


def test_open_event_continues_with_new_thresholds() -> None:
    detector = with_open_event()
    (before,) = detector.open()
    assert update_config(detector, threshold=0.9, release_threshold=0.7) == []
    assert detector.open() == [before]
    assert detector.update(prediction(3.0, (0.2, 0.8, 0.0))) == []  # would not start one
    (closed,) = detector.update(prediction(4.0, (0.35, 0.65, 0.0)))  # would have continued before
    assert (closed.id, closed.closed_by, closed.end_s) == (before.id, "", 4.0)


@pytest.mark.parametrize("change", [{"exclude": ["jump"]}, {"include": ["run"]}])
def test_open_event_of_an_excluded_label_is_closed(change: dict) -> None:
    detector = with_open_event()
    (before,) = detector.open()
    (closed,) = update_config(detector, **change)
    assert (closed.id, closed.closed_by) == (before.id, "stop")
    assert closed.end_s == 2.0 + SPAN_S / 2
    assert detector.open() == []
    assert detector.update(prediction(3.0, JUMP)) == []
    update_config(detector)  # and back
    assert [event.label for event in detector.update(prediction(4.0, JUMP))] == ["jump"]


def test_unknown_can_be_enabled_and_disabled() -> None:
    detector = with_open_event()
    assert update_config(detector, unknown_below=0.5) == []
    uncertain = (0.4, 0.3, 0.3)
    changed = detector.update(prediction(3.0, uncertain))
    assert [(event.label, event.end_s is None) for event in changed] == [
        ("jump", False),
        ("unknown", True),
    ]
    (closed,) = update_config(detector)
    assert (closed.label, closed.closed_by) == ("unknown", "stop")
    assert detector.update(prediction(4.0, uncertain)) == []


def test_cooldown_of_another_clock_ends() -> None:
    detector = with_open_event(cooldown=60)
    detector.update(prediction(3.0, STILL))
    for at_s in (5000.0, 5001.0):
        detector.update(prediction(at_s, JUMP))
    detector.flush("stop")
    (started,) = detector.update(prediction(2.0, JUMP))  # the camera was removed and added again
    assert started.label == "jump"
