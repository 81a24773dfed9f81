from __future__ import annotations

import itertools
import random

import pytest

from stream.evaluation.event_metrics import (
    AP_IOU_THRESHOLDS,
    MatchError,
    cameras_of,
    evaluate,
    predicted_segments,
    total_duration_s,
)
from stream.evaluation.matching import PredictedSegment, maximum_matching
from stream.formats.ground_truth import GroundTruthSegment
from tests.event_samples import ROWS, row


def truth(label: str, start_s: float, end_s: float, file: str = "walk") -> GroundTruthSegment:
    return GroundTruthSegment(file, label, start_s, end_s)


def event(
    label: str,
    start_s: float,
    end_s: float,
    *,
    file: str = "walk",
    late_s: float | None = 1.0,
    score: float = 0.9,
) -> PredictedSegment:
    detected_s = None if late_s is None else start_s + late_s
    return PredictedSegment(file, label, start_s, end_s, detected_s, score)


def test_perfect_log_has_perfect_metrics() -> None:
    known = [truth("wave", 1, 3), truth("jump", 5, 8, "other")]
    report = evaluate(
        known, [event("wave", 1, 3), event("jump", 5, 8, file="other")], duration_s=3600
    )
    assert report.overall.ap == (1.0,) * 10
    assert report.overall.mean_ap == 1.0
    for matches in report.overall.at_iou:
        assert (matches.matched, matches.precision, matches.recall, matches.f1) == (
            *(2, 1.0, 1.0, 1.0),
        )
    assert report.overall.start_error_s == report.overall.start_error_abs_s == 0.0
    assert (report.overall.false_alarms, report.overall.false_alarms_per_hour) == (0, 0.0)
    assert (report.only_in_truth, report.only_in_log) == ((), ())


def test_metrics_match_hand_computed_case() -> None:
    known = [truth("wave", 0, 10), truth("wave", 20, 30), truth("wave", 40, 50), truth("run", 0, 5)]
    events = [
        event("wave", 2, 10, score=0.9, late_s=1.0),  # IoU 8 / 10
        event("wave", 19, 26, score=0.8, late_s=3.0),  # 6 / 11 = 0.545
        event("wave", 44, 54, score=0.7),  # 6 / 14 = 0.429
        event("wave", 60, 61, score=0.95),  # no ground truth
        event("jump", 0, 5),  # other labels don't count
    ]
    report = evaluate(known, events, duration_s=1800)
    jump, run, wave = report.labels
    assert [one.label for one in report.labels] == ["jump", "run", "wave"]
    assert (wave.truth, wave.events) == (3, 4)
    assert [matches.matched for matches in wave.at_iou] == [3, 2, 1]
    half = wave.at_iou[1]
    assert (half.precision, half.recall) == (2 / 4, pytest.approx(2 / 3))
    assert half.f1 == pytest.approx(2 * 2 / (3 + 4))
    # By score: miss, hit, hit, miss. Precision at the hits: 1/2 and 2/3, interpolated 2/3 and 2/3.
    assert wave.ap is not None
    assert wave.ap[0] == pytest.approx((2 / 3 + 2 / 3) / 3)
    # From IoU 0.55 on, only the first is a hit, at rank 2; above 0.8 none is.
    assert wave.ap[1:7] == (pytest.approx(1 / 2 / 3),) * 6
    assert wave.ap[7:] == (0.0, 0.0, 0.0)
    assert wave.mean_ap == pytest.approx((4 / 9 + 6 / 6) / 10)
    assert wave.start_error_s == pytest.approx((2 - 1) / 2)
    assert wave.start_error_abs_s == pytest.approx((2 + 1) / 2)
    assert wave.delay_s == pytest.approx((3 + 2) / 2)
    assert wave.delay_p95_s == pytest.approx(2 + 0.95)
    assert (wave.false_alarms, wave.false_alarms_per_hour) == (1, 2.0)

    assert run.at_iou[1].recall == 0.0
    assert (run.at_iou[1].precision, run.mean_ap) == (None, 0.0)
    assert (run.start_error_s, run.delay_s, run.delay_p95_s) == (None, None, None)
    assert (jump.at_iou[1].recall, jump.ap, jump.mean_ap) == (None, None, None)
    assert jump.false_alarms == 1

    both = report.overall
    assert (both.truth, both.events, both.false_alarms) == (4, 5, 2)
    assert both.at_iou[1].f1 == pytest.approx(2 * 2 / (4 + 5))
    assert both.mean_ap == pytest.approx((wave.mean_ap or 0) / 2)  # over wave and run
    assert (report.only_in_truth, report.only_in_log) == (("run",), ("jump",))


def test_events_only_match_their_own_file() -> None:
    report = evaluate([truth("wave", 0, 5)], [event("wave", 0, 5, file="other")], duration_s=60)
    assert report.overall.at_iou[0].matched == 0
    assert report.overall.false_alarms == 1


def test_each_segment_is_matched_once() -> None:
    known = [truth("wave", 0, 10)]
    report = evaluate(known, [event("wave", 0, 10), event("wave", 1, 10)], duration_s=60)
    assert report.overall.at_iou[2].matched == 1
    assert report.overall.at_iou[2].precision == 0.5
    assert report.overall.false_alarms == 0  # it overlaps a segment
    merged = evaluate(
        [truth("wave", 0, 4), truth("wave", 5, 9)], [event("wave", 0, 9)], duration_s=60
    )
    assert merged.overall.at_iou[0].matched == 1


