from __future__ import annotations

import itertools
import random

import pytest

from stream.evaluation.event_metrics import (
    AP_OVERLAPS,
    MatchError,
    cameras_of,
    found,
    score,
    watched_s,
)
from stream.evaluation.ground_truth import Truth
from stream.evaluation.matching import Found, one_to_one
from tests.event_samples import ROWS, row


def truth(label: str, start_s: float, end_s: float, file: str = "walk") -> Truth:
    return Truth(file, label, start_s, end_s)


def event(
    label: str,
    start_s: float,
    end_s: float,
    *,
    file: str = "walk",
    late_s: float | None = 1.0,
    score: float = 0.9,
) -> Found:
    detected_s = None if late_s is None else start_s + late_s
    return Found(file, label, start_s, end_s, detected_s, score)


def test_a_perfect_log_is_perfect() -> None:
    known = [truth("wave", 1, 3), truth("jump", 5, 8, "other")]
    report = score(known, [event("wave", 1, 3), event("jump", 5, 8, file="other")], watched_s=3600)
    assert report.overall.ap == (1.0,) * 10
    assert report.overall.mean_ap == 1.0
    for agreement in report.overall.agreements:
        assert (agreement.matched, agreement.precision, agreement.recall, agreement.f1) == (
            *(2, 1.0, 1.0, 1.0),
        )
    assert report.overall.start_error_s == report.overall.start_error_abs_s == 0.0
    assert (report.overall.false_alarms, report.overall.false_alarms_per_hour) == (0, 0.0)
    assert (report.only_in_truth, report.only_in_log) == ((), ())


def test_a_case_that_was_computed_by_hand() -> None:
    known = [truth("wave", 0, 10), truth("wave", 20, 30), truth("wave", 40, 50), truth("run", 0, 5)]
    events = [
        event("wave", 2, 10, score=0.9, late_s=1.0),  # overlap 8 / 10
        event("wave", 19, 26, score=0.8, late_s=3.0),  # 6 / 11 = 0.545
        event("wave", 44, 54, score=0.7),  # 6 / 14 = 0.429
        event("wave", 60, 61, score=0.95),  # nothing there
        event("jump", 0, 5),  # neither: other labels don't count
    ]
    report = score(known, events, watched_s=1800)
    jump, run, wave = report.labels
    assert [one.label for one in report.labels] == ["jump", "run", "wave"]
    assert (wave.truth, wave.events) == (3, 4)
    assert [agreement.matched for agreement in wave.agreements] == [3, 2, 1]
    half = wave.agreements[1]
    assert (half.precision, half.recall) == (2 / 4, pytest.approx(2 / 3))
    assert half.f1 == pytest.approx(2 * 2 / (3 + 4))
    # By score: miss, hit, hit, miss. Precision at the hits: 1/2 and 2/3, interpolated 2/3 and 2/3.
    assert wave.ap is not None
    assert wave.ap[0] == pytest.approx((2 / 3 + 2 / 3) / 3)
    # From overlap 0.55 on only the first is a hit, at rank 2; above 0.8 there is none.
    assert wave.ap[1:7] == (pytest.approx(1 / 2 / 3),) * 6
    assert wave.ap[7:] == (0.0, 0.0, 0.0)
    assert wave.mean_ap == pytest.approx((4 / 9 + 6 / 6) / 10)
    assert wave.start_error_s == pytest.approx((2 - 1) / 2)
    assert wave.start_error_abs_s == pytest.approx((2 + 1) / 2)
    assert wave.delay_s == pytest.approx((3 + 2) / 2)
    assert wave.delay_p95_s == pytest.approx(2 + 0.95)
    assert (wave.false_alarms, wave.false_alarms_per_hour) == (1, 2.0)

    assert run.agreements[1].recall == 0.0
    assert (run.agreements[1].precision, run.mean_ap) == (None, 0.0)
    assert (run.start_error_s, run.delay_s, run.delay_p95_s) == (None, None, None)
    assert (jump.agreements[1].recall, jump.ap, jump.mean_ap) == (None, None, None)
    assert jump.false_alarms == 1

    both = report.overall
    assert (both.truth, both.events, both.false_alarms) == (4, 5, 2)
    assert both.agreements[1].f1 == pytest.approx(2 * 2 / (4 + 5))
    assert both.mean_ap == pytest.approx((wave.mean_ap or 0) / 2)  # over wave and run
    assert (report.only_in_truth, report.only_in_log) == (("run",), ("jump",))


def test_files_are_kept_apart() -> None:
    report = score([truth("wave", 0, 5)], [event("wave", 0, 5, file="other")], watched_s=60)
    assert report.overall.agreements[0].matched == 0
    assert report.overall.false_alarms == 1


def test_each_is_matched_once() -> None:
    known = [truth("wave", 0, 10)]
    report = score(known, [event("wave", 0, 10), event("wave", 1, 10)], watched_s=60)
    assert report.overall.agreements[2].matched == 1
    assert report.overall.agreements[2].precision == 0.5
    assert report.overall.false_alarms == 0  # it overlaps what was there
    merged = score([truth("wave", 0, 4), truth("wave", 5, 9)], [event("wave", 0, 9)], watched_s=60)
    assert merged.overall.agreements[0].matched == 1


