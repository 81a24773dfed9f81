"""The configuration of events, clips, retention and alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stream.config.types import Bytes, Ratio, Seconds, Section

UNKNOWN = "unknown"  # label of events during which no label is likely, see unknown_below


class LabelPolicy(Section):
    """Thresholds of one label; defaults come from `events`."""

    threshold: Ratio | None = None
    release_threshold: Ratio | None = None
    min_duration: Annotated[Seconds, Field(ge=0)] | None = None
    merge_gap: Annotated[Seconds, Field(ge=0)] | None = None
    cooldown: Annotated[Seconds, Field(ge=0)] | None = None


class EventsConfig(Section):
    """When predictions become an event: smoothing, hysteresis and merging."""

    threshold: Ratio = Field(0.6, description="an event starts at this smoothed probability")
    release_threshold: Ratio = Field(0.4, description="and ends below this one (hysteresis)")
    min_duration: Annotated[Seconds, Field(ge=0)] = Field(
        0.5, description="shorter events are dropped"
    )
    merge_gap: Annotated[Seconds, Field(ge=0)] = Field(
        1.0, description="an event that resumes within this time is the same event"
    )
    cooldown: Annotated[Seconds, Field(ge=0)] = Field(
        0.0, description="minimum time between two events of a label"
    )
    smoothing: Annotated[Seconds, Field(ge=0)] = Field(
        0.3, description="time constant of the exponential smoothing"
    )
    exclude: frozenset[str] = Field(frozenset(), description="labels without events")
    include: frozenset[str] | None = Field(
        None, description="the only labels with events; default: all but `exclude`"
    )
    unknown_below: Ratio | None = Field(
        None,
        description=f"an event {UNKNOWN!r} while all probabilities are below; default: off",
    )
    labels: dict[str, LabelPolicy] = Field({}, description="other thresholds for single labels")

    @model_validator(mode="after")
    def _check_thresholds(self) -> EventsConfig:
        for label in ("", *self.labels):
            policy = self.policy(label)
            if policy.release_threshold > policy.threshold:
                where = f"labels.{label}: " if label else ""
                raise ValueError(
                    f"{where}release_threshold ({policy.release_threshold}) must not be above "
                    f"threshold ({policy.threshold})"
                )
        return self

    def policy(self, label: str) -> EventsConfig:
        """The thresholds of one label."""
        own = self.labels.get(label)
        changes = own.model_dump(exclude_none=True) if own else {}
        return self.model_copy(update=changes)

    @property
    def named_labels(self) -> set[str]:
        """All labels that the section names; the model must have them."""
        return (set(self.labels) | self.exclude | (self.include or frozenset())) - {UNKNOWN}


class RecordingConfig(Section):
    """A video clip and a snapshot of each event."""

    enabled: bool = Field(False, description="record them")
    pre_roll: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        3.0, description="length of the clip before the event"
    )
    post_roll: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        3.0, description="length of the clip after the event"
    )
    width: Annotated[int, Field(ge=64, le=3840)] = Field(
        960, description="maximum width of a clip, in pixels; smaller frames are not resized"
    )
    max_duration: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        300.0, description="maximum length of a clip, even if its event continues"
    )
    max_buffer: Bytes = Field(
        100_000_000, description="maximum memory for buffered JPEG frames of one camera"
    )


class LabelRetention(Section):
    """Retention of one label; defaults come from `retention`."""

    events: Annotated[Seconds, Field(gt=0)] | None = None
    clips: Annotated[Seconds, Field(gt=0)] | None = None
    snapshots: Annotated[Seconds, Field(gt=0)] | None = None


class RetentionConfig(Section):
    """How long files and events are retained; enforced hourly, and by `events prune`."""

    events: Annotated[Seconds, Field(gt=0)] | None = Field(
        None, description="rows of the event log; default: no limit"
    )
    clips: Annotated[Seconds, Field(gt=0)] = Field(30 * 86400.0, description="event clips")
    snapshots: Annotated[Seconds, Field(gt=0)] = Field(30 * 86400.0, description="event snapshots")
    scores: Annotated[Seconds, Field(ge=0)] = Field(
        7 * 86400.0, description="scores of all windows, for `events replay`; 0s stores none"
    )
    max_size: Bytes = Field(
        20_000_000_000,
        description="maximum size of clips, snapshots and scores; the oldest are deleted first",
    )
    keep_free: Bytes = Field(
        1_000_000_000,
        description="with less free space no clips are written; with half of it, no scores either",
    )
    labels: dict[str, LabelRetention] = Field({}, description="other durations for single labels")


class AlertConfig(Section):
    """Where events are sent: a webhook or an MQTT broker."""

    webhook: str | None = Field(
        None,
        description="http:// or https:// URL that receives JSON; ${NAME} and ${file:PATH} in it "
        "are resolved and never shown",
    )
    secret: str | None = Field(
        None, description="key that signs webhook bodies, see docs/alerts.md; ${NAME}, ${file:PATH}"
    )
    mqtt: str | None = Field(
        None,
        description="mqtt://USER:PASSWORD@HOST:1883 or mqtts://; an extra: "
        "pip install 'actionwatch[mqtt]'",
    )
    topic: str = Field(
        "actionwatch",
        pattern=r"^[^#+/\s][^#+\s]*$",
        description="MQTT: events go to TOPIC/CAMERA/events, states to TOPIC/CAMERA/LABEL",
    )
    discovery: bool = Field(True, description="MQTT: announce the labels to Home Assistant")
    notify_on: frozenset[Literal["start", "end"]] = Field(
        frozenset({"start", "end"}), min_length=1, description="start, end, or both"
    )
    cameras: frozenset[str] | None = Field(None, description="only these cameras; default: all")
    labels: frozenset[str] | None = Field(None, description="only these labels; default: all")
    cooldown: Annotated[Seconds, Field(ge=0)] = Field(
        0.0, description="minimum time between two alerts of a camera and label"
    )

    @field_validator("notify_on", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_destination(self) -> AlertConfig:
        if (self.webhook is None) == (self.mqtt is None):
            raise ValueError("an alert needs either webhook or mqtt")
        return self


def missing_label(named: set[str], model: str, labels: tuple[str, ...]) -> str:
    """An error message for the first named label that the model lacks; "" if it has all."""
    missing = sorted(named - set(labels))
    if not missing:
        return ""
    return f"model {model} has no label {missing[0]!r}; it has {', '.join(labels[:20])}"
