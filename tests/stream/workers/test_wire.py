from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest

from stream.messages import Clip, ClipSpec, Scores
from stream.workers.wire import (
    VERSION,
    Batch,
    Failure,
    Hello,
    Identify,
    Ready,
    Rejection,
    Result,
    WireError,
    pack,
    unpack,
)


def clip(number: int = 1) -> Clip:
    frames = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    return Clip("door", number, frames, np.array([0.0, 0.1, 0.2, 0.3]))


def header(**changes: object) -> bytes:
    return json.dumps({"v": VERSION, "type": "ready", "capacity": 1, **changes}).encode()


def hello(**changes: object) -> bytes:
    spec = ClipSpec("small", ("a", "b"), frozenset(), 4, 0.4, 8, 8)
    return json.dumps({**json.loads(bytes(pack(Hello(spec))[0])), **changes}).encode()


def test_hello_is_parsed() -> None:
    assert isinstance(unpack([hello()]), Hello)
    assert unpack([hello(devices=10**9)]).devices == 64  # limited


@pytest.mark.parametrize(
    "message", [Ready(3), Failure("why"), Rejection("no"), Identify()], ids=repr
)
def test_small_messages_round_trip(message: Ready | Failure | Rejection | Identify) -> None:
    assert unpack(pack(message)) == message


def test_spec_round_trips(spec: ClipSpec) -> None:
    assert unpack(pack(Hello(spec, devices=3))) == Hello(spec, devices=3)


def test_clips_round_trip() -> None:
    unpacked = unpack([bytes(part) for part in pack(Batch((clip(1), clip(2))))])
    assert isinstance(unpacked, Batch)
    assert [c.number for c in unpacked.clips] == [1, 2]
    assert np.array_equal(unpacked.clips[0].frames, clip().frames)
    assert np.array_equal(unpacked.clips[0].times, clip().times)


def test_scores_round_trip() -> None:
    probabilities = np.array([0.25, 0.75], np.float32)
    unpacked = unpack(pack(Result((Scores(7, probabilities, 0.5),))))
    assert isinstance(unpacked, Result)
    assert (unpacked.scores[0].number, unpacked.scores[0].inference_s) == (7, 0.5)
    assert np.array_equal(unpacked.scores[0].probabilities, probabilities)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xff\xfe"],
        [b"null"],
        [b"[1]"],
        [b"{}"],
        [header(v=VERSION + 1)],
        [header(type="pickle")],
        [header(capacity="many")],
        [header().replace(b'"capacity": 1', b'"capacity": 1e999')],
        [hello(span_s=float("inf"))],
        [hello(span_s=float("nan"))],
        [hello(height=10**9)],
        [hello(frames=10**9)],
        [header(), b"stray bytes"],
        [header(type="result", clips=[[1, 0.1]])],
        [header(type="result", clips=[[1, 0.1]]), b"abc"],
        [header(type="result", clips=[[1]]), b"\0" * 8],
        [header(type="result", clips=[[1, 0.1]]), np.array([np.nan], "<f4").tobytes()],
        [header(type="result", clips=7)],
        [header(type="batch", clips=[["a", 1, [2, 8, 8, 3], [0.0]]]), b"\0" * 384],
        [header(type="batch", clips=[["a", 1, [2, 8, 8, 3], [0.0, 0.1]]]), b"\0" * 383],
        [header(type="hello")],
        [b"[" * 100_000],
    ],
)
def test_malformed_message_is_a_wire_error(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        unpack(parts)


def test_randomly_corrupted_bytes_are_a_wire_error_or_a_message() -> None:
    rng = random.Random(1)
    packed = [bytes(part) for part in pack(Batch((clip(),)))]
    outcomes = Counter[str]()
    for _ in range(500):
        parts = [bytearray(part) for part in packed]
        for _ in range(rng.randint(1, 4)):
            part = rng.choice(parts)
            part[rng.randrange(len(part))] = rng.randrange(256)
        try:
            outcomes[type(unpack([bytes(part) for part in parts])).__name__] += 1
        except WireError:
            outcomes["error"] += 1
    assert set(outcomes) == {"Batch", "error"}
