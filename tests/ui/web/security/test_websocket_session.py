"""WebSockets close when the session that opened them ends."""

from __future__ import annotations

import asyncio

from starlette.types import Message

from tests.conftest import Clock
from ui.web.security.guard import SESSION_ENDED, SessionBoundWebSocket


def test_websocket_that_only_receives_closes_with_the_session(clock: Clock) -> None:
    sent: list[Message] = []
    is_authorized = True

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def listen() -> Message:
        nonlocal is_authorized
        websocket = SessionBoundWebSocket(
            lambda: is_authorized, silence, send, clock, check_interval_s=0.01
        )
        receiving = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        is_authorized = False
        clock.seconds += 1
        return await asyncio.wait_for(receiving, 10)

    assert asyncio.run(listen())["code"] == SESSION_ENDED
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_messages_are_passed_on(clock: Clock) -> None:
    async def hello() -> Message:
        return {"type": "websocket.receive", "text": "hello"}

    async def nothing(_: Message) -> None:
        raise AssertionError

    async def listen() -> Message:
        return await SessionBoundWebSocket(lambda: True, hello, nothing, clock).receive()

    assert asyncio.run(listen())["text"] == "hello"
