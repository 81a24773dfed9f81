"""The complete configuration as pydantic models. Unknown keys are errors."""

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
from stream.config.types import Name, Ratio, Seconds, Section


def _worker_count(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 64):
        return value
    if isinstance(value, str) and value.isdigit():  # from the command line
        return _worker_count(int(value))
    raise ValueError("'auto', or a number from 1 to 64")


class ZoneConfig(Section):
    """A region of a camera's image that is classified separately."""

    points: list[tuple[Ratio, Ratio]] = Field(
        min_length=2,
        description="two opposite corners, or a polygon; x and y from 0 to 1, from the upper left",
    )
    mask: bool = Field(False, description="black out pixels outside the polygon")

    @model_validator(mode="after")
    def _has_an_area(self) -> ZoneConfig:
        for axis, name in enumerate(("x", "y")):
            values = [point[axis] for point in self.points]
            if max(values) - min(values) < 0.01:
                raise ValueError(f"points must span more than 0.01 in {name}")
        return self


class MotionGateConfig(Section):
    """Windows without motion are not sent to the model."""

    min_area: Ratio = Field(0.002, description="fraction of the image that must change")
    pixel_threshold: float = Field(
        10.0, gt=0, le=255, description="minimum change of a pixel, in gray levels"
    )
    max_interval: Annotated[Seconds, Field(gt=0, le=3600)] = Field(
        2.0, description="longest time without a window for the model, even without motion"
    )


class CameraConfig(Section):
    """One camera."""

    source: int | str = Field(
        description="webcam index, rtsp:// or http:// URL, video file, or demo:SEED; ${NAME} and "
        "${file:PATH} in a URL are resolved and never shown"
    )
    fit: Literal["crop", "squash", "letterbox"] | None = Field(
        None,
        description="how a frame is fitted to the model's input: center crop, stretched, or with "
        "bars; default: as the model was trained",
    )
    zones: dict[Name, ZoneConfig] = Field(
        {}, description="regions to classify separately, instead of the whole frame"
    )
    motion_gate: MotionGateConfig | None = Field(
        None, description="skip windows without motion; {} uses the default values"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_motion_gate(cls, values: Any) -> Any:
        """`motion_gate:` and `motion_gate: true` mean the default values, `false` means off."""
        if isinstance(values, dict) and "motion_gate" in values:
            expanded: dict[bool | None, dict[str, Any] | None] = {None: {}, True: {}, False: None}
            gate = values["motion_gate"]
            if gate is None or isinstance(gate, bool):
                values = {**values, "motion_gate": expanded[gate]}
        return values

    transport: Literal["tcp", "udp"] = Field("tcp", description="RTSP transport")
    open_timeout: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        4.0, description="timeout for opening a network camera"
    )
    read_timeout: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        3.0, description="timeout for one read from a network camera"
    )
    stall_timeout: Annotated[Seconds, Field(gt=0, le=600)] = Field(
        5.0, description="a camera without a new frame for this long is reopened"
    )
    max_retry_delay: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        30.0, description="longest delay between connection attempts"
    )


class WindowConfig(Section):
    """How often a window is classified. The checkpoint defines the length of a window."""

    stride: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        0.25, description="time from one window to the next"
    )


class InferenceConfig(Section):
    """How the model runs. "auto" selects the fastest option that keeps the accuracy."""

    engine: str = Field(
        "torch",
        description="torch, or openvino, an extra: pip install 'actionwatch[openvino]'",
        pattern=r"^[a-z0-9_]+$",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="auto: bf16 if the CPU or GPU supports it, else fp32, or fp16 on older GPUs",
    )
    device: str = Field(
        "auto",
        description="auto: a GPU if available; or cpu, cuda, cuda:1, ...",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile, or CUDA graphs on a GPU; auto: only CUDA graphs"
    )
    max_batch_size: int = Field(4, ge=1, le=256, description="most clips in one forward pass")


