"""Who may come in over tcp: strangers are refused, and a worker that is refused is told why."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from stream.workers.curve_auth import WATCH_FILE, WatchKeys, WorkerKeys
from stream.workers.endpoint import TransportError

_log = logging.getLogger(__name__)
_HANDSHAKE_MS = 5000  # a stranger that connects and says nothing is hung up on
_MOST_ASKED = 16  # that are answered at once: a crowd at the door must not starve the workers
_MOST_NEWS = 100_000  # zmq's own thread waits when it can't put more, so it should never have to
_QUIET_S = 60.0  # between two warnings of the same kind
_KNOCK_AGAIN_S = 5.0
_FAILED = (
    zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)
# After these zmq does not try again by itself.
_FOR_GOOD = (zmq.Event.HANDSHAKE_FAILED_AUTH, zmq.Event.HANDSHAKE_FAILED_PROTOCOL)


class Admission:
    """The watch's side: lets in those workers whose keys it has. One thread owns it.

    zmq encrypts and checks that a peer has the secret to its public key; whether that one is
    known it asks over a socket of fixed name (ZAP, rfc.zeromq.org/spec/27), `asked` here. Until
    it is answered, nothing of the peer is heard.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: WatchKeys,
        *,
        refused: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._keys = context, keys
        self._refused, self._now = refused, now
        self._told_at: dict[zmq.Event, float] = {}
        self._stranger = ""  # the address of the latest whose key is unknown
        self.asked = context.socket(zmq.REP)
        self.asked.bind("inproc://zeromq.zap.01")
        self._news: zmq.Socket[bytes] | None = None

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only known workers in at what this socket binds from now on."""
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
        socket.set(zmq.ZAP_DOMAIN, b"workers")
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody comes in unasked
        socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        self._news = _events_of(self._context, socket, _FAILED)

    def heed(self) -> None:
        """Answer who asks to come in, and count who was turned away. Does not wait.

        What does not even speak zmq's language is hung up on by zmq without being told of.
        """
        for _ in range(_MOST_ASKED):
            if not self.asked.poll(0):
                break
            self._answer(self.asked.recv_multipart())
        while self._news is not None and self._news.poll(0):
            event = parse_monitor_message(self._news.recv_multipart())
            # The events are those of the socket: also of a local worker that was killed as it came.
            if not event["endpoint"].startswith(b"ipc:"):
                self._refused()
                self._tell(zmq.Event(event["event"]))

    def _answer(self, request: list[bytes]) -> None:
        version, number, _, address, _, mechanism, *credentials = request
        worker = None
        if mechanism == b"CURVE" and len(credentials) == 1:
            worker = self._keys.workers.get(z85.encode(credentials[0]).decode())
        if worker is None:
            self._stranger = address.decode(errors="replace")
            self.asked.send_multipart([version, number, b"400", b"unknown key", b"", b""])
        else:
            _log.info("worker %s came from %s", worker, address.decode(errors="replace"))
            self.asked.send_multipart([version, number, b"200", b"OK", worker.encode(), b""])

    def _tell(self, kind: zmq.Event) -> None:
        told_at = self._told_at.get(kind)
        if told_at is not None and self._now() - told_at < _QUIET_S:
            return
        self._told_at[kind] = self._now()
        if kind == zmq.Event.HANDSHAKE_FAILED_AUTH:
            _log.warning(
                "refused a worker from %s: its key is not in %s", self._stranger, self._keys.file
            )
        else:
            _log.warning("refused a stranger that has no keys, or not those for this watch")


class Knock:
    """The worker's side: comes with its keys, and hears whether it is let in."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        endpoint: str,
        keys: WorkerKeys,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket, self._endpoint, self._keys, self._now = socket, endpoint, keys, now
        socket.set(zmq.CURVE_SERVERKEY, keys.watch.encode())
        socket.set(zmq.CURVE_PUBLICKEY, keys.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, keys.secret.encode())
        socket.set(zmq.RECONNECT_IVL, 1000)  # not ten times a second to where it is unwanted
        self._news = _events_of(context, socket, _FAILED | zmq.Event.HANDSHAKE_SUCCEEDED)
        self._told: zmq.Event | None = None  # since it was last let in
        self._again_at: float | None = None

    def heed(self, *, served: bool) -> None:
        """Tell once why it is not let in, and knock again now and then. Does not wait.

        Raises TransportError where it never was let in, and trying again would be no use.
        """
        while self._news.poll(0):
            kind = zmq.Event(parse_monitor_message(self._news.recv_multipart())["event"])
            if kind == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._told = None
                continue
            if kind in _FOR_GOOD:
                if not served:
                    raise TransportError(self._reason(kind))
                self._again_at = self._now() + _KNOCK_AGAIN_S
            if kind != self._told:
                self._told = kind
                _log.warning("%s", self._reason(kind))
        if self._again_at is not None and self._now() > self._again_at:
            self._again_at = None
            with contextlib.suppress(zmq.ZMQError):  # it has forgotten the address already
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)

    def _reason(self, kind: zmq.Event) -> str:
        if kind == zmq.Event.HANDSHAKE_FAILED_AUTH:
            return (
                f"the watch at {self._endpoint} does not know the key of {self._keys.file}; put "
                f"`worker NAME {self._keys.public}` into its {WATCH_FILE}, and start it anew"
            )
        if kind == zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
            return f"what listens at {self._endpoint} is no watch with worker.keys"
        return (
            f"{self._endpoint} hangs up: it is no watch, or not the one whose key is in "
            f"{self._keys.file}; give the file that was made together with that watch's"
        )


def _events_of(
    context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], kinds: zmq.Event
) -> zmq.Socket[bytes]:
    """Where zmq tells of these events of a socket."""
    address = f"inproc://events-{id(socket)}"
    socket.monitor(address, kinds)
    news = context.socket(zmq.PAIR)
    news.set(zmq.RCVHWM, _MOST_NEWS)
    news.connect(address)
    return news
