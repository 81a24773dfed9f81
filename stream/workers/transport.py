"""The line between scheduler and workers: its two ends.

The worker asks and is answered; nothing waits in a queue between them. Each end belongs to one
thread, except `SchedulerEnd.wake`, which any thread may call.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import zmq

from stream.messages import Clip, ClipSpec, Scores
from stream.workers.admission import Admission, Knock
from stream.workers.curve_auth import WatchKeys, WorkerKeys
from stream.workers.endpoint import (
    TransportError,
    check_for_watch,
    check_for_worker,
    is_tcp,
    keep_to_oneself,
)
from stream.workers.wire import (
    Answer,
    Ask,
    Failure,
    Hello,
    Message,
    Refusal,
    Who,
    WireError,
    Work,
    pack,
    unpack,
)

_log = logging.getLogger(__name__)
_LARGEST_FROM_WORKER = 16 * 2**20  # bytes; answers are small, and strangers may not fill the memory
_ASK_AGAIN_S = 1.0


class SchedulerEnd:
    """Where workers connect: hears them one message at a time and answers by their identity.

    Workers of this machine connect to `local_endpoint`, a socket that only this user can reach. At
    a tcp address it listens besides, for workers of which it has the `keys`; `refused` is
    called for each other that tries to come in.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        keys: WatchKeys | None = None,
        malformed: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._malformed = malformed
        if endpoint is not None:
            check_for_watch(endpoint, keyed=keys is not None)
        with ExitStack() as undo:
            if endpoint is None or is_tcp(endpoint):
                folder = TemporaryDirectory(prefix="actionwatch-", ignore_cleanup_errors=True)
                local = f"ipc://{undo.enter_context(folder)}/workers"
            else:
                local = endpoint
            self._context = zmq.Context()
            undo.callback(self._context.destroy, linger=0)
            self._socket = self._context.socket(zmq.ROUTER)
            self._socket.set(zmq.LINGER, 0)
            self._socket.set(zmq.ROUTER_MANDATORY, 1)  # a worker that has gone is an error
            self._socket.set(zmq.ROUTER_HANDOVER, 1)  # a worker may come back under its name
            self._socket.set(zmq.MAXMSGSIZE, _LARGEST_FROM_WORKER)
            self.endpoint = self.local_endpoint = self._bind(local)
            keep_to_oneself(local)
            self._admission: Admission | None = None
            if endpoint is not None and keys is not None and is_tcp(endpoint):
                self._admission = Admission(self._context, keys, refused=refused)
                self._admission.guard(self._socket)  # only what is bound after it
                self.endpoint = self._bind(endpoint)
            self._wake_in, self._wake_out = socket.socketpair()
            undo.callback(self._wake_in.close)
            undo.callback(self._wake_out.close)
            self._resources = undo.pop_all()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake_out, zmq.POLLIN)
        if self._admission:
            self._poller.register(self._admission.asked, zmq.POLLIN)

    def _bind(self, endpoint: str) -> str:
        """The address that it has now, with the port that the system chose, if it did."""
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise TransportError(
                f"worker endpoint {endpoint} can't be used: {error}; "
                "give another one as worker.endpoint"
            ) from error
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def wait(self, timeout_s: float) -> None:
        """Return when there is something to receive, after `wake`, or after the time-out."""
        self._poller.poll(int(timeout_s * 1000))
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)

    def wake(self) -> None:
        """Make `wait` return. Any thread may call it."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._wake_in.send(b"!")

    def receive(self) -> tuple[bytes, Message] | None:
        """A worker's identity and its message, or None. What can't be read is refused."""
        if self._admission:
            self._admission.heed()
        while self._socket.poll(0):
            identity, *parts = self._socket.recv_multipart()
            try:
                return identity, unpack(parts)
            except WireError as error:
                self._malformed()
                _log.warning("refused a message: %s", error)
                self.send(identity, Refusal(str(error)[:200]))
        return None

    def send(self, identity: bytes, message: Message) -> bool:
        """Send without waiting. False where the worker has gone or takes no more."""
        try:
            self._socket.send_multipart([identity, *pack(message)], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return False
        return True

    def __enter__(self) -> SchedulerEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


class WorkerEnd:
    """A worker's line to the scheduler.

    Over tcp it comes with its `keys`. It says hello by itself: at first, and whenever a scheduler
    that was started anew asks who it is. `name` makes a worker that is started again known as the
    same one; `devices` is how many there are on this machine for workers like this one.
    """

    def __init__(
        self,
        endpoint: str,
        spec: ClipSpec | None,  # None: only to `fail`
        *,
        keys: WorkerKeys | None = None,
        name: str = "",
        devices: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_for_worker(endpoint, keyed=keys is not None)
        self._spec, self._devices = spec, devices
        self._now = now
        self._greeted = spec is None
        self._served = False
        self.malformed = 0  # messages that could not be read
        self._asked_at: float | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 500)  # a last answer or failure should still get away
        self._socket.set(zmq.IMMEDIATE, 1)  # without a connection nothing piles up
        self._socket.set(zmq.HEARTBEAT_IVL, 2000)
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, 10_000)
        if name:
            self._socket.set(zmq.IDENTITY, name.encode())
        self._knock: Knock | None = None
        if keys is not None and is_tcp(endpoint):
            self._knock = Knock(self._context, self._socket, endpoint, keys, now=now)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise TransportError(
                f"can't connect to {endpoint}: {error}; give an address like tcp://192.0.2.1:5555"
            ) from error

    def ask(self, *, room: int, timeout_s: float) -> tuple[Clip, ...]:
        """Ask for up to `room` clips and wait for them; empty where none came in time.

        Raises TransportError where the scheduler does not want this worker.
        """
        deadline = self._now() + timeout_s
        while True:
            if self._knock:
                self._knock.heed(served=self._served)
            left_s = min(deadline - self._now(), _ASK_AGAIN_S)
            if left_s < 0:
                return ()
            # What has come already comes first: asking before it is taken would bring a second
            # batch on top of it, and this worker would be one batch behind ever after.
            due = self._asked_at is None or self._now() > self._asked_at + _ASK_AGAIN_S
            if due and not self._socket.poll(0):
                # Without a connection wait for one; waiting for an answer would not notice it.
                if self._socket.poll(int(left_s * 1000) + 1, zmq.POLLOUT):
                    self._ask(room)
                continue
            if not self._socket.poll(int(left_s * 1000) + 1):
                continue
            try:
                message = unpack(self._socket.recv_multipart())
            except WireError as error:
                self.malformed += 1
                _log.warning("ignored a message, the %d. of its kind: %s", self.malformed, error)
                continue
            if isinstance(message, Work):
                self._asked_at, self._served = None, True
                return message.clips
            if isinstance(message, Who):
                self._greeted, self._asked_at = False, None
            elif isinstance(message, Refusal):
                if not self._served:
                    raise TransportError(f"refused by the scheduler: {message.reason}")
                _log.warning("the scheduler refused a message: %s", message.reason)

    def answer(self, scores: tuple[Scores, ...]) -> None:
        self._send(Answer(scores))

    def fail(self, reason: str) -> bool:
        """Tell the scheduler that this worker can't work; False where it can't be reached."""
        # Unlike the rest this is said once, so wait until there is a connection to say it on.
        return bool(self._socket.poll(2000, zmq.POLLOUT)) and self._send(Failure(reason))

    def _ask(self, room: int) -> None:
        if not self._greeted and self._spec is not None:
            self._greeted = self._send(Hello(self._spec, self._devices))
        if self._send(Ask(room)):
            self._asked_at = self._now()

    def _send(self, message: Message) -> bool:
        try:
            self._socket.send_multipart(pack(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def __enter__(self) -> WorkerEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy()
