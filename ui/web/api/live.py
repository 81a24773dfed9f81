"""The live-video route: a WebSocket for each viewer and camera, one frame in flight at a time.

The browser requests each frame by its display width in pixels, as digits, and gets one response
with the newest frame. A slow browser therefore gets fewer frames, never older ones. A response is
4 bytes (length of the header, big-endian), a JSON header (`live_state` and `_metadata`) and a
JPEG, which is empty if there is no new frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.capture.camera import Camera
from stream.events.processor import CameraView
from stream.messages import ClipSpec, Event
from stream.pipeline import Pipeline
from stream.runtime.metrics import Metrics
from ui.web.api.cameras_api import zone_outlines
from ui.web.api.run_status import utc_ago

_STATE_INTERVAL_S = 1.0  # a camera without new frames still sends its state
_IDLE_TIMEOUT_S = 1.0  # without a request; then no frames are needed for this viewer
_MIN_STALE_AFTER_S = 10.0
_STAGES = ("transport", "inference", "event_detection")  # as Metrics measures them
_WIDTH = re.compile(r"[1-9]\d{0,4}", re.ASCII)
_GOING_AWAY, _POLICY_VIOLATION, _NOT_FOUND = 1001, 1008, 4404


def routes(pipeline: Pipeline) -> list[WebSocketRoute]:
    """/live/CAMERA."""

    async def live(websocket: WebSocket) -> None:
        camera = pipeline.cameras.get(websocket.path_params["camera"])
        if camera is None:
            await websocket.close(_NOT_FOUND)
            return
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await _serve(websocket, pipeline, camera)

    return [WebSocketRoute("/live/{camera}", live)]


async def _serve(websocket: WebSocket, pipeline: Pipeline, camera: Camera) -> None:
    """Serve one browser until it disconnects or the camera is removed."""
    loop = asyncio.get_running_loop()
    shown, shown_width = -1, 0
    with contextlib.closing(_FrameSubscription(camera)) as subscription:
        while True:
            idle_timer = loop.call_later(_IDLE_TIMEOUT_S, subscription.close)
            try:
                width = await _requested_width(websocket)
            finally:
                idle_timer.cancel()
            if width is None:
                await websocket.close(_POLICY_VIOLATION, "send the frame's width, in digits")
                return
            requested_at = time.monotonic()
            subscription.start()
            await subscription.newer_than(shown)
            if pipeline.over.is_set() or pipeline.cameras.get(camera.name) is not camera:
                await websocket.close(_GOING_AWAY)
                return
            if width > shown_width:  # send the same frame again: it was smaller
                shown = -1
            response, shown = await asyncio.to_thread(
                _response, pipeline, camera, width, shown, requested_at
            )
            shown_width = width
            await websocket.send_bytes(response)


async def _requested_width(websocket: WebSocket) -> int | None:
    """The width in the next request, None if the request is invalid."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", _GOING_AWAY))
    text = message.get("text") or ""
    return int(text) if _WIDTH.fullmatch(text) else None


