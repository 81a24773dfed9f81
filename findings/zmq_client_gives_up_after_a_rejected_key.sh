#!/usr/bin/env bash
# pyzmq 27.3.0 (libzmq 4.3.5): a CURVE client whose key is rejected never connects again.
#
# Guess: RECONNECT_IVL applies to every lost connection, so a client whose key is added to the
# server later gets through by itself.
# Seen: after ZAP has answered 400, the socket does not retry. No event and no error follows, and
# its messages wait for ever, also after the server accepts the key. A new `connect` works.
#
# Exits 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import recv_monitor_message


class Keys:
    """Public keys that may connect."""

    def __init__(self):
        self.known = set()

    def callback(self, domain, key):
        return key in self.known


context, keys = zmq.Context(), Keys()
authenticator = ThreadAuthenticator(context)
authenticator.start()
authenticator.configure_curve_callback(domain="*", credentials_provider=keys)
server_public, server_secret = zmq.curve_keypair()
public, secret = zmq.curve_keypair()

server = context.socket(zmq.PULL)
server.setsockopt(zmq.LINGER, 0)
server.curve_server, server.curve_secretkey = True, server_secret
address = f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}"

client = context.socket(zmq.PUSH)
client.setsockopt(zmq.LINGER, 0)
client.setsockopt(zmq.RECONNECT_IVL, 100)
client.curve_serverkey, client.curve_publickey, client.curve_secretkey = server_public, public, secret
events = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_CONNECT_RETRIED)
client.connect(address)

assert events.poll(10_000), "the key was not rejected"
first = recv_monitor_message(events)["event"]
assert first == zmq.EVENT_HANDSHAKE_FAILED_AUTH, first
retries = 0
while events.poll(3000):  # 30 times the interval
    retries += 1
    recv_monitor_message(events)
keys.known.add(public)
client.send(b"one")
arrived = bool(server.poll(3000))
print(f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}")
print(f"events in 3 s after the rejection: {retries}; arrived after the key was added: {arrived}")

client.connect(address)
client.send(b"two")
again = bool(server.poll(3000))
print(f"arrived after a new connect: {again}")
authenticator.stop()
context.destroy(linger=0)
raise SystemExit(0 if (retries, arrived, again) == (0, False, True) else 1)
PYTHON
