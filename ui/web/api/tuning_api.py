"""The API for trying another policy on kept scores, and for saving it."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stream.config.edit_yaml import events_text
from stream.config.events import EventsConfig, missing_label
from stream.messages import LONGEST_LABEL
from stream.pipeline import Pipeline
from stream.replay.policy_preview import About, TrialError, Trials
from ui.config_reload import Reload
from ui.web.api.configuration_api import REFUSED, Outcome, changed, plain
from ui.web.api.events_api import AWAY, Told, answered, in_utc
from ui.web.api.tuning_answer import Tried, tried

_AT_ONCE = 2  # trials; each takes a core for a while
_LONGEST_S = 86400.0
_SHARES = {"enter", "leave", "unknown"}


def _is_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a time like 2026-01-31T08:00:00Z")
    return value


Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_is_text), AfterValidator(in_utc)]
Label = Annotated[str, Field(max_length=LONGEST_LABEL)]
Share = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[float, Field(ge=0, le=_LONGEST_S, description="seconds")]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class LabelThresholds(_Body):
    """What holds for one label; what is null is as for all of them."""

    enter: Share | None = None
    leave: Share | None = None
    minimum: Duration | None = None
    merge_gap: Duration | None = None
    cool_down: Duration | None = None


class Policy(_Body):
    """When predictions become an event; as `events:` of the configuration."""

    enter: Share
    leave: Share
    minimum: Duration
    merge_gap: Duration
    cool_down: Duration
    smoothing: Duration
    ignore: Annotated[list[Label], Field(max_length=1000)] = []
    watch: Annotated[list[Label], Field(max_length=1000)] | None = None
    unknown: Share | None = None
    labels: Annotated[dict[Label, LabelThresholds], Field(max_length=1000)] = {}


class Wanted(_Body):
    """A policy to try, and on what."""

    policy: Policy
    camera: Annotated[str, Field(max_length=200)]  # or "camera/zone"
    since: Moment
    until: Moment
    label: Label | None = None  # whose curve is wanted


class Saved(_Body):
    """A policy to keep."""

    policy: Policy


class Tuning(BaseModel):
    """What there is to tune."""

    policy: Policy  # in force now
    usual: Policy  # what holds where nothing is written
    model: str | None  # null until it is ready
    labels: list[str]
    background: list[str]  # labels that make no events
    cameras: list[str]  # of which there are scores, and their zones
    keeps_scores: bool
    file: str  # the name of the configuration's file, "" without one
    cannot_save: str  # why not; "" where it can be saved


def router(pipeline: Pipeline, trials: Trials, reload: Reload) -> APIRouter:
    """/api/tuning."""
    api = APIRouter(prefix="/api")
    turns = threading.BoundedSemaphore(_AT_ONCE)

    @api.get("/tuning")
    def tuning(request: Request) -> Tuning:
        """The policy in force, and what it can be tried on."""
        config, spec = pipeline.config, pipeline.spec
        may_change = request.state.who.may_change
        return Tuning(
            policy=_shown(config.events),
            usual=_shown(EventsConfig()),
            model=spec.model if spec else None,
            labels=list(spec.labels) if spec else [],
            background=sorted(spec.background) if spec else [],
            cameras=trials.streams(),
            keeps_scores=config.retention.scores > 0,
            file=reload.file.name if reload.file is not None and may_change else "",
            cannot_save=_cannot_save(reload, may_change),
        )

    @api.post(
        "/tuning",
        responses=AWAY
        | {
            400: {"model": Told, "description": "such a policy can't be, or not on these scores"},
            404: {"model": Told, "description": "no scores of that camera are kept"},
            409: {"model": Told, "description": "the model is not ready yet"},
            429: {"model": Told, "description": "others are trying something at this moment"},
        },
    )
    def trial(wanted: Wanted) -> Tried:
        """What a policy would have logged. Changes nothing."""
        policy = _meant(wanted.policy)
        if wanted.until <= wanted.since:
            raise HTTPException(400, "until must be later than since")
        if pipeline.spec is None:
            raise HTTPException(409, "the model is not ready yet; try again when it is")
        if not turns.acquire(blocking=False):
            raise HTTPException(
                429, "others are trying something at this moment", {"Retry-After": "1"}
            )
        try:
            if wanted.camera not in trials.streams():
                raise HTTPException(404, "no scores of that camera are kept")
            about = About(wanted.camera, pipeline.spec.model, wanted.since, wanted.until)
            with answered():
                return tried(trials, about, policy, wanted.label)
        except TrialError as error:
            raise HTTPException(400, plain(str(error))) from error
        finally:
            turns.release()

    @api.put("/tuning", responses=REFUSED)
    def save(saved: Saved) -> Outcome:
        """Write a policy into the configuration's file, and let it hold from now on."""
        policy = _meant(saved.policy)
        if pipeline.spec is not None and (
            problem := missing_label(policy.named, pipeline.spec.model, pipeline.spec.labels)
        ):
            raise HTTPException(400, plain(problem))
        with changed():
            return Outcome.of(reload.save_policy(policy), reload)

    @api.post("/tuning/text", responses={400: REFUSED[400]})
    def text(saved: Saved) -> str:
        """A policy as it is written in a configuration's file. Changes nothing."""
        return plain(events_text(_meant(saved.policy)))

    return api


def _shown(policy: EventsConfig) -> Policy:
    values = policy.model_dump()
    values["ignore"] = sorted(policy.ignore)
    values["watch"] = sorted(policy.watch) if policy.watch is not None else None
    return Policy.model_construct(
        **values
        | {"labels": {k: LabelThresholds.model_construct(**v) for k, v in values["labels"].items()}}
    )


def _meant(policy: Policy) -> EventsConfig:
    values = _rounded(policy.model_dump())
    own = {label: kept for label, kept in values["labels"].items() if _any_set(kept)}
    try:
        return EventsConfig.model_validate(values | {"labels": own})
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise HTTPException(400, plain(reason)) from error


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as a person writes them into a file: to milliseconds, and four digits of a share."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _rounded(value)
        elif isinstance(value, float):
            value = round(value, 4 if key in _SHARES else 3)
        found[key] = value
    return found


def _any_set(values: dict[str, Any]) -> bool:
    return any(value is not None for value in values.values())


def _cannot_save(reload: Reload, may_change: bool) -> str:
    if not may_change:
        return "only operators can save it"
    if reload.file is None:
        return (
            "this watch was started without a configuration file, so there is nowhere to save it: "
            "put these lines into a file, and start with `actionwatch run FILE`"
        )
    return ""
