"""Limits the size of request bodies, and stops reading at the limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 2**20  # our JSON is small, and no route accepts uploads


class LimitedBody:
    """Counts the bytes that an application reads; past the limit `reject` sends the response."""

    def __init__(self, receive: Receive, send: Send, reject: Callable[[], Awaitable[None]]) -> None:
        self._receive = receive
        self._send = send
        self._reject = reject
        self._read = 0
        self._responded = False

    async def call(self, app: ASGIApp, scope: Scope) -> None:
        """Run `app`, or reject the request in its place."""
        try:
            await app(scope, self._receive_limited, self._send_response)
        except ClientDisconnect:
            if not self._exceeded:
                raise
        if self._exceeded and not self._responded:
            await self._reject()

    @property
    def _exceeded(self) -> bool:
        return self._read > MAX_BODY_BYTES

    async def _receive_limited(self) -> Message:
        if self._exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._exceeded:
                return {"type": "http.disconnect"}
        return message

    async def _send_response(self, message: Message) -> None:
        if self._exceeded and not self._responded:
            return  # a response to a truncated request; the rejection replaces it
        self._responded = True
        await self._send(message)
