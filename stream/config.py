"""The whole configuration: pydantic models, read from YAML. Unknown keys are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ConfigError(ValueError):
    """A configuration that can't be used. The message is one line for a person."""


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*", value)
    if not match:
        raise ValueError("a duration is a positive number with ms, s, m or h, like 0.25s")
    return float(match[1]) * _UNITS[match[2] or "s"]


def _workers(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 64):
        return value
    if isinstance(value, str) and value.isdigit():  # from the command line
        return _workers(int(value))
    raise ValueError("'auto', or a number from 1 to 64")


Seconds = Annotated[float, BeforeValidator(_seconds)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Relative = Annotated[float, Field(ge=0, le=1)]


class ZoneConfig(_Section):
    """A part of a camera's picture that is watched by itself."""

    points: list[tuple[Relative, Relative]] = Field(
        min_length=2,
        description="two opposite corners, or a polygon; x and y from 0 to 1, from the upper left",
    )
    mask: bool = Field(False, description="what is outside of the polygon is black for the model")

    @model_validator(mode="after")
    def _has_an_area(self) -> ZoneConfig:
        for axis, name in enumerate(("x", "y")):
            values = [point[axis] for point in self.points]
            if max(values) - min(values) < 0.01:
                raise ValueError(f"points must span more than 0.01 in {name}")
        return self


class MotionGateConfig(_Section):
    """Windows without motion are not sent to the model."""

    area: Share = Field(0.002, description="share of the picture that has to change")
    difference: Annotated[float, Field(gt=0, le=255)] = Field(
        10.0, description="grey levels by which it has to change"
    )
    look_every: Annotated[Seconds, Field(gt=0, le=3600)] = Field(
        2.0, description="the model looks at least this often all the same"
    )


class CameraConfig(_Section):
    """One camera."""

    source: int | str = Field(
        description="webcam index, rtsp:// or http:// address, video file, or demo:SEED; "
        "${NAME} and ${file:PATH} in an address stay out of everything that is shown"
    )
    fit: Literal["crop", "squash", "letterbox"] | None = Field(
        None,
        description="what the model sees of a wide picture: its middle, all of it bent, or all of "
        "it between bars; as the model was trained if left out",
    )
    zones: dict[Name, ZoneConfig] = Field(
        {}, description="parts of the picture to watch by themselves, instead of the whole"
    )
    motion_gate: MotionGateConfig | None = Field(
        None, description="spares the model what does not move; {} takes the usual values"
    )

    @model_validator(mode="before")
    @classmethod
    def _gate_by_a_word(cls, values: Any) -> Any:
        """`motion_gate:` and `motion_gate: true` mean the usual values, `false` means none."""
        if isinstance(values, dict) and "motion_gate" in values:
            meant: dict[bool | None, dict[str, Any] | None] = {None: {}, True: {}, False: None}
            gate = values["motion_gate"]
            if gate is None or isinstance(gate, bool):
                values = {**values, "motion_gate": meant[gate]}
        return values

    transport: Literal["tcp", "udp"] = Field("tcp", description="of RTSP")
    open_timeout: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        4.0, description="of a network camera: how long it may take to be opened"
    )
    read_timeout: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        3.0, description="of a network camera: how long one read may take"
    )
    stall_after: Annotated[Seconds, Field(gt=0, le=600)] = Field(
        5.0, description="a camera that brings nothing new for so long is opened anew"
    )
    retry_max: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        30.0, description="the longest pause before a camera is tried again"
    )


class WindowConfig(_Section):
    """How often the model looks. How long it looks at comes from the checkpoint."""

    stride: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        0.25, description="time between two windows"
    )


class LabelPolicy(_Section):
    """Thresholds of one label; what is left out is taken from `events`."""

    enter: Share | None = None
    leave: Share | None = None
    minimum: Annotated[Seconds, Field(ge=0)] | None = None


class EventsConfig(_Section):
    """When predictions become an event."""

    enter: Share = Field(0.6, description="an event begins at this smoothed probability")
    leave: Share = Field(0.4, description="and ends below this one")
    minimum: Annotated[Seconds, Field(ge=0)] = Field(0.5, description="shorter events are dropped")
    smoothing: Annotated[Seconds, Field(ge=0)] = Field(
        0.3, description="time constant of the exponential smoothing"
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


class InferenceConfig(_Section):
    """How the model is run. "auto" is what is fastest on the machine without losing accuracy."""

    engine: Literal["torch", "openvino"] = Field(
        "torch", description="openvino is an extra: pip install 'actionwatch[openvino]'"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto", description="bf16 where processor or GPU has it, else fp32, or fp16 on older GPUs"
    )
    device: str = Field(
        "auto",
        description="auto: a GPU where there is one; or cpu, cuda, cuda:1, ...",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile, or CUDA graphs on a GPU; auto: the graphs alone"
    )
    batch: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="most clips that are scored at once"
    )


