"""Messages <-> multipart bytes: a JSON header with a version, then raw bytes. Pure, no pickle.

From the worker: Hello, Ask, Answer, Failure. To the worker: Work, Who, Refusal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stream.messages import Clip, ClipSpec, Scores

VERSION = 1
_MOST_CLIPS = 256
_MOST_DEVICES = 64


class WireError(ValueError):
    """Bytes that are no message of this protocol. The message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker has its model ready."""

    spec: ClipSpec
    devices: int = 1  # on its machine, that could each have a worker like this one


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker is free for up to `room` clips. Asking again replaces the earlier question."""

    room: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker makes of clips."""

    scores: tuple[Scores, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker can't do its duty, now or at all, and says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Work:
    """Clips for a worker."""

    clips: tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class Who:
    """To a worker that asks without having said hello: the scheduler was started anew."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """To whoever sent a message that can't be read."""

    reason: str


Message = Hello | Ask | Answer | Failure | Work | Who | Refusal


def pack(message: Message) -> list[bytes | memoryview]:
    """A message as the parts of a multipart ZeroMQ message."""
    body: dict[str, Any] = {}
    arrays: list[np.ndarray] = []
    match message:
        case Hello(spec, devices):
            body = {**asdict(spec), "background": sorted(spec.background), "devices": devices}
        case Ask(room):
            body = {"room": room}
        case Failure(reason) | Refusal(reason):
            body = {"reason": reason}
        case Answer(scores):
            body = {"clips": [[s.number, s.inference_s] for s in scores]}
            arrays = [np.ascontiguousarray(s.probabilities, "<f4") for s in scores]
        case Work(clips):
            body = {
                "clips": [
                    [c.camera, c.number, list(c.frames.shape), c.times.tolist()] for c in clips
                ]
            }
            arrays = [np.ascontiguousarray(c.frames) for c in clips]
        case Who():
            pass
    header = {"v": VERSION, "type": type(message).__name__.lower(), **body}
    return [json.dumps(header).encode(), *(memoryview(array.data).cast("B") for array in arrays)]


def unpack(parts: Sequence[bytes | memoryview]) -> Message:
    """The message in the parts. Raises WireError for anything that `pack` would not have made."""
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
    if len(arrays) != len(clips) or len(clips) > _MOST_CLIPS:
        raise WireError(f"{len(clips)} clips announced, {len(arrays)} sent, {_MOST_CLIPS} allowed")
    match header.get("type"):
        case "hello":
            return Hello(_spec(header), min(max(1, int(header["devices"])), _MOST_DEVICES))
        case "ask":
            return Ask(min(max(1, int(header["room"])), _MOST_CLIPS))
        case "failure":
            return Failure(str(header["reason"]))
        case "refusal":
            return Refusal(str(header["reason"]))
        case "who":
            return Who()
        case "answer":
            return Answer(
                tuple(_scores(entry, data) for entry, data in zip(clips, arrays, strict=True))
            )
        case "work":
            return Work(
                tuple(_clip(entry, data) for entry, data in zip(clips, arrays, strict=True))
            )
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
    moments = np.array(times, np.float64)
    if len(moments) != len(frames):
        raise WireError(f"clip {number}: {len(frames)} frames but {len(moments)} times")
    return Clip(str(camera), int(number), frames, moments)
