"""Closes a WebSocket when its session ends: at logout, expiry, or removal of the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message, Receive, Send

SESSION_ENDED = 4401  # close code


class SessionBoundWebSocket:
    """`receive` and `send` of a WebSocket while `is_authorized()`. `now` is monotonic."""

    def __init__(
        self,
        is_authorized: Callable[[], bool],
        receive: Receive,
        send: Send,
        now: Callable[[], float],
        *,
        check_interval_s: float = 5.0,
    ) -> None:
        self._is_authorized = is_authorized
        self._receive = receive
        self._send = send
        self._now = now
        self._check_interval_s = check_interval_s
        self._checked_at = now()
        self._ended = False

    async def receive(self) -> Message:
        message = None if await self._check_ended() else await self._next_message()
        if message is not None and (
            message["type"] == "websocket.disconnect" or not await self._check_ended()
        ):
            return message
        return {"type": "websocket.disconnect", "code": SESSION_ENDED, "reason": ""}

    async def _next_message(self) -> Message | None:
        """The next message, or None if the session ends first, as for clients that only receive."""
        pending = asyncio.ensure_future(self._receive())
        try:
            while not pending.done():
                await asyncio.wait({pending}, timeout=self._check_interval_s)
                if not pending.done() and await self._check_ended():
                    return None
            return pending.result()
        finally:
            pending.cancel()

    async def send(self, message: Message) -> None:
        # Not during the handshake, when it can't be closed with a code.
        if message["type"] != "websocket.send" or not await self._check_ended():
            if self._ended:
                return  # already closed
            await self._send(message)

    async def _check_ended(self) -> bool:
        """Whether the session has ended; closes the WebSocket when it finds that out."""
        if self._ended or self._now() - self._checked_at < self._check_interval_s:
            return self._ended
        self._checked_at = self._now()
        if not self._is_authorized():
            self._ended = True
            await self._send({"type": "websocket.close", "code": SESSION_ENDED, "reason": ""})
        return self._ended