class WorkerConfig(InferenceConfig):
    """The processes that run the model."""

    local: bool = Field(True, description="start workers here; false waits for one to connect")
    workers: Annotated[Literal["auto"] | int, BeforeValidator(_workers)] = Field(
        "auto", description="how many are started here; auto: one for each GPU, or one"
    )
    endpoint: str | None = Field(
        None,
        description="ZeroMQ address where workers connect, like tcp://127.0.0.1:5555; "
        "a private ipc socket if left out",
        pattern=r"^(tcp|ipc)://.+",
    )
    batch_wait: Annotated[Seconds, Field(ge=0, le=10)] = Field(
        0.0,
        description="how long a window may wait for those of other cameras, to be scored together",
    )
    ready_within: Annotated[Seconds, Field(gt=0)] = Field(
        1800.0, description="a worker that is not ready after this long, loading, is started anew"
    )
    answer_within: Annotated[Seconds, Field(gt=0)] = Field(
        30.0, description="a clip without an answer after this long counts as lost"
    )

    @model_validator(mode="after")
    def _reachable(self) -> WorkerConfig:
        if not self.local and self.endpoint is None:
            raise ValueError("local: false needs an endpoint where the worker can connect")
        return self


class DashboardConfig(_Section):
    """The web page."""

    enabled: bool = True
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = 7860
    top: Annotated[int, Field(ge=1, le=20)] = Field(3, description="labels shown as bars")


class Config(_Section):
    """One watch: the cameras, the model, and what is kept."""

    # "model" as a field is what a person writes; pydantic's own prefix is "model_".
    model: str = Field(
        "motion",
        description="an embedded model's name, a checkpoint folder, or a Hugging Face name",
    )
    cameras: dict[Name, CameraConfig] = Field(
        {"demo": CameraConfig(source="demo:")}, min_length=1, description="by a name of your choice"
    )
    window: WindowConfig = WindowConfig()
    events: EventsConfig = EventsConfig()
    worker: WorkerConfig = WorkerConfig()
    data: Path = Field(Path("actionwatch-data"), description="folder of the event log")
    dashboard: DashboardConfig = DashboardConfig()


_WORDS = {  # pydantic's, for people who write YAML
    "model_type": "must hold keys, like {source: ...} of a camera",
    "dict_type": "must hold names or keys, each with its value",
    "missing": "is missing",
    "too_short": "has too little in it: cameras need at least 1, zones two corners or a polygon's "
    "points",
    "too_long": "has too much in it: a point is [x, y]",
}
_PATTERNS = {
    r"^(auto|cpu|cuda(:\d+)?)$": "must be auto, cpu, cuda or cuda:1",
    r"^(tcp|ipc)://.+": "must be an address like tcp://127.0.0.1:5555",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "a name has letters, digits, dots, dashes, underscores",
}


class _Once(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(file: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file, lay `overrides` (nested, of the same shape) over it, and check it all.

    Raises ConfigError, naming the file and the key, for what is unreadable, unknown or wrong.
    """
    values: Any = {}
    if file is not None:
        try:
            values = yaml.load(file.read_text(encoding="utf-8"), _Once) or {}
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise ConfigError(f"{file} can't be read: {reason}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" line {mark.line + 1}" if mark else ""
            raise ConfigError(f"{file}{where} is not YAML: {_one_line(error)}") from error
        if not isinstance(values, dict):
            raise ConfigError(
                f"{file} must hold keys like `cameras:`, got {_harmless(values)!r:.40}"
            )
    try:
        return Config.model_validate(_overlay(values, overrides or {}))
    except ValidationError as error:
        raise ConfigError(f"{file or 'command line'}: {_explain(error)}") from error


def inference(values: Mapping[str, Any]) -> InferenceConfig:
    """What the flags of a command choose; other keys and None are left alone.

    Raises ConfigError, naming the flag, for what can't be chosen.
    """
    chosen = {
        key: values[key] for key in InferenceConfig.model_fields if values.get(key) is not None
    }
    try:
        return InferenceConfig.model_validate(chosen)
    except ValidationError as error:
        raise ConfigError(f"--{_explain(error)}") from error


def _overlay(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        below = merged.get(key, {})
        if isinstance(change, dict) and key != "cameras":
            # What is no section stays as it is, to be named as the mistake that it is.
            merged[key] = _overlay(below, change) if isinstance(below, dict) else below
        else:
            merged[key] = change
    return merged


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _explain(error: ValidationError) -> str:
    """The first mistake in one line: where, what was expected, what came."""
    found = error.errors(include_url=False)
    # A misspelt key is the cause where its right spelling is also reported as missing.
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    *parents, key = [str(part) for part in first["loc"]] or [""]
    where = ".".join(_harmless(part) for part in (*parents, key))
    more = f"; {len(found) - 1} more to mend after it" if len(found) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(parents)) or "none"
        return f"unknown key {where!r}; known here: {known}{more}"
    reason = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        reason = _PATTERNS.get(first["ctx"]["pattern"], reason)
    came = first["input"]
    shown = f", got {_harmless(came)!r:.60}" if isinstance(came, (str, int, float)) else ""
    return f"{where}: {reason}{shown}{more}" if where else f"{reason}{more}"


def _harmless(value: Any) -> Any:
    """What came, unless it may be an address: those hold passwords."""
    return "(an address)" if "://" in str(value) or "@" in str(value) else value


def _known_keys(parents: list[str]) -> list[str]:
    """The keys of the section that `parents` lead to."""
    section: Any = Config
    for part in parents:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
            if isinstance(section, UnionType):  # a section, or None
                section = section.__args__[0]
        else:  # a mapping from names of the user's choice to sections
            section = section.__args__[1]
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []
