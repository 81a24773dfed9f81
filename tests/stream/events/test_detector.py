from __future__ import annotations

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import Event, Prediction

LABELS = ("still", "jump", "run")
SPAN_S = 1.6


def prediction(middle_s: float, shares: tuple[float, float, float]) -> Prediction:
    return Prediction(
        camera="door",
        labels=LABELS,
        probabilities=np.array(shares, np.float32),
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
    """Run a script of (until when, probabilities) and return the closed events."""
    detector = Detector("door", EventsConfig.model_validate(config), frozenset({"still"}))
    closed, now_s = [], 1.0
    for until_s, shares in script:
        while now_s < until_s - 1e-9:
            closed += [e for e in detector.update(prediction(now_s, shares)) if e.end_s is not None]
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


def test_one_confused_window_neither_makes_nor_splits_an_event() -> None:
    events = detect([(3, STILL), (3.1, JUMP), (6, STILL)])
    assert events == []
    events = detect([(3, STILL), (4, JUMP), (4.1, STILL), (5, JUMP), (7, STILL)])
    assert len(events) == 1


def test_what_is_shorter_than_the_minimum_is_dropped() -> None:
    script = [(3, STILL), (3.8, JUMP), (6, STILL)]
    assert len(detect(script, minimum=0.5)) == 1
    assert detect(script, minimum=1.5) == []


def test_between_the_thresholds_an_open_event_stays_open() -> None:
    unsure = (0.5, 0.5, 0.0)
    events = detect([(3, STILL), (4, JUMP), (6, unsure), (8, STILL)], enter=0.6, leave=0.4)
    assert len(events) == 1
    assert events[0].end_s == pytest.approx(6, abs=0.3)
    assert detect([(3, STILL), (6, unsure), (8, STILL)], enter=0.6, leave=0.4) == []


def test_background_is_no_event() -> None:
    assert detect([(6, STILL)]) == []


def test_another_label_has_its_own_event() -> None:
    events = detect([(2, STILL), (4, JUMP), (6, RUN), (8, STILL)])
    assert [event.label for event in events] == ["jump", "run"]
    assert events[0].end_s == pytest.approx(events[1].start_s, abs=0.2)


def test_a_label_can_have_its_own_thresholds() -> None:
    fairly = (0.3, 0.7, 0.0)
    script = [(2, STILL), (4, fairly), (6, STILL)]
    assert len(detect(script)) == 1
    assert detect(script, labels={"jump": {"enter": 0.8}}) == []


def test_what_is_open_at_the_stop_is_closed_and_says_so() -> None:
    events = detect([(2, STILL), (5, JUMP)])
    assert [(event.label, event.closed_by) for event in events] == [("jump", "stop")]
    assert events[0].end_s == pytest.approx(4.9 + SPAN_S / 2)  # it filled the last window


def test_a_gap_in_the_predictions_closes_what_was_open() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    for at_s in (1.0, 2.0, 3.0):
        detector.update(prediction(at_s, JUMP))
    (closed,) = detector.update(prediction(60.0, JUMP))
    assert (closed.end_s, closed.closed_by) == (3.0 + SPAN_S / 2, "gap")
    assert detector.open() == []


def test_at_most_one_event_of_a_label_is_open() -> None:
    detector = Detector("door", EventsConfig(), frozenset({"still"}))
    opened = []
    for step in range(50):
        opened += detector.update(prediction(1 + 0.1 * step, JUMP))
        assert len(detector.open()) <= 1
    assert len(opened) == 1
    assert opened[0].end_s is None


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    detector.update(prediction(2.0, JUMP))
    assert detector.update(prediction(1.0, STILL)) == []
    assert [event.label for event in detector.update(prediction(3.0, JUMP))] == ["jump"]


def test_peak_and_mean_are_of_the_smoothed_probability() -> None:
    events = detect([(2, STILL), (4, (0.1, 0.9, 0.0)), (6, STILL)], smoothing=0)
    assert events[0].peak == pytest.approx(0.9, abs=1e-6)
    assert events[0].mean == pytest.approx(0.9, abs=1e-6)


def test_what_goes_on_again_within_the_merge_gap_is_the_same_event() -> None:
    script = [(2, STILL), (4, JUMP), (4.8, STILL), (6, JUMP), (9, STILL)]
    (event,) = detect(script, smoothing=0, merge_gap="1s")
    assert event.start_s == pytest.approx(2, abs=0.11)
    assert event.end_s == pytest.approx(6, abs=0.11)
    apart = detect(script, smoothing=0, merge_gap="0.5s")
    assert [round(one.start_s, 1) for one in apart] == [2.0, 4.8]
    assert len({one.id for one in apart}) == 2


def test_the_end_is_told_when_the_merge_gap_is_over() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, merge_gap=1), frozenset({"still"}))
    for at_s in (1.0, 1.5, 2.0):
        detector.update(prediction(at_s, JUMP))
    assert detector.update(prediction(2.5, STILL)) == []
    assert detector.open() == []  # nothing that is over is shown as going on
    assert detector.update(prediction(3.0, STILL)) == []
    (closed,) = detector.update(prediction(3.75, STILL))
    assert (closed.end_s, closed.closed_by) == (2.5, "")