class WorkerConfig(InferenceConfig):
    """The processes that run the model."""

    local: bool = Field(True, description="start local workers; false waits for a remote one")
    count: Annotated[Literal["auto"] | int, BeforeValidator(_worker_count)] = Field(
        "auto", description="number of local workers; auto: one per GPU, or one"
    )
    endpoint: str | None = Field(
        None,
        description="ZeroMQ address to which remote workers connect, like tcp://0.0.0.0:5555; "
        "local workers use a private ipc socket",
        pattern=r"^(tcp|ipc)://.+",
    )
    keys: Path | None = Field(
        None,
        description="file with the server's keys, for workers over tcp; created by "
        "`actionwatch worker-keys`",
    )
    max_queue_delay: Annotated[Seconds, Field(ge=0, le=10)] = Field(
        0.0, description="how long a window may wait for windows of other cameras to fill a batch"
    )
    startup_timeout: Annotated[Seconds, Field(gt=0)] = Field(
        1800.0, description="a worker that has not loaded the model by then is restarted"
    )
    result_timeout: Annotated[Seconds, Field(gt=0)] = Field(
        30.0, description="a clip without a result by then counts as lost"
    )

    @model_validator(mode="after")
    def _check_endpoint(self) -> WorkerConfig:
        if not self.local and self.endpoint is None:
            raise ValueError("local: false needs an endpoint to which workers can connect")
        if (self.endpoint or "").startswith("tcp:") and self.keys is None:
            raise ValueError(
                "a tcp endpoint needs keys, or anybody could connect; create them with "
                "`actionwatch worker-keys DIR`, and give DIR/server.keys as worker.keys"
            )
        return self


class Config(Section):
    """One run: the cameras, the model, and what is stored."""

    # "model" is the key that a person writes; pydantic reserves the prefix "model_".
    model: str = Field(
        "motion",
        description="name of an embedded model, a checkpoint folder, or a Hugging Face name",
    )
    cameras: dict[Name, CameraConfig] = Field(
        {"demo": CameraConfig(source="demo:")}, min_length=1, description="by any name"
    )
    window: WindowConfig = WindowConfig()
    events: EventsConfig = EventsConfig()
    worker: WorkerConfig = WorkerConfig()
    recording: RecordingConfig = RecordingConfig()
    retention: RetentionConfig = RetentionConfig()
    alerts: dict[Name, AlertConfig] = Field({}, description="where events are sent, by any name")
    publish: str | None = Field(
        None,
        description="ZeroMQ address on which predictions and events are published, like "
        "tcp://127.0.0.1:5556",
        pattern=r"^(tcp|ipc)://.+",
    )
    data: Path = Field(
        Path("actionwatch-data"), description="folder for the event log, clips and scores"
    )
    database: str | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST/NAME for the event log instead of a file in "
        "`data`; ${NAME} and ${file:PATH} are resolved and never shown; an extra: "
        "pip install 'actionwatch[postgres]'",
        pattern=r"^postgresql://.+",
    )
    dashboard: DashboardConfig = DashboardConfig()

    @model_validator(mode="after")
    def _check_alert_cameras(self) -> Config:
        known = {*self.cameras} | {
            f"{name}/{zone}" for name, camera in self.cameras.items() for zone in camera.zones
        }
        for name, alert in self.alerts.items():
            unknown = sorted((alert.cameras or frozenset()) - known)
            if unknown:
                raise ValueError(
                    f"alerts.{name}.cameras: unknown camera {unknown[0]!r}; "
                    f"known: {', '.join(sorted(known))}"
                )
        return self

    def labels_by_key(self) -> dict[str, set[str]]:
        """The labels that the configuration names, by key; the model must have them."""
        named = {"events": self.events.named_labels, "retention.labels": set(self.retention.labels)}
        for name, alert in self.alerts.items():
            named[f"alerts.{name}.labels"] = set(alert.labels or ())
        return {key: labels - {UNKNOWN} for key, labels in named.items()}
