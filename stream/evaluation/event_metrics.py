"""Event metrics: F1 and average precision by temporal IoU, timing, false alarms. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from stream.evaluation.matching import LabelMatches, PredictedSegment
from stream.formats.ground_truth import GroundTruthSegment
from stream.runtime.errors import UserError

IOU_THRESHOLDS = (0.3, 0.5, 0.7)  # temporal intersection over union for a match
AP_IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # ActivityNet's
_TIMING_IOU = 0.5  # threshold of the matches for start errors and delays
ALL = "all"


class MatchError(UserError, ValueError):
    """Ground truth and log that don't correspond. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class MatchMetrics:
    """Matches between events and ground truth at one IoU threshold; None for a ratio of 0 / 0.

    A maximum matching: each event and each ground truth segment has at most one partner.
    """

    iou: float
    matched: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """Metrics of one label, or of all labels; None if there is nothing to measure."""

    label: str
    truth: int  # number of ground truth segments
    events: int
    at_iou: tuple[MatchMetrics, ...]  # at IOU_THRESHOLDS
    ap: tuple[float, ...] | None  # average precision at AP_IOU_THRESHOLDS; None without truth
    start_error_s: float | None  # median; below 0: early
    start_error_abs_s: float | None  # median of the absolute error
    delay_s: float | None  # median, from the true start to the detection
    delay_p95_s: float | None
    false_alarms: int  # events that overlap no ground truth segment of their label
    false_alarms_per_hour: float | None

    @property
    def mean_ap(self) -> float | None:
        return None if self.ap is None else statistics.fmean(self.ap)


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics of a log. `overall` pools all labels; its `ap` is the mean over labels: mAP."""

    duration_s: float  # of all files
    overall: LabelMetrics
    labels: tuple[LabelMetrics, ...]  # by name
    only_in_truth: tuple[str, ...]
    only_in_log: tuple[str, ...]


def predicted_segments(
    rows: Iterable[Mapping[str, Any]], *, rank: str = "peak"
) -> list[PredictedSegment]:
    """The closed events among rows of the log, ranked by their peak or their mean."""
    return [
        PredictedSegment(
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
    """The camera of the log for each file of the ground truth.

    The camera name is the file's path, else its name, else its name without suffix; a single file
    belongs to a single camera. Files without a camera are omitted.
    Raises MatchError if two files belong to one camera.
    """
    if len(files) == len(cameras) == 1:
        return {files[0]: cameras[0]}
    matched: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file.replace("\\", "/"))
        camera = next((name for name in (file, path.name, path.stem) if name in cameras), None)
        if camera is None:
            continue
        for other, other_camera in matched.items():
            if other_camera == camera:
                raise MatchError(
                    f"{other} and {file} of the truth both belong to camera {camera}; rename one"
                )
        matched[file] = camera
    return matched


def total_duration_s(
    truth: Sequence[GroundTruthSegment], events: Sequence[PredictedSegment]
) -> float:
    """A lower limit of the total duration: the sum of the last ends of all files."""
    segments: list[GroundTruthSegment | PredictedSegment] = [*truth, *events]
    last: dict[str, float] = {}
    for one in segments:
        last[one.file] = max(one.end_s, last.get(one.file, 0.0))
    return sum(last.values())


def evaluate(
    truth: Sequence[GroundTruthSegment], events: Sequence[PredictedSegment], *, duration_s: float
) -> Report:
    """Compare events with the ground truth of the same files of `duration_s` in total."""
    hours = duration_s / 3600
    known, logged = {one.label for one in truth}, {one.label for one in events}
    groups = [
        LabelMatches(
            label,
            [one for one in truth if one.label == label],
            [one for one in events if one.label == label],
            iou_thresholds=IOU_THRESHOLDS,
            ap_iou_thresholds=AP_IOU_THRESHOLDS,
        )
        for label in sorted(known | logged)
    ]
    labels = tuple(_label_metrics(group.label, [group], hours) for group in groups)
    return Report(
        duration_s=duration_s,
        overall=_label_metrics(ALL, groups, hours),
        labels=labels,
        only_in_truth=tuple(sorted(known - logged)),
        only_in_log=tuple(sorted(logged - known)),
    )


def _label_metrics(label: str, groups: Sequence[LabelMatches], hours: float) -> LabelMetrics:
    truths = sum(len(group.truth) for group in groups)
    events = sum(len(group.events) for group in groups)
    timed = [
        (group.truth[index], group.events[event])
        for group in groups
        for event, index in group.pairs[_TIMING_IOU].items()
    ]
    errors = [event.start_s - truth.start_s for truth, event in timed]
    delays = [
        event.detected_s - truth.start_s for truth, event in timed if event.detected_s is not None
    ]
    false_alarms = sum(group.false_alarms() for group in groups)
    with_truth = [group for group in groups if group.truth]
    ap = tuple(map(statistics.fmean, zip(*(group.ap for group in with_truth), strict=True)))
    return LabelMetrics(
        label=label,
        truth=truths,
        events=events,
        at_iou=tuple(
            _match_metrics(iou, sum(len(group.pairs[iou]) for group in groups), truths, events)
            for iou in IOU_THRESHOLDS
        ),
        ap=ap or None,
        start_error_s=_median(errors),
        start_error_abs_s=_median([abs(error) for error in errors]),
        delay_s=_median(delays),
        delay_p95_s=float(np.percentile(delays, 95)) if delays else None,
        false_alarms=false_alarms,
        false_alarms_per_hour=false_alarms / hours if hours > 0 else None,
    )


def _match_metrics(iou: float, matched: int, truths: int, events: int) -> MatchMetrics:
    return MatchMetrics(
        iou=iou,
        matched=matched,
        precision=matched / events if events else None,
        recall=matched / truths if truths else None,
        f1=2 * matched / (truths + events) if truths + events else None,
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