def test_an_event_that_was_over_at_the_stop_keeps_its_end() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, merge_gap=5), frozenset({"still"}))
    for at_s in (1.0, 1.5, 2.0):
        detector.update(prediction(at_s, JUMP))
    detector.update(prediction(2.5, STILL))
    (closed,) = detector.flush("stop")
    assert (closed.end_s, closed.closed_by) == (2.5, "")


def test_during_the_cool_down_nothing_begins() -> None:
    script = [(2, STILL), (4, JUMP), (6, STILL), (8, JUMP), (12, STILL), (14, JUMP), (16, STILL)]
    events = detect(script, smoothing=0, cool_down="5s")
    assert [round(event.start_s) for event in events] == [2, 12]


def test_what_outlasts_the_cool_down_begins_after_it() -> None:
    events = detect([(2, STILL), (4, JUMP), (6, STILL), (12, JUMP)], smoothing=0, cool_down="4s")
    assert [event.start_s for event in events] == pytest.approx([2, 8], abs=0.11)


def test_only_watched_labels_make_events_and_never_ignored_ones() -> None:
    script = [(2, STILL), (4, JUMP), (6, RUN), (8, STILL)]
    assert [event.label for event in detect(script, watch=["run"])] == ["run"]
    assert [event.label for event in detect(script, ignore=["run"])] == ["jump"]
    assert detect(script, watch=["run"], ignore=["run"]) == []


def test_while_nothing_is_sure_there_is_an_event_unknown() -> None:
    unsure = (0.4, 0.3, 0.3)
    script = [(2, STILL), (5, unsure), (8, STILL)]
    assert detect(script) == []
    (event,) = detect(script, unknown=0.5)
    assert event.label == "unknown"
    assert event.start_s == pytest.approx(2, abs=0.15)
    assert event.end_s == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("threshold", [0.4, 0.6])
@pytest.mark.parametrize("period_s", [0.2, 1.0, 7.0])
def test_scores_that_swing_round_a_threshold_for_a_minute_make_one_event(
    threshold: float, period_s: float
) -> None:
    script: list[tuple[float, tuple[float, float, float]]] = [(2.0, STILL), (4.0, JUMP)]
    for step in range(int(60 / (period_s / 2))):
        share = threshold + (0.05 if step % 2 else -0.05)
        script.append((4 + (step + 1) * period_s / 2, (1 - share, share, 0.0)))
    script.append((70.0, STILL))
    assert len(detect(script)) == 1


def test_start_and_detection_are_kept_apart() -> None:
    (event,) = detect([(3, STILL), (6, JUMP), (9, STILL)])
    # The window that says so reaches half a span beyond its middle.
    assert event.detected_s >= event.start_s + 0.5 + SPAN_S / 2
    assert event.detected_s < event.start_s + 1.0 + SPAN_S / 2


def test_the_peak_has_a_time() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    shares = ((0.3, 0.7, 0.0), (0.05, 0.95, 0.0), (0.3, 0.7, 0.0))
    for at_s, share in zip((1.0, 2.0, 3.0), shares, strict=True):
        detector.update(prediction(at_s, share))
    (event,) = detector.flush()
    assert event.peak_s == 2.0


