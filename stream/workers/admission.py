"""CURVE authentication of workers over tcp; a rejected worker logs the reason."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable

import zmq
from zmq.auth import Authenticator
from zmq.utils.monitor import recv_monitor_message

from stream.runtime.metrics import Metrics
from stream.workers.curve_auth import SERVER_FILE, ServerKeys, WorkerKeys
from stream.workers.endpoint import TransportError

_log = logging.getLogger(__name__)
_DOMAIN = "workers"
_HANDSHAKE_MS = 5000  # a client that connects and sends nothing is disconnected
_MAX_REQUESTS = 16  # answered per poll: a flood of connections must not starve the workers
_MAX_EVENTS = 100_000  # zmq's I/O thread blocks when the queue is full
_WARNING_INTERVAL_S = 60.0  # between two warnings of the same kind
_RECONNECT_DELAY_S = 5.0
_FAILED = (
    zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)
# After these zmq does not reconnect.
_PERMANENT = (zmq.Event.HANDSHAKE_FAILED_AUTH, zmq.Event.HANDSHAKE_FAILED_PROTOCOL)


class CurveServerAuth:
    """The server's side: accepts only known workers at the endpoints that `socket` binds later.

    zmq encrypts and checks that a peer has the secret to its public key. It asks over `zap_socket`
    whether that public key is known, and passes no message of the peer on before the reply of
    pyzmq's Authenticator. The counter and the log are own code: the Authenticator has none, passes
    no addresses on, and does not see handshakes that fail earlier.
    """

    def __init__(self, socket: zmq.Socket[bytes], keys: ServerKeys, metrics: Metrics) -> None:
        self._keys, self._metrics = keys, metrics
        self._logged_at: dict[zmq.Event, float] = {}  # monotonic seconds
        self._address = self._rejected_address = ""  # of the last client, and with an unknown key
        self._authenticator = Authenticator(socket.context)
        self._authenticator.configure_curve_callback(_DOMAIN, credentials_provider=self)
        self._authenticator.start()
        self.zap_socket = self._authenticator.zap_socket
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, keys.secret.encode())
        socket.set(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # no connection without a ZAP reply
        socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        self._events = _monitor_events(socket, _FAILED)

    def poll(self) -> None:
        """Answer pending authentication requests and count rejected clients. Does not wait.

        zmq disconnects clients that don't speak its protocol without an event.
        """
        for _ in range(_MAX_REQUESTS):
            if not self.zap_socket.poll(0):
                break
            request = self.zap_socket.recv_multipart()
            self._address = request[3].decode(errors="replace")
            # Run by hand, since it has nothing to wait for: an event loop would open descriptors,
            # and a flood of connections may have used up all of them.
            with contextlib.suppress(StopIteration):
                self._authenticator.handle_zap_message(request).send(None)
        while self._events.poll(0):
            event = recv_monitor_message(self._events)
            # The socket also has events of local workers, such as one killed while it connects.
            if not event["endpoint"].startswith(b"ipc:"):
                self._metrics.count("rejected_workers")
                self._log_rejection(zmq.Event(event["event"]))

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a public key is a worker's. The Authenticator calls it for each client."""
        worker = self._keys.workers.get(key.decode())
        if worker is None:
            self._rejected_address = self._address
        else:
            _log.info("worker %s connected from %s", worker, self._address)
        return worker is not None

    def _log_rejection(self, kind: zmq.Event) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(kind, -math.inf) < _WARNING_INTERVAL_S:
            return
        self._logged_at[kind] = now
        if kind == zmq.Event.HANDSHAKE_FAILED_AUTH:
            _log.warning(
                "rejected a worker from %s: its key is not in %s",
                self._rejected_address,
                self._keys.file,
            )
        else:
            _log.warning("rejected a client without keys, or with keys of another server")


class CurveClientMonitor:
    """The worker's side: connects with its keys and logs why it is rejected."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        endpoint: str,
        keys: WorkerKeys,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket, self._endpoint, self._keys, self._now = socket, endpoint, keys, now
        socket.set(zmq.CURVE_SERVERKEY, keys.server.encode())
        socket.set(zmq.CURVE_PUBLICKEY, keys.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, keys.secret.encode())
        socket.set(zmq.RECONNECT_IVL, 1000)  # a rejected worker must not retry ten times a second
        self._events = _monitor_events(socket, _FAILED | zmq.Event.HANDSHAKE_SUCCEEDED)
        self._logged: zmq.Event | None = None  # since it was last accepted
        self._reconnect_at: float | None = None

    def poll(self, *, served: bool) -> None:
        """Log once why the worker is rejected, and reconnect from time to time. Does not wait.

        Raises TransportError for a permanent rejection of a worker that was never `served`.
        """
        while self._events.poll(0):
            kind = zmq.Event(recv_monitor_message(self._events)["event"])
            if kind == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._logged = None
                continue
            if kind in _PERMANENT:
                if not served:
                    raise TransportError(self._reason(kind))
                self._reconnect_at = self._now() + _RECONNECT_DELAY_S
            if kind != self._logged:
                self._logged = kind
                _log.warning("%s", self._reason(kind))
        if self._reconnect_at is not None and self._now() > self._reconnect_at:
            self._reconnect_at = None
            with contextlib.suppress(zmq.ZMQError):  # zmq has dropped the endpoint already
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)

    def _reason(self, kind: zmq.Event) -> str:
        if kind == zmq.Event.HANDSHAKE_FAILED_AUTH:
            return (
                f"the server at {self._endpoint} does not know the key of {self._keys.file}; add "
                f"the line `worker NAME {self._keys.public}` to its {SERVER_FILE} and restart it"
            )
        if kind == zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
            return f"{self._endpoint} is not an Actionwatch server with worker.keys"
        return (
            f"{self._endpoint} closes the connection: it is not an Actionwatch server, or not "
            f"the one whose key is in {self._keys.file}; give the file that was created with that "
            "server's"
        )


def _monitor_events(socket: zmq.Socket[bytes], kinds: zmq.Event) -> zmq.Socket[bytes]:
    """A socket that receives these monitor events of another socket."""
    address = f"inproc://events-{id(socket)}"
    socket.monitor(address, kinds)
    events = socket.context.socket(zmq.PAIR)
    events.set(zmq.RCVHWM, _MAX_EVENTS)
    events.connect(address)
    return events
