"""A request's body that may not be larger than a limit, and is not read further than that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 2**20  # bytes: JSON of ours is small, and nothing of ours takes uploads


class LimitedBody:
    """Counts what an application reads. Past the limit it gets no more, and `refuse` answers."""

    def __init__(self, receive: Receive, send: Send, refuse: Callable[[], Awaitable[None]]) -> None:
        self._receive = receive
        self._send = send
        self._refuse = refuse
        self._read = 0
        self._answered = False

    async def call(self, app: ASGIApp, scope: Scope) -> None:
        """Let `app` answer, or refuse for it."""
        try:
            await app(scope, self._take, self._answer)
        except ClientDisconnect:
            if not self._is_over:
                raise
        if self._is_over and not self._answered:
            await self._refuse()

    @property
    def _is_over(self) -> bool:
        return self._read > LARGEST_BODY

    async def _take(self) -> Message:
        if self._is_over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._is_over:
                return {"type": "http.disconnect"}
        return message

    async def _answer(self, message: Message) -> None:
        if self._is_over and not self._answered:
            return  # an answer to half a request; ours comes instead
        self._answered = True
        await self._send(message)
