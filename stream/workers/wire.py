"""Messages <-> multipart bytes: a JSON header with a version, then raw bytes. Pure, no pickle.

From the worker: Hello, Ready, Result, Failure. To the worker: Batch, Identify, Rejection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stream.messages import Clip, ClipSpec, Scores

VERSION = 2
_MAX_CLIPS = 256
_MAX_DEVICES = 64


class WireError(ValueError):
    """The bytes are not a message of this protocol; the error message gives the reason."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker has loaded its model."""

    spec: ClipSpec
    devices: int = 1  # on its machine that could each run such a worker


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is ready for up to `capacity` clips. Replaces its earlier Ready."""

    capacity: int


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of clips."""

    scores: tuple[Scores, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker can't run its model; `reason` is one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips for a worker to score."""

    clips: tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class Identify:
    """To a worker that sent no Hello, because the scheduler was restarted."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """To the sender of a malformed or unexpected message."""

    reason: str


Message = Hello | Ready | Result | Failure | Batch | Identify | Rejection


def pack(message: Message) -> list[bytes | memoryview]:
    """A message as the parts of a multipart ZeroMQ message."""
    body: dict[str, Any] = {}
    arrays: list[np.ndarray] = []
    match message:
        case Hello(spec, devices):
            body = {**asdict(spec), "background": sorted(spec.background), "devices": devices}
        case Ready(capacity):
            body = {"capacity": capacity}
        case Failure(reason) | Rejection(reason):
            body = {"reason": reason}
        case Result(scores):
            body = {"clips": [[s.number, s.inference_s] for s in scores]}
            arrays = [np.ascontiguousarray(s.probabilities, "<f4") for s in scores]
        case Batch(clips):
            body = {
                "clips": [
                    [c.camera, c.number, list(c.frames.shape), c.times.tolist()] for c in clips
                ]
            }
            arrays = [np.ascontiguousarray(c.frames) for c in clips]
        case Identify():
            pass
    header = {"v": VERSION, "type": type(message).__name__.lower(), **body}
    return [json.dumps(header).encode(), *(memoryview(array.data).cast("B") for array in arrays)]


def unpack(parts: Sequence[bytes | memoryview]) -> Message:
    """Parse a multipart message. Raises WireError for anything that `pack` can't have made."""
    try:
        return _unpack(parts)
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise WireError(f"malformed message: {type(error).__name__}: {error}") from error


def _unpack(parts: Sequence[bytes | memoryview]) -> Message:
    if not parts:
        raise WireError("empty message")
    header = json.loads(bytes(parts[0]))
    if not isinstance(header, dict) or header.get("v") != VERSION:
        version = header.get("v") if isinstance(header, dict) else None
        raise WireError(f"protocol version {VERSION} expected, got {version!r:.20}")
    arrays = parts[1:]
    clips = header.get("clips", [])
    if len(arrays) != len(clips) or len(clips) > _MAX_CLIPS:
        raise WireError(f"{len(clips)} clips announced, {len(arrays)} sent, {_MAX_CLIPS} allowed")
    match header.get("type"):
        case "hello":
            return Hello(_spec(header), min(max(1, int(header["devices"])), _MAX_DEVICES))
        case "ready":
            return Ready(min(max(1, int(header["capacity"])), _MAX_CLIPS))
        case "failure":
            return Failure(str(header["reason"]))
        case "rejection":
            return Rejection(str(header["reason"]))
        case "identify":
            return Identify()
        case "result":
            return Result(tuple(map(_scores, clips, arrays)))
        case "batch":
            return Batch(tuple(map(_clip, clips, arrays)))
    raise WireError(f"unknown type {header.get('type')!r:.40}")


def _spec(header: dict[str, Any]) -> ClipSpec:
    return ClipSpec(
        model=str(header["model"]),
        labels=tuple(str(label) for label in header["labels"]),
        background=frozenset(str(label) for label in header["background"]),
        frames=int(header["frames"]),
        span_s=float(header["span_s"]),
        height=int(header["height"]),
        width=int(header["width"]),
        fit=str(header["fit"]),
        shortest_edge=int(header["shortest_edge"]),
    )


def _scores(entry: list[Any], data: bytes | memoryview) -> Scores:
    number, inference_s = entry
    probabilities = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(probabilities).all():
        raise WireError(f"clip {number}: probabilities must be finite")
    return Scores(int(number), probabilities, float(inference_s))


def _clip(entry: list[Any], data: bytes | memoryview) -> Clip:
    camera, number, shape, times = entry
    frames = np.frombuffer(data, np.uint8).reshape(shape)
    times_s = np.array(times, np.float64)
    if len(times_s) != len(frames):
        raise WireError(f"clip {number}: {len(frames)} frames but {len(times_s)} times")
    return Clip(str(camera), int(number), frames, times_s)
