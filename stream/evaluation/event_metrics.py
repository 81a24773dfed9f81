"""Events against ground truth: what was found, how well in time, and what was not there. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from stream.evaluation.ground_truth import Truth
from stream.evaluation.matching import Found, LabelMatches

OVERLAPS = (0.3, 0.5, 0.7)  # intersection over union in time, at which events and truth agree
AP_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # ActivityNet's
_TIMED_AT = 0.5  # of events that agree this well start errors and delays are taken
ALL = "all"


class MatchError(ValueError):
    """Ground truth and log that don't belong together. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many events agree with a truth each at one overlap; None where there is nothing to count.

    Each event and each truth is in one pair at most, and there are as many pairs as there can be.
    """

    overlap: float
    matched: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Of one label, or of all; seconds, None where there is nothing to measure."""

    label: str
    truth: int
    events: int
    agreements: tuple[Agreement, ...]  # at OVERLAPS
    ap: tuple[float, ...] | None  # average precision at AP_OVERLAPS; None for a label without truth
    start_error_s: float | None  # median; below 0 are events that begin early
    start_error_abs_s: float | None  # median of how far off, in either direction
    delay_s: float | None  # from the true start until the event was detected: median
    delay_p95_s: float | None
    false_alarms: int  # events that overlap no truth of their label
    false_alarms_per_hour: float | None

    @property
    def mean_ap(self) -> float | None:
        return None if self.ap is None else statistics.fmean(self.ap)


@dataclass(frozen=True, slots=True)
class Report:
    """`overall` counts all labels together; its `ap` is the mean over labels with truth: mAP."""

    watched_s: float  # of all files together
    overall: LabelScore
    labels: tuple[LabelScore, ...]  # by name
    only_in_truth: tuple[str, ...]
    only_in_log: tuple[str, ...]


def found(rows: Iterable[Mapping[str, Any]], *, rank: str = "peak") -> list[Found]:
    """Closed events of rows with the keys of the log; ranked by their peak or their mean."""
    return [
        Found(
            row["camera"],
            row["label"],
            row["start_s"],
            row["end_s"],
            row["detected_s"],
            row[rank] or 0.0,
        )
        for row in rows
        if row["end_s"] is not None
    ]


def cameras_of(files: Sequence[str], cameras: Sequence[str]) -> dict[str, str]:
    """Which camera of the log watched which file of the truth.

    A file belongs to the camera of its name, else of its name without folders, else without its
    ending too; with one of each, they belong together. Files without a camera are left out.
    Raises MatchError where two files belong to one camera.
    """
    if len(files) == len(cameras) == 1:
        return {files[0]: cameras[0]}
    matched: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file.replace("\\", "/"))
        camera = next((name for name in (file, path.name, path.stem) if name in cameras), None)
        if camera is None:
            continue
        for other, taken in matched.items():
            if taken == camera:
                raise MatchError(
                    f"{other} and {file} of the truth both belong to camera {camera}; rename one"
                )
        matched[file] = camera
    return matched


def watched_s(truth: Sequence[Truth], events: Sequence[Found]) -> float:
    """How long was watched at least: of each file until the last end in it, all together."""
    last: dict[str, float] = {}
    for file, end_s in [(one.file, one.end_s) for one in truth] + [
        (one.file, one.end_s) for one in events
    ]:
        last[file] = max(end_s, last.get(file, 0.0))
    return sum(last.values())


def score(truth: Sequence[Truth], events: Sequence[Found], *, watched_s: float) -> Report:
    """Compare events with the truth of the same files. `watched_s` is of all files together."""
    hours = watched_s / 3600
    known, logged = {one.label for one in truth}, {one.label for one in events}
    groups = [
        LabelMatches(
            label,
            [one for one in truth if one.label == label],
            [one for one in events if one.label == label],
            overlaps=OVERLAPS,
            ap_overlaps=AP_OVERLAPS,
        )
        for label in sorted(known | logged)
    ]
    labels = tuple(_score(group.label, [group], hours) for group in groups)
    return Report(
        watched_s=watched_s,
        overall=_score(ALL, groups, hours),
        labels=labels,
        only_in_truth=tuple(sorted(known - logged)),
        only_in_log=tuple(sorted(logged - known)),
    )


def _score(label: str, groups: Sequence[LabelMatches], hours: float) -> LabelScore:
    truths = sum(len(group.truth) for group in groups)
    events = sum(len(group.events) for group in groups)
    timed = [
        (group.truth[index], group.events[event])
        for group in groups
        for event, index in group.pairs[_TIMED_AT].items()
    ]
    errors = [event.start_s - truth.start_s for truth, event in timed]
    delays = [
        event.detected_s - truth.start_s for truth, event in timed if event.detected_s is not None
    ]
    false_alarms = sum(group.false_alarms() for group in groups)
    with_truth = [group for group in groups if group.truth]
    ap = tuple(map(statistics.fmean, zip(*(group.ap for group in with_truth), strict=True)))
    return LabelScore(
        label=label,
        truth=truths,
        events=events,
        agreements=tuple(
            _agreement(least, sum(len(group.pairs[least]) for group in groups), truths, events)
            for least in OVERLAPS
        ),
        ap=ap or None,
        start_error_s=_median(errors),
        start_error_abs_s=_median([abs(error) for error in errors]),
        delay_s=_median(delays),
        delay_p95_s=float(np.percentile(delays, 95)) if delays else None,
        false_alarms=false_alarms,
        false_alarms_per_hour=false_alarms / hours if hours > 0 else None,
    )


def _agreement(overlap: float, matched: int, truths: int, events: int) -> Agreement:
    return Agreement(
        overlap=overlap,
        matched=matched,
        precision=matched / events if events else None,
        recall=matched / truths if truths else None,
        f1=2 * matched / (truths + events) if truths + events else None,
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
