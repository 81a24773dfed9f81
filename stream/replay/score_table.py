"""Kept scores of one stream as whole columns, so that days of them can be looked at at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stream.config.events import UNKNOWN
from stream.sinks.score_log import FOLDER, head_of, record_of

_LATEST_UTC = 4e9  # seconds since 1970: what is later, or before, is damaged


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """What one run kept of one stream, in order; a row for each window."""

    run: str
    camera: str  # or "camera/zone"
    model: str
    labels: tuple[str, ...]
    background: frozenset[str]
    gap_s: float
    start_s: np.ndarray  # float64 (windows,), on the camera's clock, as the next
    end_s: np.ndarray
    zero: np.ndarray  # float64 (windows,): UTC of the camera's time 0, seconds since 1970
    fresh: np.ndarray  # bool (windows,): what was before it says nothing about it
    shares: np.ndarray  # float16 (windows, labels), or of the likeliest labels alone
    places: np.ndarray | None  # uint16, of the same shape: which labels those are

    def __len__(self) -> int:
        return len(self.end_s)

    @property
    def bytes(self) -> int:
        kept = (self.start_s, self.end_s, self.zero, self.fresh, self.shares, self.places)
        return sum(column.nbytes for column in kept if column is not None)

    @cached_property
    def at_s(self) -> np.ndarray:
        """The moment that each window speaks of, on the camera's clock: (windows,)."""
        return (self.start_s + self.end_s) / 2

    @cached_property
    def largest(self) -> np.ndarray:
        """The largest share that each label ever had: (labels,)."""
        if not len(self):
            return np.zeros(len(self.labels))
        if self.places is None:
            return self.shares.max(axis=0).astype(np.float64)
        found = np.zeros(len(self.labels))
        np.maximum.at(found, self.places.ravel(), self.shares.ravel().astype(np.float64))
        return found

    def column(self, label: str, unknown: float | None) -> np.ndarray:
        """The shares of a label: float64 (windows,). With UNKNOWN, 1 where none is `unknown`."""
        if label == UNKNOWN:
            best = self.shares.max(axis=1).astype(np.float64)
            return (best < unknown).astype(np.float64) if unknown is not None else 0 * best
        place = self.labels.index(label)
        if self.places is None:
            return self.shares[:, place].astype(np.float64)
        found = np.flatnonzero(self.places == place)  # in the columns one after the other
        column = np.zeros(len(self))
        column[found // self.places.shape[1]] = self.shares.ravel()[found]
        return column


def kept_streams(folder: Path) -> list[str]:
    """The streams of which a data folder has kept scores, sorted."""
    root = folder / FOLDER
    return sorted({str(file.parent.relative_to(root)) for file in root.rglob("*.scores")})


def score_files(folder: Path, stream: str, *, since: datetime, until: datetime) -> list[Path]:
    """The files that may hold scores of a stream from a stretch of time, in order.

    `stream` is one of `kept_streams`.
    """
    latest = f"{until:%Y%m%dT%H%M%S}"  # files are named for their beginnings
    found = sorted((folder / FOLDER / stream).glob("*.scores"), key=lambda file: file.name)
    return [file for file in found if file.name <= latest + "~" and _ended(file) >= since]


def read_tables(files: list[Path], *, until: datetime, most: int) -> tuple[list[ScoreTable], bool]:
    """The scores in files of one stream, up to a moment, by run and in order.

    At most so many windows, the newest; also whether there are older ones. Damaged files and
    records are left out.
    """
    runs: dict[tuple[str, str, tuple[str, ...]], list[tuple[dict[str, Any], np.ndarray]]] = {}
    left, is_cut = most, False
    for file in reversed(files):
        if not left:
            is_cut = True
            break
        for head, records in _read(file):
            usable = records[records["utc"] <= until.timestamp()]
            is_cut |= len(usable) > left
            usable = usable[-left:]
            left -= len(usable)
            key = (head["run"], head["model"], tuple(head["labels"]))
            runs.setdefault(key, []).append((head, usable))
    tables = []
    while runs:
        tables.append(_table(runs.pop(next(iter(runs)))[::-1]))
    return [table for table in reversed(tables) if len(table)], is_cut


def _ended(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except OSError:  # removed in this moment
        return datetime.min.replace(tzinfo=timezone.utc)


def _read(file: Path) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    try:
        described = head_of(file)
        if described is None:
            return
        data = file.read_bytes()
    except OSError:  # retention removed it
        return
    kind = record_of(len(described[0]["labels"]))
    whole = (len(data) - described[1]) // kind.itemsize  # the last one may be torn
    records = np.frombuffer(data, kind, count=whole, offset=described[1])
    began = records["utc"] - records["end_s"]
    good = (began >= 0) & (began < _LATEST_UTC) & np.isfinite(records["end_s"])
    if "places" in (kind.names or ()):
        good &= (records["places"] < len(described[0]["labels"])).all(axis=1)
    yield described[0], _only(records, good)


def _table(parts: list[tuple[dict[str, Any], np.ndarray]]) -> ScoreTable:
    head = parts[-1][0]
    records = np.concatenate([records for _, records in parts])
    parts.clear()  # days of scores: no more copies than needed
    is_break = np.isnan(records["length_s"])
    fresh = np.zeros(len(records), bool)
    fresh[1:] = is_break[:-1]
    records, fresh = _only(records, ~is_break), _only(fresh, ~is_break)
    start_s = records["end_s"] - records["length_s"]
    kept, gap = _in_order((start_s + records["end_s"]) / 2, fresh, float(head["gap_s"]))
    records, start_s, fresh = _only(records, kept), _only(start_s, kept), _only(gap, kept)
    has_places = "places" in (records.dtype.names or ())
    return ScoreTable(
        run=head["run"],
        camera=head["camera"],
        model=head["model"],
        labels=tuple(head["labels"]),
        background=frozenset(head["background"]),
        gap_s=float(head["gap_s"]),
        start_s=start_s,
        end_s=records["end_s"].copy(),
        zero=records["utc"] - records["end_s"],
        fresh=fresh,
        shares=records["shares"].copy(),
        places=records["places"].copy() if has_places else None,
    )


def _only(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return values if wanted.all() else values[wanted]


def _in_order(at_s: np.ndarray, fresh: np.ndarray, gap_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Which windows count, and which of them are fresh; as a Detector takes them."""
    kept, begins = np.ones(len(at_s), bool), fresh.copy()
    if not len(at_s):
        return kept, begins
    begins[0] = True
    steps = np.diff(at_s)
    if (steps[~begins[1:]] > 0).all():
        begins[1:] |= steps > gap_s
        return kept, begins
    latest, is_fresh = at_s[0], False  # some were overtaken: one by one
    for place in range(1, len(at_s)):
        is_fresh |= bool(fresh[place])
        # Going back by more than a gap is another camera under the same name.
        is_fresh |= abs(at_s[place] - latest) > gap_s
        kept[place] = is_fresh or at_s[place] > latest
        if kept[place]:
            begins[place], latest, is_fresh = is_fresh, at_s[place], False
    return kept, begins
