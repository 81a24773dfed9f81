from __future__ import annotations

import json
import random

import numpy as np
import pytest

from stream.messages import Clip, ClipSpec, Scores
from stream.workers.wire import (
    VERSION,
    Answer,
    Ask,
    Failure,
    Hello,
    Refusal,
    Who,
    WireError,
    Work,
    pack,
    unpack,
)


def clip(number: int = 1) -> Clip:
    frames = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    return Clip("door", number, frames, np.array([0.0, 0.1, 0.2, 0.3]))


def header(**changes: object) -> bytes:
    return json.dumps({"v": VERSION, "type": "ask", "room": 1, **changes}).encode()


def hello(**changes: object) -> bytes:
    spec = ClipSpec("small", ("a", "b"), frozenset(), 4, 0.4, 8, 8)
    return json.dumps({**json.loads(bytes(pack(Hello(spec))[0])), **changes}).encode()


def test_a_whole_hello_is_read() -> None:
    assert isinstance(unpack([hello()]), Hello)
    assert unpack([hello(devices=10**9)]).devices == 64  # nobody starts so many workers


@pytest.mark.parametrize("message", [Ask(3), Failure("why"), Refusal("no"), Who()], ids=repr)
def test_small_messages_come_back_as_they_were(message: Ask | Failure | Refusal | Who) -> None:
    assert unpack(pack(message)) == message


def test_a_spec_comes_back_as_it_was(spec: ClipSpec) -> None:
    assert unpack(pack(Hello(spec, devices=3))) == Hello(spec, devices=3)


def test_clips_come_back_as_they_were() -> None:
    back = unpack([bytes(part) for part in pack(Work((clip(1), clip(2))))])
    assert isinstance(back, Work)
    assert [c.number for c in back.clips] == [1, 2]
    assert np.array_equal(back.clips[0].frames, clip().frames)
    assert np.array_equal(back.clips[0].times, clip().times)


def test_scores_come_back_as_they_were() -> None:
    shares = np.array([0.25, 0.75], np.float32)
    back = unpack(pack(Answer((Scores(7, shares, 0.5),))))
    assert isinstance(back, Answer)
    assert (back.scores[0].number, back.scores[0].inference_s) == (7, 0.5)
    assert np.array_equal(back.scores[0].probabilities, shares)


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
        [header(room="many")],
        [b'{"v": 1, "type": "ask", "room": 1e999}'],
        [hello(span_s=float("inf"))],
        [hello(span_s=float("nan"))],
        [hello(height=10**9)],
        [hello(frames=10**9)],
        [header(), b"stray bytes"],
        [header(type="answer", clips=[[1, 0.1]])],
        [header(type="answer", clips=[[1, 0.1]]), b"abc"],
        [header(type="answer", clips=[[1]]), b"\0" * 8],
        [header(type="answer", clips=[[1, 0.1]]), np.array([np.nan], "<f4").tobytes()],
        [header(type="answer", clips=7)],
        [header(type="work", clips=[["a", 1, [2, 8, 8, 3], [0.0]]]), b"\0" * 384],
        [header(type="work", clips=[["a", 1, [2, 8, 8, 3], [0.0, 0.1]]]), b"\0" * 383],
        [header(type="hello")],
        [b"[" * 100_000],
    ],
)
def test_what_cannot_be_read_is_a_wire_error(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        unpack(parts)


def test_random_damage_is_a_wire_error_or_a_message() -> None:
    rng = random.Random(1)
    whole = [bytes(part) for part in pack(Work((clip(),)))]
    for _ in range(500):
        parts = [bytearray(part) for part in whole]
        for _ in range(rng.randint(1, 4)):
            part = rng.choice(parts)
            part[rng.randrange(len(part))] = rng.randrange(256)
        try:
            unpack([bytes(part) for part in parts])
        except WireError:
            continue
