"""WebSockets end with the session that opened them."""

from __future__ import annotations

import asyncio

from starlette.types import Message

from tests.conftest import Clock
from ui.web.security.websocket_session import SESSION_OVER, Passage


def test_who_only_listens_is_hung_up_on_when_the_session_ends(clock: Clock) -> None:
    sent: list[Message] = []
    is_in = True

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def listen() -> Message:
        nonlocal is_in
        passage = Passage(lambda: is_in, silence, send, clock, every_s=0.01)
        listening = asyncio.create_task(passage.receive())
        await asyncio.sleep(0)
        is_in = False
        clock.seconds += 1
        return await asyncio.wait_for(listening, 10)

    assert asyncio.run(listen())["code"] == SESSION_OVER
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_what_is_said_comes_through(clock: Clock) -> None:
    async def hello() -> Message:
        return {"type": "websocket.receive", "text": "hello"}

    async def nothing(_: Message) -> None:
        raise AssertionError

    async def listen() -> Message:
        return await Passage(lambda: True, hello, nothing, clock).receive()

    assert asyncio.run(listen())["text"] == "hello"