def test_what_goes_on_from_the_first_window_to_the_last_is_as_long_as_both() -> None:
    (event,) = detect([(5, JUMP)])
    assert event.start_s == pytest.approx(1.0 - SPAN_S / 2)
    assert event.end_s == pytest.approx(4.9 + SPAN_S / 2)


def test_after_a_gap_an_event_begins_after_the_one_before() -> None:
    detector = Detector("door", EventsConfig(smoothing=0), frozenset({"still"}))
    events = [*detector.update(prediction(1.0, JUMP)), *detector.update(prediction(2.0, JUMP))]
    (closed,) = detector.flush("gap")
    for at_s in (2.5, 3.5):
        events += detector.update(prediction(at_s, JUMP))
    assert events[-1].start_s == closed.end_s


def test_the_cool_down_holds_over_gaps_as_well() -> None:
    detector = Detector("door", EventsConfig(smoothing=0, cool_down=60), frozenset({"still"}))
    detector.update(prediction(1.0, JUMP))
    detector.update(prediction(2.0, JUMP))
    (closed,) = detector.flush("gap")
    assert closed.closed_by == "gap"
    assert detector.update(prediction(20.0, JUMP)) + detector.update(prediction(21.0, JUMP)) == []


def test_whoever_asks_for_unknown_need_not_watch_it() -> None:
    script = [(2, STILL), (5, (0.4, 0.3, 0.3)), (8, STILL)]
    assert [event.label for event in detect(script, unknown=0.5, watch=["run"])] == ["unknown"]


def going_on(**config: object) -> Detector:
    """With an event of a jump that began at 1 s and was last seen at 2 s."""
    policy = {"smoothing": 0, "minimum": 0, "merge_gap": 0, **config}
    detector = Detector("door", EventsConfig.model_validate(policy), frozenset({"still"}))
    for at_s in (1.0, 2.0):
        detector.update(prediction(at_s, JUMP))
    return detector


def heed(detector: Detector, **config: object) -> list[Event]:
    policy = {"smoothing": 0, "minimum": 0, "merge_gap": 0, **config}
    return detector.heed(EventsConfig.model_validate(policy))


def test_an_open_event_goes_on_under_new_thresholds() -> None:
    detector = going_on()
    (before,) = detector.open()
    assert heed(detector, enter=0.9, leave=0.7) == []
    assert detector.open() == [before]
    assert detector.update(prediction(3.0, (0.2, 0.8, 0.0))) == []  # would not begin one
    (closed,) = detector.update(prediction(4.0, (0.35, 0.65, 0.0)))  # would have gone on before
    assert (closed.id, closed.closed_by, closed.end_s) == (before.id, "", 4.0)


@pytest.mark.parametrize("change", [{"ignore": ["jump"]}, {"watch": ["run"]}])
def test_an_open_event_whose_label_is_watched_no_more_is_closed(change: dict) -> None:
    detector = going_on()
    (before,) = detector.open()
    (closed,) = heed(detector, **change)
    assert (closed.id, closed.closed_by) == (before.id, "stop")
    assert closed.end_s == 2.0 + SPAN_S / 2
    assert detector.open() == []
    assert detector.update(prediction(3.0, JUMP)) == []
    heed(detector)  # and back
    assert [event.label for event in detector.update(prediction(4.0, JUMP))] == ["jump"]


def test_unknown_may_come_and_go_while_it_runs() -> None:
    detector = going_on()
    assert heed(detector, unknown=0.5) == []
    unsure = (0.4, 0.3, 0.3)
    changed = detector.update(prediction(3.0, unsure))
    assert [(event.label, event.end_s is None) for event in changed] == [
        ("jump", False),
        ("unknown", True),
    ]
    (closed,) = heed(detector)
    assert (closed.label, closed.closed_by) == ("unknown", "stop")
    assert detector.update(prediction(4.0, unsure)) == []


def test_a_cool_down_of_another_clock_holds_no_more() -> None:
    detector = going_on(cool_down=60)
    detector.update(prediction(3.0, STILL))
    for at_s in (5000.0, 5001.0):
        detector.update(prediction(at_s, JUMP))
    detector.flush("stop")
    (begun,) = detector.update(prediction(2.0, JUMP))  # the camera was removed, and came again
    assert begun.label == "jump"