def test_maximum_matching_finds_more_pairs_than_greedy_matching() -> None:
    known = [truth("wave", 0, 10), truth("wave", 3, 13)]
    # The first overlaps the second segment most (0.9), which is the other event's only choice.
    events = [event("wave", 3, 12), event("wave", 6, 14)]
    report = evaluate(known, events, duration_s=60)
    assert [matches.matched for matches in report.overall.at_iou] == [2, 2, 1]


def test_maximum_matching_follows_augmenting_paths() -> None:
    assert maximum_matching([[0], [0, 1], [1, 2]]) == {0: 0, 1: 1, 2: 2}
    assert maximum_matching([[0, 1, 2], [0, 1], [0]]) == {0: 2, 1: 1, 2: 0}
    assert len(maximum_matching([[0], [0], [0, 1]])) == 2
    assert maximum_matching([[], []]) == {}


def test_maximum_matching_equals_brute_force() -> None:
    rng = random.Random(3)
    for _ in range(200):
        candidates = [rng.sample(range(5), rng.randrange(4)) for _ in range(5)]
        pairs = maximum_matching(candidates)
        assert all(item in candidates[row_index] for row_index, item in pairs.items())
        assert len(set(pairs.values())) == len(pairs)
        best = max(
            sum(item in mine for item, mine in zip(order, candidates, strict=True))
            for order in itertools.permutations(range(5))
        )
        assert len(pairs) == best


def reference_ap(
    known: list[GroundTruthSegment], events: list[PredictedSegment], min_iou: float
) -> float:
    """Slow average precision by definition: the area under the interpolated precision."""

    def overlap(one: GroundTruthSegment, other: PredictedSegment) -> float:
        intersection = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
        union = one.end_s - one.start_s + other.end_s - other.start_s - max(intersection, 0)
        return max(intersection, 0) / union if one.file == other.file else 0.0

    free, curve, hits = list(known), [], 0
    for rank, detection in enumerate(sorted(events, key=lambda one: -one.score), start=1):
        best = max(free, key=lambda one: overlap(one, detection), default=None)
        if best is not None and overlap(best, detection) >= min_iou:
            free.remove(best)
            hits += 1
        curve.append((hits / len(known), hits / rank))
    area, reached = 0.0, 0.0
    for recall, _ in curve:
        if recall > reached:
            area += (recall - reached) * max(p for r, p in curve if r >= recall)
            reached = recall
    return area


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_equals_independent_reference(seed: int) -> None:
    rng = random.Random(seed)
    known = [
        truth("wave", start, start + rng.uniform(2, 8), rng.choice("ab"))
        for start in range(0, 200, 10)
    ]
    events = [
        event(
            "wave",
            max(0, one.start_s + rng.gauss(0, 1)),
            one.end_s + rng.uniform(0, 2),
            file=rng.choice([one.file, one.file, "a"]),
            score=rng.random(),
        )
        for one in rng.choices(known, k=30)
    ]
    (metrics,) = evaluate(known, events, duration_s=200).labels
    expected = [reference_ap(known, events, min_iou) for min_iou in AP_IOU_THRESHOLDS]
    assert metrics.ap == pytest.approx(expected)
    assert 0 < expected[0] < 1


def test_empty_log_without_truth_has_no_metrics() -> None:
    report = evaluate([], [], duration_s=0)
    assert report.labels == ()
    assert report.overall.ap is None
    assert report.overall.at_iou[0].f1 is None
    assert report.overall.false_alarms_per_hour is None


def test_event_without_truth_is_a_false_alarm() -> None:
    report = evaluate([], [event("wave", 5, 6)], duration_s=7200)
    assert (report.overall.false_alarms, report.overall.false_alarms_per_hour) == (1, 0.5)
    assert report.overall.ap is None


def test_delay_ignores_events_without_detection_time() -> None:
    known = [truth("wave", 0, 5), truth("wave", 10, 15)]
    events = [event("wave", 0, 5, late_s=None), event("wave", 11, 15, late_s=0.5)]
    report = evaluate(known, events, duration_s=60)
    assert report.overall.delay_s == 1.5
    assert report.overall.start_error_s == 0.5


def test_open_events_are_skipped() -> None:
    by_peak, by_mean = predicted_segments(ROWS), predicted_segments(ROWS, rank="mean")
    assert len(by_peak) == 3
    assert (by_peak[0].file, by_peak[0].start_s, by_peak[0].detected_s) == ("door", 1.5, 2.25)
    assert (by_peak[0].score, by_mean[0].score) == (0.9, pytest.approx(0.8))


def test_total_duration_sums_the_last_ends_of_files() -> None:
    known = [truth("wave", 0, 5), truth("wave", 10, 15), truth("wave", 0, 4, "other")]
    assert total_duration_s(known, [event("wave", 18, 20)]) == 24


def test_files_are_assigned_to_cameras_by_name() -> None:
    assert cameras_of(["walk.mp4"], ["camera"]) == {"walk.mp4": "camera"}  # one of each
    files = ["videos/door.mp4", "desk", "street.v2", "garden.avi"]
    assert cameras_of(files, ["desk", "door", "street.v2", "door/gate"]) == {
        "videos/door.mp4": "door",
        "desk": "desk",
        "street.v2": "street.v2",
    }
    with pytest.raises(MatchError, match=r"a/door.mp4 and b/door.mp4 .* camera door; rename one"):
        cameras_of(["a/door.mp4", "b/door.mp4"], ["door", "desk"])


def test_many_events_are_matched_quickly() -> None:
    known = [truth("wave", start, start + 4) for start in range(0, 20_000, 10)]
    events = predicted_segments(
        row("wave", one.start_s + 0.5, one.end_s, camera="walk") for one in known
    )
    report = evaluate(known, events, duration_s=20_000)
    assert report.overall.at_iou[2].matched == 2000
