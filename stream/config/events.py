"""The configuration of what is kept of what happens, and who is told: events, clips, alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stream.config.types import Bytes, Seconds, Section, Share

UNKNOWN = "unknown"  # the label of an event during which the model was sure of nothing


class LabelPolicy(Section):
    """Thresholds of one label; what is left out is taken from `events`."""

    enter: Share | None = None
    leave: Share | None = None
    minimum: Annotated[Seconds, Field(ge=0)] | None = None
    merge_gap: Annotated[Seconds, Field(ge=0)] | None = None
    cool_down: Annotated[Seconds, Field(ge=0)] | None = None


class EventsConfig(Section):
    """When predictions become an event."""

    enter: Share = Field(0.6, description="an event begins at this smoothed probability")
    leave: Share = Field(0.4, description="and ends below this one")
    minimum: Annotated[Seconds, Field(ge=0)] = Field(0.5, description="shorter events are dropped")
    merge_gap: Annotated[Seconds, Field(ge=0)] = Field(
        1.0, description="what goes on again within this time is the same event"
    )
    cool_down: Annotated[Seconds, Field(ge=0)] = Field(
        0.0, description="for so long after an event there is no other one with its label"
    )
    smoothing: Annotated[Seconds, Field(ge=0)] = Field(
        0.3, description="time constant of the exponential smoothing"
    )
    ignore: frozenset[str] = Field(frozenset(), description="labels that make no events")
    watch: frozenset[str] | None = Field(
        None, description="the only labels that make events; all but the ignored ones if left out"
    )
    unknown: Share | None = Field(
        None,
        description=f"an event {UNKNOWN!r} while no label is that likely; none if left out",
    )
    labels: dict[str, LabelPolicy] = Field({}, description="other thresholds for single labels")

    @model_validator(mode="after")
    def _leave_below_enter(self) -> EventsConfig:
        for label in ("", *self.labels):
            policy = self.policy(label)
            if policy.leave > policy.enter:
                where = f"labels.{label}: " if label else ""
                raise ValueError(
                    f"{where}leave ({policy.leave}) must not be above enter ({policy.enter})"
                )
        return self

    def policy(self, label: str) -> EventsConfig:
        """The thresholds that hold for one label."""
        own = self.labels.get(label)
        changes = own.model_dump(exclude_none=True) if own else {}
        return self.model_copy(update=changes)

    @property
    def named(self) -> set[str]:
        """The labels that are named anywhere; the model must have them."""
        return (set(self.labels) | self.ignore | (self.watch or frozenset())) - {UNKNOWN}


class RecordingConfig(Section):
    """A video clip and a snapshot of each event."""

    enabled: bool = Field(False, description="keep them")
    pre_roll: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        3.0, description="how long before the event its clip begins"
    )
    post_roll: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        3.0, description="how long after the event its clip ends"
    )
    width: Annotated[int, Field(ge=64, le=3840)] = Field(
        960, description="widest picture of clips, in pixels; smaller ones stay as they are"
    )
    longest: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        300.0, description="a clip ends after this long, even if its event goes on"
    )
    memory: Bytes = Field(
        100_000_000, description="most memory for the pictures of one camera that wait, as JPEG"
    )


class LabelRetention(Section):
    """How long what belongs to one label is kept; what is left out is taken from `retention`."""

    events: Annotated[Seconds, Field(gt=0)] | None = None
    clips: Annotated[Seconds, Field(gt=0)] | None = None
    snapshots: Annotated[Seconds, Field(gt=0)] | None = None


class RetentionConfig(Section):
    """How long what a run writes is kept. Looked at once an hour, and by `events prune`."""

    events: Annotated[Seconds, Field(gt=0)] | None = Field(
        None, description="rows of the event log; for ever if left out"
    )
    clips: Annotated[Seconds, Field(gt=0)] = Field(30 * 86400.0, description="videos of events")
    snapshots: Annotated[Seconds, Field(gt=0)] = Field(
        30 * 86400.0, description="pictures of events"
    )
    scores: Annotated[Seconds, Field(ge=0)] = Field(
        7 * 86400.0, description="every window's scores, for `events replay`; 0s keeps none"
    )
    size: Bytes = Field(
        20_000_000_000, description="of clips, snapshots and scores together; oldest go first"
    )
    keep_free: Bytes = Field(
        1_000_000_000,
        description="with less free space no clips are written, with half of it no scores either",
    )
    labels: dict[str, LabelRetention] = Field({}, description="other times for single labels")


class AlertConfig(Section):
    """Who is told of events: a webhook or an MQTT broker."""

    webhook: str | None = Field(
        None,
        description="http:// or https:// address that is sent JSON; "
        "${NAME} and ${file:PATH} in it stay out of everything that is shown",
    )
    secret: str | None = Field(
        None, description="signs what a webhook is sent, see docs/alerts.md; ${NAME}, ${file:PATH}"
    )
    mqtt: str | None = Field(
        None,
        description="mqtt://USER:PASSWORD@HOST:1883 or mqtts://; an extra: "
        "pip install 'actionwatch[mqtt]'",
    )
    topic: str = Field(
        "actionwatch",
        pattern=r"^[^#+/\s][^#+\s]*$",
        description="of MQTT: events go to TOPIC/CAMERA/events, states to TOPIC/CAMERA/LABEL",
    )
    discovery: bool = Field(True, description="of MQTT: Home Assistant finds the labels by itself")
    when: frozenset[Literal["start", "end"]] = Field(
        frozenset({"start", "end"}), min_length=1, description="start, end, or both"
    )
    cameras: frozenset[str] | None = Field(None, description="only of these; all if left out")
    labels: frozenset[str] | None = Field(None, description="only these; all if left out")
    cool_down: Annotated[Seconds, Field(ge=0)] = Field(
        0.0, description="for so long after an alert no other one of its camera and label begins"
    )

    @field_validator("when", mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _goes_somewhere(self) -> AlertConfig:
        if (self.webhook is None) == (self.mqtt is None):
            raise ValueError("an alert needs either webhook or mqtt")
        return self


def missing_label(named: set[str], model: str, labels: tuple[str, ...]) -> str:
    """What to tell of a label that is named and that the model lacks; "" if all are there."""
    missing = sorted(named - set(labels))
    if not missing:
        return ""
    return f"model {model} has no label {missing[0]!r}; it has {', '.join(labels[:20])}"
