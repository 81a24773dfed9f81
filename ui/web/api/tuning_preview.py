"""The preview of a policy: event counts, curve and events, ready to draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel

from stream.config.events import EventsConfig
from stream.messages import LoggedEvent
from stream.replay.policy_preview import PolicyPreview, Preview, ScoreRange
from stream.sinks.event_log.rows import moment

_CURVE_POINTS = 750  # each with a minimum and a maximum
_MAX_SPANS = 1000  # events of the label that are drawn


Change = Literal["unchanged", "moved", "removed", "added", "open"]


class EventSpan(BaseModel):
    """An event of the chart; seconds since 1970."""

    start: float
    end: float | None
    change: Change


class LabelCounts(BaseModel):
    """Event counts of one label."""

    label: str
    logged: int
    preview: int
    added: int
    removed: int
    moved: int


class Curve(BaseModel):
    """A gapless segment of the smoothed curve: minimum and maximum at each time."""

    times: list[float]  # seconds since 1970
    low: list[float]
    high: list[float]


class PreviewResponse(BaseModel):
    """The events that a policy would have logged."""

    since: float  # seconds since 1970, start of the scores
    until: float
    windows: int
    added: int
    removed: int
    moved: int
    unchanged: int
    open: int  # open events of the log, which are compared after their end
    labels: list[LabelCounts]  # labels with events, the most frequent first
    label: str  # of the curve and the events below, "" if there are no events
    curve: list[Curve]
    logged: list[EventSpan]
    preview: list[EventSpan]
    truncated_at: float | None  # seconds since 1970; older scores exceed the limit
    notes: list[str]  # further information, in sentences


def preview_response(
    preview: PolicyPreview, score_range: ScoreRange, policy: EventsConfig, label: str | None
) -> PreviewResponse:
    """Preview a policy, with the curve of `label` or of the most frequent label.

    Raises PreviewError if the policy can't be previewed, EventLogError if the log is unavailable.
    """
    scores = preview.read(score_range)
    result = scores.preview(policy)
    counts = _counts(result)
    label = label or (counts[0].label if counts else "")
    segments = scores.curve(policy, label, points=_CURVE_POINTS)
    difference = result.difference
    return PreviewResponse(
        since=result.since.timestamp(),
        until=score_range.until.timestamp(),
        windows=result.windows,
        added=len(difference.added),
        removed=len(difference.removed),
        moved=len(difference.moved),
        unchanged=difference.same,
        open=sum(row["end"] is None for row in result.rows),
        labels=counts,
        label=label,
        curve=[Curve(times=one.times, low=one.low, high=one.high) for one in segments],
        logged=_logged_spans(result, label),
        preview=_preview_spans(result, label),
        truncated_at=result.since.timestamp() if result.is_truncated else None,
        notes=list(_notes(result, counts)),
    )


def _counts(result: Preview) -> list[LabelCounts]:
    counters = {
        "logged": Counter(row["label"] for row in result.rows),
        "preview": Counter(one.event.label for one in result.events),
        "added": Counter(one.event.label for one in result.difference.added),
        "removed": Counter(row["label"] for row in result.difference.removed),
        "moved": Counter(row["label"] for row, _ in result.difference.moved),
    }
    counts = [
        LabelCounts(label=name, **{key: counter[name] for key, counter in counters.items()})
        for name in counters["logged"].keys() | counters["preview"].keys()
    ]
    return sorted(counts, key=lambda one: (-one.logged - one.preview, one.label))


def _logged_spans(result: Preview, label: str) -> list[EventSpan]:
    changes: dict[str, Change] = {row["id"]: "removed" for row in result.difference.removed}
    changes |= {row["id"]: "moved" for row, _ in result.difference.moved}
    return [
        EventSpan(
            start=moment(row["start"]).timestamp(),
            end=moment(row["end"]).timestamp() if row["end"] else None,
            change=changes.get(row["id"], "unchanged") if row["end"] else "open",
        )
        for row in result.rows
        if row["label"] == label
    ][-_MAX_SPANS:]


def _preview_spans(result: Preview, label: str) -> list[EventSpan]:
    added = {one.event.id for one in result.difference.added}
    # By start, as a moved event has the id of its row; events of other labels may start then, too.
    moved = {_start(one) for _, one in result.difference.moved if one.event.label == label}
    spans = []
    for one in result.events:
        if one.event.label != label:
            continue
        change: Change = "moved" if _start(one) in moved else "unchanged"
        if one.event.id in added:
            change = "added"
        assert one.event.end_s is not None  # a preview closes all events
        end = one.utc(one.event.end_s).timestamp()
        spans.append(EventSpan(start=_start(one), end=end, change=change))
    return spans[-_MAX_SPANS:]


def _start(one: LoggedEvent) -> float:
    return one.utc(one.event.start_s).timestamp()


def _notes(result: Preview, counts: list[LabelCounts]) -> Iterable[str]:
    if result.other_models:
        yield (
            f"Scores of another model ({', '.join(result.other_models)}) are not included: its "
            "labels and thresholds differ from those of the current model."
        )
    if not result.windows:
        yield "No scores of this camera are stored for this period."
    elif not counts:
        yield "No events in this period, neither in the log nor with this policy."
    if any(count.logged > _MAX_SPANS or count.preview > _MAX_SPANS for count in counts):
        yield f"Only the newest {_MAX_SPANS} events of a label are drawn."
