"""Monitoring endpoints: /healthz as JSON, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream.regions.clip_source import camera_of
from stream.runtime.metrics import Metrics
from ui.web.api.run_status import STATES, CameraStatus, RunStatus


def routes(status: RunStatus) -> list[Route]:
    """/healthz and /metrics.

    /healthz answers 200 while the run is active, whatever the state of its cameras; 503 when it has
    ended or one of its threads is hung.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))

    def healthz(_: Request) -> Response:
        body = health(status)
        return JSONResponse(body, 503 if body["ended"] or body["hung"] else 200)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


def health(status: RunStatus) -> dict[str, Any]:
    """The body of /healthz, JSON-ready; times in seconds."""
    pipeline, cameras = status.pipeline, status.cameras()
    return {
        "ended": pipeline.over.is_set(),
        "hung": status.hung_threads(),  # names of threads
        "failure": pipeline.failure,
        "event_log": pipeline.sinks.log_unavailable_reason,  # why it can't be written, "" if it can
        "model": pipeline.spec.model if pipeline.spec else None,  # None until a worker is ready
        "workers": pipeline.scheduler.workers,
        "not_live": [camera.name for camera in cameras if not camera.healthy],
        "cameras": {
            camera.name: {
                "state": camera.state,
                "reason": camera.reason,
                "state_s": round(camera.state_s, 1),
            }
            for camera in cameras
        },
    }


class _Collector:
    """Reads the counters and gauges of a run when Prometheus scrapes them."""

    def __init__(self, status: RunStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield from _counters(status.pipeline.metrics)
        yield from _camera_gauges(status.cameras())
        yield _gauge(
            "stage_seconds",
            "Recent latency of a pipeline stage",
            ("stage", "quantile"),
            {
                (stage.name, quantile): value
                for stage in status.stages()
                for quantile, value in (("0.5", stage.p50_s), ("0.95", stage.p95_s))
            },
        )
        if disk := status.disk():
            free, used = disk.free, {(kind,): size for kind, size in disk.used.items()}
            yield _gauge(
                "disk_free_bytes", "Free space on the disk of the data folder", (), {(): free}
            )
            yield _gauge("disk_used_bytes", "Used space by kind of file", ("kind",), used)
        workers = status.pipeline.scheduler.workers
        yield _gauge("workers", "Workers that requested clips recently", (), {(): workers})
        queues = {(name,): size for name, size in status.queues().items()}
        yield _gauge("queue_length", "Items in a queue", ("queue",), queues)


def _counters(metrics: Metrics) -> Iterable[Metric]:
    families: dict[str, CounterMetricFamily] = {}
    for (name, stream), count in metrics.counts().items():
        if name not in families:
            description = f"{name.replace('_', ' ').capitalize()}, see docs/"
            families[name] = CounterMetricFamily(
                f"actionwatch_{name}", description, labels=("camera", "zone")
            )
        camera = camera_of(stream)
        zone = stream.removeprefix(camera).removeprefix("/")
        families[name].add_metric((camera, zone), count)
    return families.values()


def _camera_gauges(cameras: list[CameraStatus]) -> Iterator[Metric]:
    yield _gauge(
        "camera_state",
        "1 for the current state",
        ("camera", "state"),
        {(camera.name, state): camera.state == state for camera in cameras for state in STATES},
    )
    yield _gauge(
        "camera_frames_per_second",
        "Average of the last seconds",
        ("camera",),
        {(camera.name,): camera.frames_per_s for camera in cameras},
    )
    yield _gauge(
        "prediction_age_seconds",
        "Age of the newest frame of the latest prediction",
        ("camera", "zone"),
        {(camera.name, zone): age_s for camera in cameras for zone, age_s in camera.ages_s.items()},
    )


def _gauge(
    name: str,
    description: str,
    labels: tuple[str, ...],
    values: Mapping[Any, float],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"actionwatch_{name}", description, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
