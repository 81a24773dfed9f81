"""What is answered to a trial of a policy: counts, curve and events, ready to be drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from stream.config.events import EventsConfig
from stream.messages import LoggedEvent
from stream.replay.policy_preview import About, Trial, Trials

_POINTS = 750  # of a curve, each with its lowest and its highest value
_MOST_SPANS = 1000  # events of one label that are drawn


class Span(BaseModel):
    """An event on the chart; seconds since 1970."""

    start: float
    end: float | None
    change: Literal["same", "moved", "lost", "added", "open"]


class LabelCounts(BaseModel):
    """Of one label."""

    label: str
    logged: int
    would: int
    added: int
    lost: int
    moved: int


class Curve(BaseModel):
    """A part of the smoothed curve without a gap; of each moment the lowest and the highest."""

    at: list[float]  # seconds since 1970
    low: list[float]
    high: list[float]


class Tried(BaseModel):
    """What a policy would have logged."""

    since: float  # seconds since 1970; there are scores from then on
    until: float
    windows: int
    added: int
    lost: int
    moved: int
    same: int
    ongoing: int  # of the log; they are compared when they are over
    labels: list[LabelCounts]  # those with events, most of them first
    label: str  # whose curve and events follow, "" if there is none
    curve: list[Curve]
    logged: list[Span]
    would: list[Span]
    cut_at: float | None  # seconds since 1970; what is older was too much to be tried
    notes: list[str]  # what else one should know of it, in sentences


def tried(trials: Trials, about: About, policy: EventsConfig, label: str | None) -> Tried:
    """The answer to a trial; with the curve of `label`, or of that with most events.

    Raises TrialError where the trial can't be made, EventLogError where the log is away.
    """
    scores = trials.read(about)
    made = scores.trial(policy)
    counts = _counts(made)
    label = label or (counts[0].label if counts else "")
    pieces = scores.curve(policy, label, points=_POINTS)
    difference = made.difference
    return Tried(
        since=made.since.timestamp(),
        until=about.until.timestamp(),
        windows=made.windows,
        added=len(difference.added),
        lost=len(difference.lost),
        moved=len(difference.moved),
        same=difference.same,
        ongoing=sum(row["end"] is None for row in made.rows),
        labels=counts,
        label=label,
        curve=[Curve(at=piece.at, low=piece.low, high=piece.high) for piece in pieces],
        logged=_logged_spans(made, label),
        would=_would_spans(made, label),
        cut_at=made.since.timestamp() if made.is_cut else None,
        notes=list(_notes(made, counts)),
    )


def _counts(made: Trial) -> list[LabelCounts]:
    logged = Counter(row["label"] for row in made.rows)
    would = Counter(one.event.label for one in made.events)
    added = Counter(one.event.label for one in made.difference.added)
    lost = Counter(row["label"] for row in made.difference.lost)
    moved = Counter(row["label"] for row, _ in made.difference.moved)
    names = sorted(logged.keys() | would.keys(), key=lambda one: (-logged[one] - would[one], one))
    return [
        LabelCounts(
            label=name,
            logged=logged[name],
            would=would[name],
            added=added[name],
            lost=lost[name],
            moved=moved[name],
        )
        for name in names
    ]


def _logged_spans(made: Trial, label: str) -> list[Span]:
    lost = {row["id"] for row in made.difference.lost}
    moved = {row["id"] for row, _ in made.difference.moved}
    spans = []
    for row in (row for row in made.rows if row["label"] == label):
        end = row["end"]
        change: Literal["same", "moved", "lost", "open"]
        change = "lost" if row["id"] in lost else "moved" if row["id"] in moved else "same"
        spans.append(
            Span(
                start=_seconds(row["start"]),
                end=_seconds(end) if end else None,
                change=change if end else "open",
            )
        )
    return spans[-_MOST_SPANS:]


def _would_spans(made: Trial, label: str) -> list[Span]:
    added = {one.event.id for one in made.difference.added}
    moved = {(_start(one)) for _, one in made.difference.moved}
    spans = []
    for one in (one for one in made.events if one.event.label == label):
        change: Literal["same", "moved", "added"]
        change = "added" if one.event.id in added else "moved" if _start(one) in moved else "same"
        assert one.event.end_s is not None  # a trial closes all of them
        spans.append(
            Span(start=_start(one), end=one.utc(one.event.end_s).timestamp(), change=change)
        )
    return spans[-_MOST_SPANS:]


def _start(one: LoggedEvent) -> float:
    return one.utc(one.event.start_s).timestamp()


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def _notes(made: Trial, counts: list[LabelCounts]) -> Iterable[str]:
    if made.other_models:
        yield (
            f"Scores of another model ({', '.join(made.other_models)}) were left out: its labels "
            "and thresholds are not those of the one that runs now."
        )
    if not made.windows:
        yield "No scores were kept of this camera in that time."
    elif not counts:
        yield "Nothing was logged in that time, and nothing would have been."
    if any(count.logged > _MOST_SPANS or count.would > _MOST_SPANS for count in counts):
        yield f"Of a label with many events the newest {_MOST_SPANS} are drawn."
