"""Monitoring endpoints: /healthz as JSON, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream.regions.clip_source import camera_of
from ui.web.api.run_status import RunStatus

_STATES = ("connecting", "live", "stalled", "offline", "ended", "failed")


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
        self._pipeline = status.pipeline

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._cameras()
        yield from self._stages()
        yield from self._disk()
        pipeline = self._pipeline
        yield _gauge("workers", "Workers that requested clips recently", pipeline.scheduler.workers)
        queues = GaugeMetricFamily(
            "actionwatch_queue_length", "Items in a queue", labels=("queue",)
        )
        for name, size in self._status.queues().items():
            queues.add_metric((name,), size)
        yield queues

    def _counters(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for (name, stream), count in self._pipeline.metrics.counts().items():
            if name not in families:
                description = f"{name.replace('_', ' ').capitalize()}, see docs/"
                families[name] = CounterMetricFamily(
                    f"actionwatch_{name}", description, labels=("camera", "zone")
                )
            camera = camera_of(stream)
            zone = stream.removeprefix(camera).removeprefix("/")
            families[name].add_metric((camera, zone), count)
        yield from families.values()

    def _cameras(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "actionwatch_camera_state", "1 for the current state", labels=("camera", "state")
        )
        rates = GaugeMetricFamily(
            "actionwatch_camera_frames_per_second",
            "Average of the last seconds",
            labels=("camera",),
        )
        ages = GaugeMetricFamily(
            "actionwatch_prediction_age_seconds",
            "Age of the newest frame of the latest prediction",
            labels=("camera", "zone"),
        )
        for camera in self._status.cameras():
            for state in _STATES:
                states.add_metric((camera.name, state), camera.state == state)
            rates.add_metric((camera.name,), camera.frames_per_s)
            for zone, age_s in camera.ages_s.items():
                ages.add_metric((camera.name, zone), age_s)
        yield from (states, rates, ages)

    def _stages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "actionwatch_stage_seconds",
            "Recent latency of a pipeline stage",
            labels=("stage", "quantile"),
        )
        for name, stage in self._status.stages().items():
            family.add_metric((name, "0.5"), stage.p50_s)
            family.add_metric((name, "0.95"), stage.p95_s)
        yield family

    def _disk(self) -> Iterator[Metric]:
        disk = self._status.disk()
        if disk is None:
            return
        yield _gauge("disk_free_bytes", "Free space on the disk of the data folder", disk.free)
        used = GaugeMetricFamily(
            "actionwatch_disk_used_bytes", "Used space by kind of file", labels=("kind",)
        )
        for name, size in disk.used.items():
            used.add_metric((name,), size)
        yield used


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"actionwatch_{name}", description, value=value)