class _FrameSubscription:
    """One viewer's subscription to a camera's frames. Belongs to the event loop's thread."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._loop = asyncio.get_running_loop()
        self._new_frame = asyncio.Event()
        self._new_frame.set()  # the current frame will do for the first response
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._camera.latest_frame.subscribe(self._on_frame)

    def close(self) -> None:
        """Stop receiving frames; `start` resumes."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._new_frame.clear()

    async def newer_than(self, shown: int) -> None:
        """Wait for a frame after `shown`, at most `_STATE_INTERVAL_S`."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait(shown), _STATE_INTERVAL_S)

    async def _wait(self, shown: int) -> None:
        while True:
            await self._new_frame.wait()
            self._new_frame.clear()
            frame = self._camera.latest_frame.frame
            if frame is not None and frame.index != shown:
                return

    def _on_frame(self) -> None:  # on the capture thread
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._new_frame.set)


def _response(
    pipeline: Pipeline, camera: Camera, width: int, shown: int, requested_at: float
) -> tuple[bytes, int]:
    """The next response, and the index of its frame or of the frame shown before."""
    frame, jpeg = camera.latest_frame.frame, b""
    if frame is not None and frame.index != shown:
        newest = camera.latest_frame.jpeg(width)
        if newest is not None:
            frame, jpeg = newest
            shown = frame.index
    seen_at = frame.seen_at if frame is not None else None
    views = pipeline.processor.views(camera.name)
    now = time.monotonic()
    state = live_state(
        camera.name,
        camera.state,
        camera.reason or camera.fault,
        views,
        pipeline.metrics,
        waiting=waiting_for(pipeline.config.model, pipeline.spec, views, now),
        now=now,
        top=pipeline.config.dashboard.top_k,
    )
    metadata = _metadata(camera, seen_at, requested_at, now)
    header = json.dumps({**state, **metadata}, separators=(",", ":")).encode()
    return len(header).to_bytes(4, "big") + header + jpeg, shown


def _metadata(
    camera: Camera, seen_at: float | None, requested_at: float, now: float
) -> dict[str, Any]:
    """Facts of the frame and of the camera itself; times are milliseconds."""
    return {
        "fault": camera.fault,
        "since": utc_ago(now - camera.since_at),  # start of this state or fault
        "frame_age_ms": round(1000 * (now - seen_at)) if seen_at is not None else None,
        "server_ms": round(1000 * (now - requested_at)),  # between request and response
        "zones": [zone.model_dump() for zone in zone_outlines(camera)],
    }


def waiting_for(
    model: str, spec: ClipSpec | None, views: Mapping[str, CameraView], now: float
) -> str:
    """Why a camera has no current prediction; "" if it has one."""
    if spec is None:
        return f"waiting for model {model}"
    newest_at = _newest_at(views)
    if newest_at is None:
        return f"collecting the first {spec.span_s:.1f} s"
    # A large model on a small machine may need as long as its clips last.
    if now - newest_at > max(_MIN_STALE_AFTER_S, 2 * spec.span_s):
        return f"no prediction for {now - newest_at:.0f} s"
    return ""


def live_state(
    name: str,
    state: str,
    reason: str,
    views: Mapping[str, CameraView],
    metrics: Metrics,
    *,
    waiting: str,
    now: float,
    top: int,
) -> dict[str, Any]:
    """The state that is sent to the browser with a frame, JSON-ready.

    `views` are by zone, as of EventProcessor; `waiting` is from `waiting_for`; `now` is
    monotonic seconds; ages are in milliseconds. `labels` are (zone, label, probability), and
    `stages` (name, latency of the latest prediction, recent p50, recent p95).
    """
    newest_at = _newest_at(views)
    return {
        "camera": name,
        "state": state,
        "reason": reason,
        "waiting": waiting,
        "frames_per_s": round(metrics.rate("frames", name), 1),
        "predictions_per_s": round(metrics.rate("windows", name), 1),
        "age_ms": _ms(now - newest_at) if newest_at is not None else None,
        "stages": _stages(views, metrics),
        "labels": [
            [zone, label, round(probability, 3)]
            for zone, view in views.items()
            if view.prediction is not None
            for label, probability in view.prediction.top(top if len(views) == 1 else 1)
        ],
        "events": [
            _badge(zone, event) for zone, view in views.items() for event in view.open_events
        ],
    }


def _stages(views: Mapping[str, CameraView], metrics: Metrics) -> list[tuple[str, int, int, int]]:
    """Latency from the newest frame of a window to its result, by stage, in order.

    `queueing` lasts until the window is cut and includes capture; its percentiles are the part of
    the age that no other stage accounts for.
    """
    processed = [view for view in views.values() if view.processed_at is not None]
    if not processed:
        return []
    last = _last(max(processed, key=lambda view: view.processed_at or 0.0))
    recent = {stage: metrics.percentiles(stage, max_age_s=1.0) for stage in ("age", *_STAGES)}
    p50 = {stage: latency.p50 or 0.0 for stage, latency in recent.items()}
    p95 = {stage: latency.p95 or 0.0 for stage, latency in recent.items()}
    for times in (p50, p95):
        times["queueing"] = max(0.0, times.pop("age") - times["transport"] - times["inference"])
    return [
        (stage, _ms(last[stage]), _ms(p50[stage]), _ms(p95[stage]))
        for stage in ("queueing", *_STAGES)
    ]


def _last(view: CameraView) -> dict[str, float]:
    """Latency of each stage of a prediction, in seconds."""
    prediction, processed_at = view.prediction, view.processed_at
    if (
        prediction is None
        or processed_at is None
        or prediction.sent_at is None
        or prediction.received_at is None
    ):
        return dict.fromkeys(("queueing", *_STAGES), 0.0)
    return {
        "queueing": prediction.sent_at - prediction.newest_at,
        "transport": max(0.0, prediction.received_at - prediction.sent_at - prediction.inference_s),
        "inference": prediction.inference_s,
        "event_detection": processed_at - prediction.received_at,
    }


def _newest_at(views: Mapping[str, CameraView]) -> float | None:
    """Monotonic seconds of the newest frame with a prediction."""
    return max(
        (view.prediction.newest_at for view in views.values() if view.prediction is not None),
        default=None,
    )


def _badge(zone: str, event: Event) -> dict[str, Any]:
    return {
        "zone": zone,
        "label": event.label,
        "duration_s": round(event.latest_s - event.start_s, 1),
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
