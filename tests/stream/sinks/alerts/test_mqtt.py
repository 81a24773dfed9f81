from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from stream.config.events import AlertConfig
from stream.sinks.alerts import mqtt_connection
from stream.sinks.alerts.mqtt import MqttSender
from stream.sinks.alerts.mqtt_connection import parse_broker_address
from stream.sinks.alerts.mqtt_topics import discovery_message, slug, state_topic
from stream.sinks.alerts.sender import AlertError, UndeliveredError
from tests.alerting import alert
from tests.mosquitto import Broker, Subscriber, mosquitto
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]


@pytest.fixture
def sender() -> Iterator[Callable[..., MqttSender]]:
    """Makes senders and closes them at the end."""
    senders: list[MqttSender] = []

    def make(config: AlertConfig, state_file: Path | None) -> MqttSender:
        senders.append(MqttSender(config, state_file, first_delay_s=0.02))
        return senders[-1]

    yield make
    for one in senders:
        one.close()


def config(port: int, credentials: str = "", scheme: str = "mqtt", **more: object) -> AlertConfig:
    address = f"{scheme}://{credentials}127.0.0.1:{port}"
    return AlertConfig(mqtt=address, topic="home/site", **more)  # type: ignore[arg-type]


class UnreliableBroker:
    """Accepts connections one by one, and closes each of the first ones after a message.

    The last one acknowledges its messages, or ignores them. `published` has the first byte of each
    packet.
    """

    def __init__(self, connections: int, *, acknowledges: bool = True) -> None:
        self.published: list[int] = []
        self._acknowledges = acknowledges
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._left = connections
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._listener:
            while self._left:
                self._left -= 1
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as packets:
                    self._serve(connection, packets)

    def _serve(self, connection: socket.socket, packets: IO[bytes]) -> None:
        while first := packets.read(1):
            size = shift = 0
            more = 0x80
            while more & 0x80:  # MQTT 3.1.1, 2.2.3
                more = packets.read(1)[0]
                size |= (more & 0x7F) << shift
                shift += 7
            body = packets.read(size)
            if first[0] >> 4 == 1:  # CONNECT
                connection.sendall(b"\x20\x02\x00\x00")  # CONNACK
            elif first[0] >> 4 == 3:  # PUBLISH
                self.published.append(first[0])
                if self._left:
                    return
                if not self._acknowledges:
                    continue
                after_topic = 2 + int.from_bytes(body[:2], "big")
                connection.sendall(b"\x40\x02" + body[after_topic : after_topic + 2])  # PUBACK


def idle_forever(mqtt: MqttSender) -> None:
    while True:
        mqtt.idle(60)


def is_connected(mqtt: MqttSender) -> bool:
    try:
        mqtt.idle(0)
    except UndeliveredError:  # from an attempt before the broker's restart
        return False
    return True


def test_slugs_are_readable_and_unique() -> None:
    assert slug("wave") == "wave"
    assert slug("shaking hands") == "shaking_hands"
    labels = ["wave", "Wave", "wave ", "shaking hands", "shaking_hands", "shaking  hands"]
    labels += ["shaking/hands", "shaking+hands", "events", "events ", "", " ", "#", "+", "a\0b"]
    labels += ["öffnen", "offnen", "戸", "窓"]
    slugs = [slug(label) for label in labels]
    assert len(set(slugs)) == len(labels)
    assert all(one and not set(one) & set("#+/ \0") and one.isascii() for one in slugs)
    assert "events" not in slugs


def test_discovery_messages_have_the_format_of_home_assistant() -> None:
    topic, text = discovery_message("home/site", "door/gate", "shaking hands")
    message = json.loads(text)
    prefix, component, unique_id, end = topic.split("/")
    assert (prefix, component, end) == ("homeassistant", "binary_sensor", "config")
    assert unique_id == message["unique_id"]
    assert unique_id.replace("_", "").isalnum()
    assert message["state_topic"] == "home/site/door/gate/shaking_hands"
    assert message["availability_topic"] == "home/site/status"
    assert message["device"]["identifiers"]
    others = [("home/site", "door", "gate"), ("home", "site/door", "gate"), ("home", "a", "Gate")]
    assert len({discovery_message(*other)[0] for other in others} | {topic}) == 4


@pytest.mark.parametrize(
    "address",
    [
        "mqtt://",
        "http://u:pw@x",
        "mqtt://u:pw@x:port",
        "mqtt://u:pw@x/topic",
        "x",
        "mqtt://u:p/w@x",
        "mqtt://u:pw@a..b",
    ],
)
def test_invalid_address_is_reported_without_showing_it(address: str) -> None:
    with pytest.raises(AlertError, match="mqtt must be an address like mqtt://") as caught:
        parse_broker_address(address)
    assert "pw" not in str(caught.value)


