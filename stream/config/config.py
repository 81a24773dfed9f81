"""The whole configuration: pydantic models. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from stream.config.dashboard import DashboardConfig
from stream.config.events import (
    UNKNOWN,
    AlertConfig,
    EventsConfig,
    RecordingConfig,
    RetentionConfig,
)
from stream.config.types import Name, Seconds, Section, Share


def _workers(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 64):
        return value
    if isinstance(value, str) and value.isdigit():  # from the command line
        return _workers(int(value))
    raise ValueError("'auto', or a number from 1 to 64")


Relative = Annotated[float, Field(ge=0, le=1)]


class ZoneConfig(Section):
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


class MotionGateConfig(Section):
    """Windows without motion are not sent to the model."""

    area: Share = Field(0.002, description="share of the picture that has to change")
    difference: Annotated[float, Field(gt=0, le=255)] = Field(
        10.0, description="grey levels by which it has to change"
    )
    look_every: Annotated[Seconds, Field(gt=0, le=3600)] = Field(
        2.0, description="the model looks at least this often all the same"
    )


class CameraConfig(Section):
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


class WindowConfig(Section):
    """How often the model looks. How long it looks at comes from the checkpoint."""

    stride: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        0.25, description="time between two windows"
    )


class InferenceConfig(Section):
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
        description="ZeroMQ address where workers of other machines connect, like "
        "tcp://0.0.0.0:5555; local ones have a private ipc socket",
        pattern=r"^(tcp|ipc)://.+",
    )
    keys: Path | None = Field(
        None,
        description="file with the watch's keys, for workers over tcp; `actionwatch keys` makes it",
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
        if (self.endpoint or "").startswith("tcp:") and self.keys is None:
            raise ValueError(
                "an endpoint over tcp needs keys, or anybody could connect; make them with "
                "`actionwatch keys DIR`, and give DIR/watch.keys as worker.keys"
            )
        return self


class Config(Section):
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
    recording: RecordingConfig = RecordingConfig()
    retention: RetentionConfig = RetentionConfig()
    alerts: dict[Name, AlertConfig] = Field({}, description="who is told, by a name of your choice")
    publish: str | None = Field(
        None,
        description="ZeroMQ address where predictions and events are published for other programs, "
        "like tcp://127.0.0.1:5556",
        pattern=r"^(tcp|ipc)://.+",
    )
    data: Path = Field(
        Path("actionwatch-data"), description="folder of the event log, clips and scores"
    )
    database: str | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST/NAME for the event log instead of a file in "
        "`data`; ${NAME} and ${file:PATH} stay out of everything that is shown; an extra: "
        "pip install 'actionwatch[postgres]'",
        pattern=r"^postgresql://.+",
    )
    dashboard: DashboardConfig = DashboardConfig()

    @model_validator(mode="after")
    def _alerts_of_cameras_that_are_there(self) -> Config:
        known = {*self.cameras} | {
            f"{name}/{zone}" for name, camera in self.cameras.items() for zone in camera.zones
        }
        for name, alert in self.alerts.items():
            unknown = sorted((alert.cameras or frozenset()) - known)
            if unknown:
                raise ValueError(
                    f"alerts.{name}.cameras: there is no camera {unknown[0]!r}; "
                    f"there is {', '.join(sorted(known))}"
                )
        return self

    def labels_named(self) -> dict[str, set[str]]:
        """The labels that are named, by the key under which they are; the model must have them."""
        named = {"events": self.events.named, "retention.labels": set(self.retention.labels)}
        for name, alert in self.alerts.items():
            named[f"alerts.{name}.labels"] = set(alert.labels or ())
        return {key: labels - {UNKNOWN} for key, labels in named.items()}
