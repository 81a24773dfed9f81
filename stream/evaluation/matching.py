"""Matches events with ground truth of the same label by temporal IoU. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.formats.ground_truth import GroundTruthSegment


@dataclass(frozen=True, slots=True)
class PredictedSegment:
    """An event of the log, in seconds of its file."""

    file: str
    label: str
    start_s: float
    end_s: float
    detected_s: float | None
    score: float  # rank for average precision


class LabelMatches:
    """Ground truth and events of one label, with their matches.

    `pairs` is a maximum matching for each of `iou_thresholds`: event index -> ground truth index.
    `ap` is the average precision at each of `ap_iou_thresholds`.
    """

    def __init__(
        self,
        label: str,
        truth: Sequence[GroundTruthSegment],
        events: Sequence[PredictedSegment],
        *,
        iou_thresholds: Sequence[float],
        ap_iou_thresholds: Sequence[float],
    ) -> None:
        self.label, self.truth, self.events = label, truth, events
        self._overlapping = _overlapping(truth, events)
        self.pairs = {min_iou: self._pairs(min_iou) for min_iou in iou_thresholds}
        self.ap = tuple(map(self._average_precision, ap_iou_thresholds)) if truth else ()

    def false_alarms(self) -> int:
        """The number of events that overlap no ground truth segment."""
        return sum(not overlapping for overlapping in self._overlapping)

    def _pairs(self, min_iou: float) -> dict[int, int]:
        # The highest IoU first: a pair is only split if that adds a pair.
        best = [overlapping[0][0] if overlapping else 0.0 for overlapping in self._overlapping]
        order = sorted(range(len(self.events)), key=lambda event: -best[event])
        candidates = [
            [index for iou, index in self._overlapping[event] if iou >= min_iou] for event in order
        ]
        return {order[rank]: index for rank, index in maximum_matching(candidates).items()}

    def _average_precision(self, min_iou: float) -> float:
        """Interpolated average precision, as in ActivityNet: each ground truth segment counts once.

        Source: Evaluation/eval_detection.py and utils.py of github.com/activitynet/ActivityNet.
        """
        ranked = sorted(range(len(self.events)), key=lambda event: -self.events[event].score)
        matched: set[int] = set()
        hits = np.zeros(len(ranked))
        for rank, event in enumerate(ranked):
            for iou, index in self._overlapping[event]:
                if iou >= min_iou and index not in matched:
                    matched.add(index)
                    hits[rank] = 1
                    break
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        interpolated = np.maximum.accumulate(precision[::-1])[::-1]
        return float((interpolated * hits).sum() / len(self.truth))


def maximum_matching(candidates: Sequence[Sequence[int]]) -> dict[int, int]:
    """A maximum bipartite matching of rows with their candidates, by augmenting paths."""
    owner: dict[int, int] = {}
    partner: dict[int, int] = {}
    for row in range(len(candidates)):
        # Breadth-first search for an augmenting path from this row to an unmatched item.
        reached_from: dict[int, int] = {}
        waiting, free = deque([row]), None
        while waiting and free is None:
            current = waiting.popleft()
            for item in candidates[current]:
                if item in reached_from:
                    continue
                reached_from[item] = current
                if item not in owner:
                    free = item
                    break
                waiting.append(owner[item])
        while free is not None:  # flip the path
            current = reached_from[free]
            previous = partner.get(current)
            owner[free], partner[current] = current, free
            free = previous
    return partner


def _overlapping(
    truth: Sequence[GroundTruthSegment], events: Sequence[PredictedSegment]
) -> list[list[tuple[float, int]]]:
    """For each event the overlapping segments of its file: (IoU, index), the highest IoU first."""
    of_file: dict[str, list[int]] = {}
    for index, one in enumerate(truth):
        of_file.setdefault(one.file, []).append(index)
    spans = {
        file: np.array([(truth[index].start_s, truth[index].end_s) for index in indices])
        for file, indices in of_file.items()
    }
    found: list[list[tuple[float, int]]] = []
    for event in events:
        if event.file not in spans:
            found.append([])
            continue
        ious = _ious(event, spans[event.file])
        order = np.argsort(-ious, kind="stable")
        indices = of_file[event.file]
        found.append([(float(ious[n]), indices[n]) for n in order if ious[n] > 0])
    return found


def _ious(event: PredictedSegment, spans: np.ndarray) -> np.ndarray:
    """The IoU with each of the spans, (n, 2): (n,)."""
    starts, ends = spans[:, 0], spans[:, 1]
    intersection = (np.minimum(event.end_s, ends) - np.maximum(event.start_s, starts)).clip(0)
    union = (ends - starts) + (event.end_s - event.start_s) - intersection
    return intersection / union