def test_the_most_pairs_are_found_where_the_nearest_first_would_find_fewer() -> None:
    known = [truth("wave", 0, 10), truth("wave", 3, 13)]
    # The first is most like the second truth (0.9), but the other one is like nothing else.
    events = [event("wave", 3, 12), event("wave", 6, 14)]
    report = score(known, events, watched_s=60)
    assert [agreement.matched for agreement in report.overall.agreements] == [2, 2, 1]


def test_an_event_that_many_want_goes_round_until_all_have_one() -> None:
    assert one_to_one([[0], [0, 1], [1, 2]]) == {0: 0, 1: 1, 2: 2}
    assert one_to_one([[0, 1, 2], [0, 1], [0]]) == {0: 2, 1: 1, 2: 0}
    assert len(one_to_one([[0], [0], [0, 1]])) == 2
    assert one_to_one([[], []]) == {}


def test_as_many_pairs_as_trying_all_of_them() -> None:
    random_of = random.Random(3)
    for _ in range(200):
        wanted = [random_of.sample(range(5), random_of.randrange(4)) for _ in range(5)]
        pairs = one_to_one(wanted)
        assert all(item in wanted[taker] for taker, item in pairs.items())
        assert len(set(pairs.values())) == len(pairs)
        best = max(
            sum(item in mine for item, mine in zip(order, wanted, strict=True))
            for order in itertools.permutations(range(5))
        )
        assert len(pairs) == best


def reference_ap(known: list[Truth], events: list[Found], least: float) -> float:
    """The area under the precision that is interpolated over recall, by definition and slowly."""

    def overlap(one: Truth, other: Found) -> float:
        shared = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
        whole = one.end_s - one.start_s + other.end_s - other.start_s - max(shared, 0)
        return max(shared, 0) / whole if one.file == other.file else 0.0

    free, curve, hits = list(known), [], 0
    for rank, detection in enumerate(sorted(events, key=lambda one: -one.score), start=1):
        best = max(free, key=lambda one: overlap(one, detection), default=None)
        if best is not None and overlap(best, detection) >= least:
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
def test_average_precision_is_that_of_an_independent_reference(seed: int) -> None:
    random_of = random.Random(seed)
    known = [
        truth("wave", start, start + random_of.uniform(2, 8), random_of.choice("ab"))
        for start in range(0, 200, 10)
    ]
    events = [
        event(
            "wave",
            max(0, one.start_s + random_of.gauss(0, 1)),
            one.end_s + random_of.uniform(0, 2),
            file=random_of.choice([one.file, one.file, "a"]),
            score=random_of.random(),
        )
        for one in random_of.choices(known, k=30)
    ]
    (of_label,) = score(known, events, watched_s=200).labels
    expected = [reference_ap(known, events, least) for least in AP_OVERLAPS]
    assert of_label.ap == pytest.approx(expected)
    assert 0 < expected[0] < 1


def test_nothing_at_all_has_no_scores() -> None:
    report = score([], [], watched_s=0)
    assert report.labels == ()
    assert report.overall.ap is None
    assert report.overall.agreements[0].f1 is None
    assert report.overall.false_alarms_per_hour is None


def test_silence_over_nothing_is_no_false_alarm() -> None:
    report = score([], [event("wave", 5, 6)], watched_s=7200)
    assert (report.overall.false_alarms, report.overall.false_alarms_per_hour) == (1, 0.5)
    assert report.overall.ap is None


def test_delays_are_of_events_of_which_it_is_known() -> None:
    known = [truth("wave", 0, 5), truth("wave", 10, 15)]
    events = [event("wave", 0, 5, late_s=None), event("wave", 11, 15, late_s=0.5)]
    report = score(known, events, watched_s=60)
    assert report.overall.delay_s == 1.5
    assert report.overall.start_error_s == 0.5


def test_rows_become_events_without_the_open_ones() -> None:
    by_peak, by_mean = found(ROWS), found(ROWS, rank="mean")
    assert len(by_peak) == 3
    assert (by_peak[0].file, by_peak[0].start_s, by_peak[0].detected_s) == ("door", 1.5, 2.25)
    assert (by_peak[0].score, by_mean[0].score) == (0.9, pytest.approx(0.8))


def test_what_was_watched_lasts_to_the_last_end_of_each_file() -> None:
    known = [truth("wave", 0, 5), truth("wave", 10, 15), truth("wave", 0, 4, "other")]
    assert watched_s(known, [event("wave", 18, 20)]) == 24


def test_files_belong_to_the_cameras_of_their_names() -> None:
    assert cameras_of(["walk.mp4"], ["camera"]) == {"walk.mp4": "camera"}  # one of each
    files = ["films/door.mp4", "desk", "street.v2", "garden.avi"]
    assert cameras_of(files, ["desk", "door", "street.v2", "door/gate"]) == {
        "films/door.mp4": "door",
        "desk": "desk",
        "street.v2": "street.v2",
    }
    with pytest.raises(MatchError, match=r"a/door.mp4 and b/door.mp4 .* camera door; rename one"):
        cameras_of(["a/door.mp4", "b/door.mp4"], ["door", "desk"])


def test_a_days_events_are_matched_at_once() -> None:
    known = [truth("wave", start, start + 4) for start in range(0, 20_000, 10)]
    events = found(row("wave", one.start_s + 0.5, one.end_s, camera="walk") for one in known)
    report = score(known, events, watched_s=20_000)
    assert report.overall.agreements[2].matched == 2000
