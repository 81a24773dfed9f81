"""Which events go with which truth of their label, in time. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.evaluation.ground_truth import Truth


@dataclass(frozen=True, slots=True)
class Found:
    """An event of the log, in seconds of its file."""

    file: str
    label: str
    start_s: float
    end_s: float
    detected_s: float | None
    score: float  # by which events are ranked


class LabelMatches:
    """Truth and events of one label, and what of them agrees.

    `pairs` has for each of `overlaps` the pairs that agree so well, event -> truth by index: each
    is in one pair at most, and there are as many as there can be. `ap` is the average precision at
    each of `ap_overlaps`. An overlap is the intersection of two spans over their union.
    """

    def __init__(
        self,
        label: str,
        truth: Sequence[Truth],
        events: Sequence[Found],
        *,
        overlaps: Sequence[float],
        ap_overlaps: Sequence[float],
    ) -> None:
        self.label, self.truth, self.events = label, truth, events
        self._shared = _shared(truth, events)
        self.pairs = {least: self._pairs(least) for least in overlaps}
        self.ap = tuple(self._average_precision(least) for least in ap_overlaps) if truth else ()

    def false_alarms(self) -> int:
        """How many events overlap no truth at all."""
        return sum(not shared for shared in self._shared)

    def _pairs(self, least: float) -> dict[int, int]:
        # The best first: others are parted only where that makes one pair more.
        best = [shared[0][0] if shared else 0.0 for shared in self._shared]
        order = sorted(range(len(self.events)), key=lambda event: -best[event])
        wanted = [
            [index for share, index in self._shared[event] if share >= least] for event in order
        ]
        return {order[place]: index for place, index in one_to_one(wanted).items()}

    def _average_precision(self, least: float) -> float:
        """As ActivityNet computes it: interpolated, the events by score, each truth found once.

        Source: Evaluation/eval_detection.py and utils.py of github.com/activitynet/ActivityNet.
        """
        ranked = sorted(range(len(self.events)), key=lambda event: -self.events[event].score)
        taken: set[int] = set()
        hits = np.zeros(len(ranked))
        for place, event in enumerate(ranked):
            for share, index in self._shared[event]:
                if share >= least and index not in taken:
                    taken.add(index)
                    hits[place] = 1
                    break
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
        return float((best_from_here * hits).sum() / len(self.truth))


def one_to_one(wanted: Sequence[Sequence[int]]) -> dict[int, int]:
    """As many pairs as there can be of each with one that it wants, by augmenting paths."""
    owner: dict[int, int] = {}
    given: dict[int, int] = {}
    for newcomer in range(len(wanted)):
        # Breadth first: from the newcomer to what it wants, to those who have that, and so on.
        asked_by: dict[int, int] = {}
        waiting, free = deque([newcomer]), None
        while waiting and free is None:
            asker = waiting.popleft()
            for item in wanted[asker]:
                if item in asked_by:
                    continue
                asked_by[item] = asker
                if item not in owner:
                    free = item
                    break
                waiting.append(owner[item])
        while free is not None:  # on the way back each takes what it asked for
            taker = asked_by[free]
            left = given.get(taker)
            owner[free], given[taker] = taker, free
            free = left
    return given


def _shared(truth: Sequence[Truth], events: Sequence[Found]) -> list[list[tuple[float, int]]]:
    """For each event the truths of its file that it overlaps, the most alike first, by index."""
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
        shares = _overlaps(event, spans[event.file])
        order = np.argsort(-shares, kind="stable")
        indices = of_file[event.file]
        found.append([(float(shares[n]), indices[n]) for n in order if shares[n] > 0])
    return found


def _overlaps(event: Found, spans: np.ndarray) -> np.ndarray:
    """Intersection over union with each of the spans, (n, 2)."""
    begins, ends = spans[:, 0], spans[:, 1]
    shared = (np.minimum(event.end_s, ends) - np.maximum(event.start_s, begins)).clip(0)
    whole = (ends - begins) + (event.end_s - event.start_s) - shared
    return shared / whole
