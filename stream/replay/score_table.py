"""Stored scores of one stream as arrays, so that days of them can be processed at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stream.config.events import UNKNOWN
from stream.sinks.score_files import FOLDER, read_records


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The stored scores of one run and stream in time order; one row per window."""

    run: str
    camera: str  # or "camera/zone"
    model: str
    labels: tuple[str, ...]
    background: frozenset[str]
    gap_s: float
    start_s: np.ndarray  # float64 (windows,), camera's clock
    end_s: np.ndarray  # float64 (windows,), camera's clock
    zero_utc: np.ndarray  # float64 (windows,): UTC of the camera's time 0, seconds since 1970
    restarts: np.ndarray  # bool (windows,): first after a gap, so that smoothing restarts
    probabilities: np.ndarray  # float16 (windows, labels), or (windows, k) of the top labels
    label_indices: np.ndarray | None  # uint16 (windows, k) of the top labels

    def __len__(self) -> int:
        return len(self.end_s)

    @property
    def bytes(self) -> int:
        columns = (
            self.start_s,
            self.end_s,
            self.zero_utc,
            self.restarts,
            self.probabilities,
            self.label_indices,
        )
        return sum(column.nbytes for column in columns if column is not None)

    @cached_property
    def at_s(self) -> np.ndarray:
        """The middle of each window, on the camera's clock: (windows,)."""
        return (self.start_s + self.end_s) / 2

    @cached_property
    def peaks(self) -> np.ndarray:
        """The maximum probability of each label: (labels,)."""
        if not len(self):
            return np.zeros(len(self.labels))
        if self.label_indices is None:
            return self.probabilities.max(axis=0).astype(np.float64)
        found = np.zeros(len(self.labels))
        np.maximum.at(
            found, self.label_indices.ravel(), self.probabilities.ravel().astype(np.float64)
        )
        return found

    def column(self, label: str, unknown_below: float | None) -> np.ndarray:
        """The probabilities of a label: float64 (windows,).

        UNKNOWN is 1 where all probabilities are below `unknown_below`, else 0.
        """
        if label == UNKNOWN:
            best = self.probabilities.max(axis=1).astype(np.float64)
            is_unknown = best < unknown_below if unknown_below is not None else 0 * best
            return is_unknown.astype(np.float64)
        index = self.labels.index(label)
        if self.label_indices is None:
            return self.probabilities[:, index].astype(np.float64)
        found = np.flatnonzero(self.label_indices == index)  # in the flattened array
        column = np.zeros(len(self))
        column[found // self.label_indices.shape[1]] = self.probabilities.ravel()[found]
        return column


def stored_streams(folder: Path) -> list[str]:
    """The streams with stored scores in a data folder, sorted."""
    root = folder / FOLDER
    return sorted({str(file.parent.relative_to(root)) for file in root.rglob("*.scores")})


def score_files(folder: Path, stream: str, *, since: datetime, until: datetime) -> list[Path]:
    """The files that may hold scores of a stream in a time range, in order.

    `stream` is one of `stored_streams`.
    """
    latest = f"{until:%Y%m%dT%H%M%S}"  # file names start with their start time
    found = sorted((folder / FOLDER / stream).glob("*.scores"), key=lambda file: file.name)
    return [file for file in found if file.name <= latest + "~" and _modified(file) >= since]


def read_tables(
    files: list[Path], *, until: datetime, max_windows: int
) -> tuple[list[ScoreTable], bool]:
    """The scores in files of one stream until a time: a table per run, in order.

    Reads the newest `max_windows` windows; the second value tells whether there are older ones.
    Skips corrupted files and records.
    """
    runs: dict[tuple[str, str, tuple[str, ...]], list[tuple[dict[str, Any], np.ndarray]]] = {}
    remaining, is_cut = max_windows, False
    for file in reversed(files):
        if not remaining:
            is_cut = True
            break
        try:
            header, records = read_records(file)
        except OSError:  # retention removed it
            continue
        if not header:
            continue
        selected = records[records["utc"] <= until.timestamp()]
        is_cut |= len(selected) > remaining
        selected = selected[-remaining:]
        remaining -= len(selected)
        key = (header["run"], header["model"], tuple(header["labels"]))
        runs.setdefault(key, []).append((header, selected))
    tables = []
    while runs:
        tables.append(_table(runs.pop(next(iter(runs)))[::-1]))
    return [table for table in reversed(tables) if len(table)], is_cut


def _modified(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except OSError:  # removed meanwhile
        return datetime.min.replace(tzinfo=timezone.utc)


def _table(parts: list[tuple[dict[str, Any], np.ndarray]]) -> ScoreTable:
    header = parts[-1][0]
    records = np.concatenate([records for _, records in parts])
    parts.clear()  # days of scores: avoid copies
    is_gap = np.isnan(records["length_s"])
    restarts = np.zeros(len(records), bool)
    restarts[1:] = is_gap[:-1]
    records, restarts = _select(records, ~is_gap), _select(restarts, ~is_gap)
    start_s = records["end_s"] - records["length_s"]
    in_order, gap = _in_order((start_s + records["end_s"]) / 2, restarts, float(header["gap_s"]))
    records, start_s, restarts = (
        _select(records, in_order),
        _select(start_s, in_order),
        _select(gap, in_order),
    )
    has_indices = "indices" in (records.dtype.names or ())
    return ScoreTable(
        run=header["run"],
        camera=header["camera"],
        model=header["model"],
        labels=tuple(header["labels"]),
        background=frozenset(header["background"]),
        gap_s=float(header["gap_s"]),
        start_s=start_s,
        end_s=records["end_s"].copy(),
        zero_utc=records["utc"] - records["end_s"],
        restarts=restarts,
        probabilities=records["probabilities"].copy(),
        label_indices=records["indices"].copy() if has_indices else None,
    )


def _select(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return values if mask.all() else values[mask]


def _in_order(
    at_s: np.ndarray, restarts: np.ndarray, gap_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the windows in order, and of those that are restarts; as in a Detector."""
    in_order, starts = np.ones(len(at_s), bool), restarts.copy()
    if not len(at_s):
        return in_order, starts
    starts[0] = True
    steps = np.diff(at_s)
    if (steps[~starts[1:]] > 0).all():
        starts[1:] |= steps > gap_s
        return in_order, starts
    latest, is_restart = at_s[0], False  # some are out of order: one by one
    for index in range(1, len(at_s)):
        is_restart |= bool(restarts[index])
        # A step back by more than a gap is another camera with the same name.
        is_restart |= abs(at_s[index] - latest) > gap_s
        in_order[index] = is_restart or at_s[index] > latest
        if in_order[index]:
            starts[index], latest, is_restart = is_restart, at_s[index], False
    return in_order, starts
