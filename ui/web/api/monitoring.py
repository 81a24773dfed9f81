"""What a run tells other programs: /healthz as JSON, /metrics for Prometheus."""

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
from ui.web.api.run_status import Condition

_STATES = ("connecting", "live", "stalled", "offline", "ended", "failed")


def routes(condition: Condition) -> list[Route]:
    """/healthz answers 200 while the run goes on, whatever its cameras do; 503 when it is over, or
    one of its threads stands still."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(condition))

    def healthz(_: Request) -> Response:
        found = health(condition)
        return JSONResponse(found, 503 if found["over"] or found["stuck"] else 200)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


def health(condition: Condition) -> dict[str, Any]:
    """What works and what does not, JSON-ready; times in seconds."""
    pipeline, cameras = condition.pipeline, condition.cameras()
    return {
        "over": pipeline.over.is_set(),
        "stuck": pipeline.stuck,
        "failure": pipeline.failure,
        "event_log": pipeline.log_away,  # why it can't be written now; "" where it can
        "model": pipeline.spec.model if pipeline.spec else None,  # None until a worker is ready
        "workers": pipeline.workers,
        "not_live": [camera.name for camera in cameras if not camera.well],
        "cameras": {
            camera.name: {
                "state": camera.state,
                "reason": camera.reason,
                "for_s": round(camera.for_s, 1),
            }
            for camera in cameras
        },
    }


class _Collector:
    """Reads what a run has counted at the moment when Prometheus asks."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._pipeline = condition.pipeline

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._cameras()
        yield from self._stages()
        yield from self._disk()
        pipeline = self._pipeline
        yield _gauge("workers", "Workers that asked for clips of late", pipeline.workers)
        queues = GaugeMetricFamily("actionwatch_queue", "Waiting now", labels=("of",))
        for name, size in pipeline.queues.items():
            queues.add_metric((name,), size)
        yield queues

    def _counters(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for (name, stream), count in self._pipeline.metrics.counts().items():
            if name not in families:
                about = f"{name.replace('_', ' ').capitalize()}, see docs/"
                families[name] = CounterMetricFamily(
                    f"actionwatch_{name}", about, labels=("camera", "zone")
                )
            camera = camera_of(stream)
            zone = stream.removeprefix(camera).removeprefix("/")
            families[name].add_metric((camera, zone), count)
        yield from families.values()

    def _cameras(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "actionwatch_camera_state", "1 for the state that it is in", labels=("camera", "state")
        )
        rates = GaugeMetricFamily(
            "actionwatch_camera_frames_per_second", "Of the last seconds", labels=("camera",)
        )
        ages = GaugeMetricFamily(
            "actionwatch_prediction_age_seconds",
            "Since the newest picture that the latest prediction saw",
            labels=("camera", "zone"),
        )
        for camera in self._condition.cameras():
            for state in _STATES:
                states.add_metric((camera.name, state), camera.state == state)
            rates.add_metric((camera.name,), camera.frames_per_s)
            for zone, age_s in camera.ages_s.items():
                ages.add_metric((camera.name, zone), age_s)
        yield from (states, rates, ages)

    def _stages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "actionwatch_stage_seconds", "Of the latest ones", labels=("stage", "quantile")
        )
        for name, stage in self._condition.stages().items():
            family.add_metric((name, "0.5"), stage.p50_s)
            family.add_metric((name, "0.95"), stage.p95_s)
        yield family

    def _disk(self) -> Iterator[Metric]:
        disk = self._condition.disk()
        if disk is None:
            return
        yield _gauge("disk_free_bytes", "Free on the disk of the data folder", disk.free)
        used = GaugeMetricFamily("actionwatch_disk_used_bytes", "By kind", labels=("of",))
        for name, size in disk.used.items():
            used.add_metric((name,), size)
        yield used


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"actionwatch_{name}", about, value=value)
