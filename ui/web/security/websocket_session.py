"""A WebSocket that ends with the session that opened it: at logout, at expiry, with the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message, Receive, Send

SESSION_OVER = 4401  # the code that the other side is told


class Passage:
    """`receive` and `send` of a WebSocket, for as long as `is_in` says so. `now` is monotonic."""

    def __init__(
        self,
        is_in: Callable[[], bool],
        receive: Receive,
        send: Send,
        now: Callable[[], float],
        *,
        every_s: float = 5.0,
    ) -> None:
        self._is_in = is_in
        self._receive = receive
        self._send = send
        self._now = now
        self._every_s = every_s  # the session is looked at so often
        self._looked = now()
        self._over = False

    async def receive(self) -> Message:
        message = None if await self._ends() else await self._message()
        if message is not None and (
            message["type"] == "websocket.disconnect" or not await self._ends()
        ):
            return message
        return {"type": "websocket.disconnect", "code": SESSION_OVER, "reason": ""}

    async def _message(self) -> Message | None:
        """The next one; None where the session ends before it comes, as of who only listens."""
        asked = asyncio.ensure_future(self._receive())
        try:
            while not asked.done():
                await asyncio.wait({asked}, timeout=self._every_s)
                if not asked.done() and await self._ends():
                    return None
            return asked.result()
        finally:
            asked.cancel()

    async def send(self, message: Message) -> None:
        # Not while it is being opened: then its end could not be told.
        if message["type"] != "websocket.send" or not await self._ends():
            if self._over:
                return  # it was closed already
            await self._send(message)

    async def _ends(self) -> bool:
        """Whether it is over; closes it when that is found out."""
        if self._over or self._now() - self._looked < self._every_s:
            return self._over
        self._looked = self._now()
        if not self._is_in():
            self._over = True
            await self._send({"type": "websocket.close", "code": SESSION_OVER, "reason": ""})
        return self._over
