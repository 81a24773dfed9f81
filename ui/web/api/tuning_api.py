"""The API to preview another event policy on stored scores, and to save it."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from stream.config.edit_yaml import events_text
from stream.config.events import EventsConfig, missing_label
from stream.messages import MAX_LABEL_LENGTH
from stream.pipeline import Pipeline
from stream.replay.policy_preview import PolicyPreview, ScoreRange
from ui.config_reload import ConfigReloader
from ui.web.api.configuration_api import CONFIG_ERRORS, ChangeResult, StrictRequest
from ui.web.api.errors import UNAVAILABLE, encodable, error_responses
from ui.web.api.events_api import in_utc, not_a_number
from ui.web.api.tuning_preview import PreviewResponse, preview_response

_MAX_CONCURRENT = 2  # previews; each occupies a core for a while
_MAX_DURATION_S = 86400.0


UtcTime = Annotated[
    datetime, Field(strict=False), BeforeValidator(not_a_number), AfterValidator(in_utc)
]
Label = Annotated[str, Field(max_length=MAX_LABEL_LENGTH)]
# Rounded for the file: ratios to four digits, durations to milliseconds.
Ratio = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda value: round(value, 4))]
Duration = Annotated[
    float,
    Field(ge=0, le=_MAX_DURATION_S, description="seconds"),
    AfterValidator(lambda value: round(value, 3)),
]


class LabelThresholds(StrictRequest):
    """The thresholds of one label; null means the same as for all labels."""

    threshold: Ratio | None = None
    release_threshold: Ratio | None = None
    min_duration: Duration | None = None
    merge_gap: Duration | None = None
    cooldown: Duration | None = None


class Policy(StrictRequest):
    """When predictions become an event, like `events:` in the configuration."""

    threshold: Ratio
    release_threshold: Ratio
    min_duration: Duration
    merge_gap: Duration
    cooldown: Duration
    smoothing: Duration
    exclude: list[Label] = Field([], max_length=1000)
    include: Annotated[list[Label], Field(max_length=1000)] | None = None
    unknown_below: Ratio | None = None
    labels: dict[Label, LabelThresholds] = Field({}, max_length=1000)


class PreviewRequest(StrictRequest):
    """A policy to preview, and the scores to use."""

    policy: Policy
    camera: Annotated[str, Field(max_length=200)]  # or "camera/zone"
    since: UtcTime
    until: UtcTime
    label: Label | None = None  # of the curve; default: the most frequent one


class SaveRequest(StrictRequest):
    """A policy to save."""

    policy: Policy


class Tuning(BaseModel):
    """The current policy, and what it can be previewed on."""

    policy: Policy  # the current one
    defaults: Policy
    model: str | None  # null until it is ready
    labels: list[str]
    background: list[str]  # labels without events
    cameras: list[str]  # cameras and zones with stored scores
    stores_scores: bool
    file: str  # name of the configuration file, "" if there is none
    save_error: str  # why the policy can't be saved, "" if it can


def router(pipeline: Pipeline, preview: PolicyPreview, reload: ConfigReloader) -> APIRouter:
    """/api/tuning."""
    api = APIRouter(prefix="/api")
    slots = threading.BoundedSemaphore(_MAX_CONCURRENT)

    @api.get("/tuning")
    def tuning(request: Request) -> Tuning:
        """The current policy, and what it can be previewed on."""
        config, spec = pipeline.config, pipeline.spec
        may_change = request.state.identity.may_change
        return Tuning(
            policy=_to_model(config.events),
            defaults=_to_model(EventsConfig()),
            model=spec.model if spec else None,
            labels=list(spec.labels) if spec else [],
            background=sorted(spec.background) if spec else [],
            cameras=preview.streams(),
            stores_scores=config.retention.scores > 0,
            file=reload.file.name if reload.file is not None and may_change else "",
            save_error=_save_error(reload, may_change),
        )

    @api.post(
        "/tuning",
        responses=UNAVAILABLE
        | error_responses(
            {
                400: "invalid policy, or not for these scores",
                404: "no scores of that camera are stored",
                409: "the model is not ready yet",
                429: "too many previews in progress",
            }
        ),
    )
    def preview_policy(request: PreviewRequest) -> PreviewResponse:
        """The events that a policy would have logged. Changes nothing."""
        policy = _to_config(request.policy)
        if request.until <= request.since:
            raise HTTPException(400, "until must be later than since")
        if pipeline.spec is None:
            raise HTTPException(409, "the model is not ready yet; try again when it is")
        if not slots.acquire(blocking=False):
            raise HTTPException(
                429, "too many previews in progress; try again", {"Retry-After": "1"}
            )
        try:
            if request.camera not in preview.streams():
                raise HTTPException(404, "no scores of that camera are stored")
            scores = ScoreRange(request.camera, pipeline.spec.model, request.since, request.until)
            return preview_response(preview, scores, policy, request.label)
        finally:
            slots.release()

    @api.put("/tuning", responses=CONFIG_ERRORS)
    def save(request: SaveRequest) -> ChangeResult:
        """Write a policy into the configuration file and apply it."""
        policy = _to_config(request.policy)
        if pipeline.spec is not None and (
            problem := missing_label(policy.named_labels, pipeline.spec.model, pipeline.spec.labels)
        ):
            raise HTTPException(400, encodable(problem))
        return ChangeResult.of(reload.save_policy(policy), reload)

    @api.post("/tuning/text", responses={400: CONFIG_ERRORS[400]})
    def text(request: SaveRequest) -> str:
        """A policy as YAML for a configuration file. Changes nothing."""
        return encodable(events_text(_to_config(request.policy)))

    return api


def _to_model(policy: EventsConfig) -> Policy:
    values = policy.model_dump()
    values["exclude"] = sorted(policy.exclude)
    values["include"] = sorted(policy.include) if policy.include is not None else None
    return Policy.model_construct(
        **values
        | {"labels": {k: LabelThresholds.model_construct(**v) for k, v in values["labels"].items()}}
    )


def _to_config(policy: Policy) -> EventsConfig:
    values = policy.model_dump()
    labels = {
        name: own
        for name, own in values["labels"].items()
        if any(value is not None for value in own.values())
    }
    try:
        return EventsConfig.model_validate(values | {"labels": labels})
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise HTTPException(400, encodable(reason)) from error


def _save_error(reload: ConfigReloader, may_change: bool) -> str:
    if not may_change:
        return "only operators can save the policy"
    if reload.file is None:
        return (
            "this run was started without a configuration file, so the policy can't be saved; "
            "put these lines into a file and start it with `actionwatch run FILE`"
        )
    return ""
