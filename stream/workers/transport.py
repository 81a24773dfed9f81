"""The ZeroMQ connection between scheduler (ROUTER) and workers (DEALER).

A worker pulls clips; no clip waits in a queue between them. Each socket belongs to one thread, but
any thread may call `SchedulerSocket.wake`.
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
from stream.runtime.metrics import Metrics
from stream.workers.admission import CurveClientMonitor, CurveServerAuth
from stream.workers.curve_auth import ServerKeys, WorkerKeys
from stream.workers.endpoint import (
    TransportError,
    check_bind_endpoint,
    check_connect_endpoint,
    is_tcp,
    restrict_to_owner,
)
from stream.workers.wire import (
    Batch,
    Failure,
    Hello,
    Identify,
    Message,
    Ready,
    Rejection,
    Result,
    WireError,
    pack,
    unpack,
)

_log = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 16 * 2**20  # results are small, and a client must not exhaust the memory
_READY_INTERVAL_S = 1.0


class SchedulerSocket:
    """The scheduler's socket; workers are addressed by their identity.

    Workers on this machine connect to `local_endpoint`, a socket that only this user can reach. A
    tcp endpoint is bound in addition, for workers with a public key in `keys`. Counts
    `malformed_messages`, and `rejected_workers`: every other client.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        metrics: Metrics | None = None,
        *,
        keys: ServerKeys | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        if endpoint is not None:
            check_bind_endpoint(endpoint, keyed=keys is not None)
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
            self._socket.set(zmq.ROUTER_MANDATORY, 1)  # a disconnected worker is an error
            self._socket.set(zmq.ROUTER_HANDOVER, 1)  # a restarted worker keeps its identity
            self._socket.set(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
            self.endpoint = self.local_endpoint = self._bind(local)
            restrict_to_owner(local)
            self._auth: CurveServerAuth | None = None
            if endpoint is not None and keys is not None and is_tcp(endpoint):
                self._auth = CurveServerAuth(self._socket, keys, self._metrics)
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
        if self._auth:
            self._poller.register(self._auth.zap_socket, zmq.POLLIN)

    def _bind(self, endpoint: str) -> str:
        """Bind and return the address, with the port if the system chose it."""
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise TransportError(
                f"worker endpoint {endpoint} can't be used: {error}; "
                "set worker.endpoint to another one"
            ) from error
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def wait(self, timeout_s: float) -> None:
        """Block until a message arrives, `wake` is called or the timeout expires."""
        self._poller.poll(int(timeout_s * 1000))
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)

    def wake(self) -> None:
        """Make `wait` return. Any thread may call it."""
        with contextlib.suppress(OSError):  # full: already awake; closed: no thread waits
            self._wake_in.send(b"!")

    def receive(self) -> tuple[bytes, Message] | None:
        """A worker's identity and message, or None. Malformed messages are rejected."""
        if self._auth:
            self._auth.poll()
        while self._socket.poll(0):
            identity, *parts = self._socket.recv_multipart()
            try:
                return identity, unpack(parts)
            except WireError as error:
                self._metrics.count("malformed_messages")
                _log.warning("rejected a malformed message: %s", error)
                self.send(identity, Rejection(str(error)[:200]))
        return None

    def send(self, identity: bytes, message: Message) -> bool:
        """Send without waiting. False if the worker is disconnected or its queue is full."""
        try:
            self._socket.send_multipart([identity, *pack(message)], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return False
        return True

    def __enter__(self) -> SchedulerSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


class WorkerClient:
    """A worker's connection to the scheduler.

    Over tcp it authenticates with its `keys`. It sends Hello first, and again when a restarted
    scheduler sends Identify. `name` identifies a worker across restarts; `devices` is the number
    of devices on this machine that could each run such a worker.
    """

    def __init__(
        self,
        endpoint: str,
        spec: ClipSpec | None,  # None: only for `report_failure`
        *,
        keys: WorkerKeys | None = None,
        name: str = "",
        devices: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_connect_endpoint(endpoint, keyed=keys is not None)
        self._spec, self._devices = spec, devices
        self._now = now
        self._hello_sent = spec is None
        self._served = False  # has received clips
        self.malformed = 0  # messages that could not be parsed
        self._ready_sent_at: float | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 500)  # so that a last result or failure is still sent
        self._socket.set(zmq.IMMEDIATE, 1)  # without a connection no messages queue up
        self._socket.set(zmq.HEARTBEAT_IVL, 2000)
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, 10_000)
        if name:
            self._socket.set(zmq.IDENTITY, name.encode())
        self._monitor: CurveClientMonitor | None = None
        if keys is not None and is_tcp(endpoint):
            self._monitor = CurveClientMonitor(self._socket, endpoint, keys, now=now)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise TransportError(
                f"can't connect to {endpoint}: {error}; give an address like tcp://192.0.2.1:5555"
            ) from error

    def request_clips(self, *, capacity: int, timeout_s: float) -> tuple[Clip, ...]:
        """Wait for up to `capacity` clips; empty after `timeout_s`.

        Raises TransportError if the scheduler rejects this worker.
        """
        deadline = self._now() + timeout_s
        while True:
            if self._monitor:
                self._monitor.poll(served=self._served)
            left_s = min(deadline - self._now(), _READY_INTERVAL_S)
            if left_s < 0:
                return ()
            # Receive pending clips first: another Ready would add a second batch, and this worker
            # would stay one batch behind.
            sent_at = self._ready_sent_at
            due = sent_at is None or self._now() > sent_at + _READY_INTERVAL_S
            if due and not self._socket.poll(0):
                # Without a connection wait for one; waiting for a message would not detect it.
                if self._socket.poll(int(left_s * 1000) + 1, zmq.POLLOUT):
                    self._send_ready(capacity)
                continue
            if not self._socket.poll(int(left_s * 1000) + 1):
                continue
            try:
                message = unpack(self._socket.recv_multipart())
            except WireError as error:
                self.malformed += 1
                _log.warning("ignored malformed message %d: %s", self.malformed, error)
                continue
            if isinstance(message, Batch):
                self._ready_sent_at, self._served = None, True
                return message.clips
            if isinstance(message, Identify):
                self._hello_sent, self._ready_sent_at = False, None
            elif isinstance(message, Rejection):
                if not self._served:
                    raise TransportError(f"rejected by the scheduler: {message.reason}")
                _log.warning("the scheduler rejected a message: %s", message.reason)

    def send_result(self, scores: tuple[Scores, ...]) -> None:
        self._send(Result(scores))

    def report_failure(self, reason: str) -> bool:
        """Report that this worker can't run; False if the scheduler can't be reached."""
        # A failure is sent only once, so wait for a connection.
        return bool(self._socket.poll(2000, zmq.POLLOUT)) and self._send(Failure(reason))

    def _send_ready(self, capacity: int) -> None:
        if not self._hello_sent and self._spec is not None:
            self._hello_sent = self._send(Hello(self._spec, self._devices))
        if self._send(Ready(capacity)):
            self._ready_sent_at = self._now()

    def _send(self, message: Message) -> bool:
        try:
            self._socket.send_multipart(pack(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy()
