"""The live-video route: a WebSocket for each viewer, one picture under way at a time.

The browser acknowledges each picture before it gets the next, so a slow one gets fewer, never
older ones. A message is 4 bytes (length of the header, big-endian), a JSON header
(`views.live_state`) and a JPEG, which is empty while there is no new picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.capture import Camera
from stream.pipeline import Pipeline
from ui.views import live_state, waiting_for

_STATE_EVERY_S = 1.0  # a camera that gives no picture still tells its state
_NO_SUCH_CAMERA, _FOREIGN_PAGE, _GOING_AWAY = 4404, 4403, 1001


async def serve_live(websocket: WebSocket, pipeline: Pipeline) -> None:
    """Send one camera's pictures to one browser until it goes."""
    camera = pipeline.cameras.get(websocket.path_params["camera"])
    if camera is None:
        await websocket.close(_NO_SUCH_CAMERA)
        return
    if not _same_origin(websocket):
        await websocket.close(_FOREIGN_PAGE)
        return
    await websocket.accept()
    fresh = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:  # on the capture thread
        with contextlib.suppress(RuntimeError):  # the loop was closed in this very moment
            loop.call_soon_threadsafe(fresh.set)

    unsubscribe = camera.picture.subscribe(tell)
    shown = -1
    fresh.set()
    try:
        while not pipeline.over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(fresh.wait(), _STATE_EVERY_S)
            fresh.clear()
            message, shown = await asyncio.to_thread(_message, pipeline, camera, shown)
            await websocket.send_bytes(message)
            if (await websocket.receive())["type"] == "websocket.disconnect":
                return
        await websocket.close(_GOING_AWAY)
    except WebSocketDisconnect:
        pass
    finally:
        unsubscribe()


def _message(pipeline: Pipeline, camera: Camera, shown: int) -> tuple[bytes, int]:
    """The next message, and the index of the frame in it (or of the one shown before)."""
    picture = camera.picture.jpeg()
    is_new = picture is not None and picture[0].index != shown
    views = pipeline.views(camera.name)
    state = live_state(
        camera.name,
        camera.state,
        camera.reason or camera.fault,
        views,
        pipeline.metrics,
        waiting=waiting_for(pipeline.config.model, pipeline.spec, views),
        now=time.monotonic(),
        top=pipeline.config.dashboard.top,
    )
    header = json.dumps(state).encode()
    jpeg = picture[1] if picture is not None and is_new else b""
    index = picture[0].index if picture is not None else shown
    return len(header).to_bytes(4, "big") + header + jpeg, index


def _same_origin(websocket: WebSocket) -> bool:
    """Whether the page that opens the socket is ours: browsers let any page connect anywhere."""
    origin = websocket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == websocket.headers.get("host")