def test_address_is_parsed_into_port_user_and_password() -> None:
    assert (parse_broker_address("mqtt://h").port, parse_broker_address("mqtts://h").port) == (
        1883,
        8883,
    )
    parsed = parse_broker_address("mqtts://us%40er:p%2Fw@[::1]:99")
    assert (parsed.host, parsed.port, parsed.tls) == ("::1", 99, True)
    assert (parsed.user, parsed.password) == ("us@er", "p/w")
    assert "p/w" not in repr(parsed)


def test_missing_package_names_the_extra() -> None:
    script = """if True:
        import sys
        sys.modules["paho"] = None
        from stream.sinks.alerts.alerts import make_sender
        from stream.config.events import AlertConfig
        from stream.sinks.alerts.sender import AlertError
        try:
            make_sender("home", AlertConfig(mqtt="mqtt://x"), None)
        except AlertError as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "alert home: mqtt is an extra: pip install 'actionwatch[mqtt]'\n"


@mosquitto
def test_events_states_and_availability_are_published(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    mqtt = sender(config(broker.port), tmp_path / "states")
    mqtt.set_state("door", "wave", on=False)
    mqtt.idle(0)
    wait_for(lambda: subscriber.payloads("home/site/status") == ["online"])
    assert subscriber.payloads("home/site/door/wave") == ["OFF"]
    mqtt.set_state("door", "wave", on=True)
    mqtt.send(alert(1))
    mqtt.set_state("door", "wave", on=False)
    mqtt.set_state("door", "wave", on=True)
    mqtt.idle(0)
    mqtt.close()
    wait_for(lambda: subscriber.payloads("home/site/status") == ["online", "offline"])
    # Short states are published, too.
    assert subscriber.payloads("home/site/door/wave") == ["OFF", "ON", "OFF", "ON", "OFF"]
    (event,) = map(json.loads, subscriber.payloads("home/site/door/events"))
    assert (event["id"], event["change"]) == ("e1-start", "start")
    assert event["event"]["label"] == 'öffnen, "jetzt"\n'
    topics = [topic for topic, _ in subscriber.received]
    assert topics[0].startswith("homeassistant/binary_sensor/")  # before its first state
    assert len([topic for topic in topics if topic.startswith("homeassistant/")]) == 1


@mosquitto
def test_late_subscriber_gets_the_retained_states(
    broker: Broker, tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    mqtt = sender(config(broker.port, discovery=False), tmp_path / "states")
    mqtt.set_state("door", "wave", on=True)
    mqtt.set_state("door/gate", "run", on=False)
    mqtt.send(alert(1))
    late = Subscriber(broker.port)
    wait_for(lambda: len(late.received) >= 3)
    assert sorted(late.received) == [
        ("home/site/door/gate/run", "OFF"),
        ("home/site/door/wave", "ON"),
        ("home/site/status", "online"),
    ]
    mqtt.close()
    late.stop()


@mosquitto
def test_sender_without_state_file_publishes_only_events(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    mqtt = sender(config(broker.port), None)
    mqtt.set_state("door", "wave", on=True)
    mqtt.send(alert(1))
    mqtt.close()
    wait_for(lambda: bool(subscriber.received))
    assert [topic for topic, _ in subscriber.received] == ["home/site/door/events"]


@mosquitto
def test_after_a_crash_status_is_offline_and_the_next_run_corrects_the_states(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    script = """if True:
        import sys, time
        from pathlib import Path
        from stream.config.events import AlertConfig
        from stream.sinks.alerts.mqtt import MqttSender
        mqtt = MqttSender(AlertConfig(mqtt=sys.argv[1], topic="home/site"), Path(sys.argv[2]))
        mqtt.set_state("door", "wave", on=True)
        mqtt.idle(0)
        print("on", flush=True)
        mqtt.idle(60)
    """
    state_file = tmp_path / "states"
    address = f"mqtt://127.0.0.1:{broker.port}"
    with subprocess.Popen(
        [sys.executable, "-c", script, address, str(state_file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.kill()
    wait_for(lambda: subscriber.payloads("home/site/status") == ["online", "offline"])
    assert subscriber.payloads("home/site/door/wave") == ["ON"]
    mqtt = sender(config(broker.port), state_file)
    mqtt.idle(0)
    wait_for(lambda: subscriber.payloads("home/site/status")[2:] == ["online"])
    assert subscriber.payloads("home/site/door/wave") == ["ON", "OFF"]
    mqtt.close()


@mosquitto
def test_only_current_states_are_published_after_an_outage(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    mqtt = sender(config(broker.port), tmp_path / "states")
    mqtt.set_state("door", "wave", on=False)
    mqtt.idle(0)
    broker.stop()
    with pytest.raises(UndeliveredError):
        idle_forever(mqtt)
    mqtt.set_state("door", "wave", on=True)  # on and off during the outage
    mqtt.set_state("door", "wave", on=False)
    mqtt.set_state("door", "run", on=True)
    broker.start()
    wait_for(lambda: is_connected(mqtt))
    wait_for(lambda: subscriber.payloads("home/site/door/run") == ["ON"])
    mqtt.close()
    wait_for(lambda: subscriber.payloads("home/site/status")[-1:] == ["offline"])
    assert "ON" not in subscriber.payloads("home/site/door/wave")


@mosquitto
def test_wrong_password_is_reported_and_not_shown(
    tmp_path: Path, sender: Callable[..., MqttSender]
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "camera", "right"],
        check=True,
        capture_output=True,
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    try:
        for wrong in ("", "camera:wr0ng@"):
            mqtt = sender(config(broker.port, wrong), None)
            with pytest.raises(
                UndeliveredError, match="rejected the connection: Not authorized"
            ) as caught:
                mqtt.send(alert(1))
            assert "wr0ng" not in str(caught.value)
            mqtt.close()
        mqtt = sender(config(broker.port, "camera:right@"), None)
        mqtt.send(alert(1))
        mqtt.close()
    finally:
        broker.kill()


# After a failed handshake paho leaves closing the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@mosquitto
def test_tls_certificate_is_verified(
    tmp_path: Path, sender: Callable[..., MqttSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    monkeypatch.delenv(ssl.get_default_verify_paths().openssl_cafile_env, raising=False)
    lines = [f"certfile {certificate}", f"keyfile {key}", "allow_anonymous true"]
    broker = Broker(tmp_path, *lines)
    try:
        untrusted = sender(config(broker.port, scheme="mqtts"), None)
        with pytest.raises(UndeliveredError, match="self-signed certificate"):
            untrusted.send(alert(1))
        untrusted.close()
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        trusted = sender(config(broker.port, scheme="mqtts"), tmp_path / "states")
        trusted.set_state("door", "wave", on=True)
        trusted.send(alert(1))
        trusted.close()
    finally:
        broker.kill()


def test_unreachable_broker_is_reported(tmp_path: Path, sender: Callable[..., MqttSender]) -> None:
    mqtt = sender(config(9), tmp_path / "states")
    for _ in range(2):
        with pytest.raises(UndeliveredError, match="no connection: Connection refused"):
            mqtt.send(alert(1))
    mqtt.wake()
    mqtt.close()


def test_alert_in_flight_at_a_loss_is_completed_over_the_next_connection(
    sender: Callable[..., MqttSender],
) -> None:
    broker = UnreliableBroker(connections=2)
    mqtt = sender(config(broker.port), None)
    with pytest.raises(UndeliveredError, match="the connection was lost"):
        mqtt.send(alert(1))
    mqtt.send(alert(1))  # not published a second time
    mqtt.send(alert(2))
    mqtt.close()
    broker.stop()
    assert [packet & 0xF7 for packet in broker.published] == [0x32] * 3
    assert [bool(packet & 0x08) for packet in broker.published] == [False, True, False]  # DUP


def test_broker_that_does_not_acknowledge_is_reconnected(
    sender: Callable[..., MqttSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "_ACK_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mqtt = sender(config(silent.getsockname()[1]), None)
        with pytest.raises(UndeliveredError, match="the broker did not answer within"):
            mqtt.send(alert(1))
        mqtt.close()


def test_unacknowledged_alert_does_not_delay_the_end(
    tmp_path: Path, sender: Callable[..., MqttSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "_ACK_TIMEOUT_S", 0.3)
    broker = UnreliableBroker(connections=1, acknowledges=False)
    mqtt = sender(config(broker.port), tmp_path / "states")
    with pytest.raises(UndeliveredError, match="the broker did not answer within"):
        mqtt.send(alert(1))
    mqtt.close()
    broker.stop()
    assert len(broker.published) == 1


def test_retry_waits_for_the_next_attempt_or_a_wake() -> None:
    mqtt = MqttSender(config(9), None, first_delay_s=30.0)
    with pytest.raises(UndeliveredError, match="Connection refused") as caught:
        mqtt.send(alert(1))
    assert caught.value.is_retrying
    mqtt.wake()
    with pytest.raises(UndeliveredError, match="Connection refused"):
        mqtt.send(alert(1))  # at once, though the next attempt is 30 s away
    mqtt.close()


def test_topic_of_a_zone_is_one_level_deeper() -> None:
    assert state_topic("t", "door/gate", "wave") == "t/door/gate/wave"
