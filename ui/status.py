"""What a run tells other programs: /healthz as JSON, /metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream.capture import ENDED, LIVE
from stream.clip_stream import camera_of
from stream.pipeline import Pipeline

_STATES = ("connecting", "live", "stalled", "offline", "ended", "failed")


def routes(pipeline: Pipeline) -> list[Route]:
    """/healthz answers 200 while the run goes on, whatever its cameras do; 503 when it is over, or
    one of its threads stands still."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(pipeline))

    def healthz(_: Request) -> Response:
        found = health(pipeline)
        return JSONResponse(found, 503 if found["over"] or found["stuck"] else 200)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


def health(pipeline: Pipeline, *, now: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """What works and what does not, JSON-ready; times in seconds."""
    cameras = {
        name: {
            "state": camera.state,
            "reason": camera.reason or camera.fault,
            "for_s": round(now() - camera.changed_at, 1),
        }
        for name, camera in pipeline.cameras.items()
    }
    return {
        "over": pipeline.over.is_set(),
        "stuck": pipeline.stuck,
        "failure": pipeline.failure,
        "event_log": pipeline.log_away,  # why it can't be written now; "" where it can
        "model": pipeline.spec.model if pipeline.spec else None,  # None until a worker is ready
        "workers": pipeline.workers,
        "not_live": [
            name for name, camera in cameras.items() if camera["state"] not in (LIVE, ENDED)
        ],
        "cameras": cameras,
    }


class _Collector:
    """Reads what a pipeline has counted at the moment when Prometheus asks."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._cameras()
        yield from self._stages()
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
        pipeline = self._pipeline
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
        now = time.monotonic()
        for name, camera in pipeline.cameras.items():
            for state in _STATES:
                states.add_metric((name, state), camera.state == state)
            rates.add_metric((name,), pipeline.metrics.rate("frames", name))
            for zone, view in pipeline.views(name).items():
                if view.prediction is not None:
                    ages.add_metric((name, zone), now - view.prediction.newest_at)
        yield from (states, rates, ages)

    def _stages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "actionwatch_stage_seconds", "Of the latest ones", labels=("stage", "quantile")
        )
        metrics = self._pipeline.metrics
        for stage in metrics.measured():
            found = metrics.percentiles(stage, not_older_than_s=1.0)
            for quantile, value in (("0.5", found.p50), ("0.95", found.p95)):
                if value is not None:
                    family.add_metric((stage, quantile), value)
        yield family


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"actionwatch_{name}", about, value=value)
