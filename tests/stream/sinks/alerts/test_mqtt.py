from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.config.events import AlertConfig
from stream.sinks.alerts.mqtt import MqttSender
from stream.sinks.alerts.mqtt_connection import parse_broker_address
from stream.sinks.alerts.mqtt_topics import discovery_message, slug, state_topic
from stream.sinks.alerts.sender import UndeliveredError
from stream.workers.transport import TransportError
from tests.alerting import alert
from tests.mosquitto import Broker, Subscriber, mosquitto
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]


@pytest.fixture
def sender() -> Iterator[Callable[..., MqttSender]]:
    """Makes senders and closes them at the end."""
    senders: list[MqttSender] = []

    def make(config: AlertConfig, state_file: Path | None) -> MqttSender:
        senders.append(MqttSender(config, state_file))
        return senders[-1]

    yield make
    for one in senders:
        one.close()


def config(port: int, credentials: str = "", scheme: str = "mqtt", **more: object) -> AlertConfig:
    address = f"{scheme}://{credentials}127.0.0.1:{port}"
    return AlertConfig(mqtt=address, topic="home/site", **more)  # type: ignore[arg-type]


def idle_forever(mqtt: MqttSender) -> None:
    while True:
        mqtt.idle(60)


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
    ],
)
def test_invalid_address_is_reported_without_showing_it(address: str) -> None:
    with pytest.raises(TransportError, match="mqtt must be an address like mqtt://") as caught:
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
        from stream.workers.transport import TransportError
        try:
            make_sender("home", AlertConfig(mqtt="mqtt://x"), None)
        except TransportError as error:
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
    mqtt.idle(0)
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


def test_topic_of_a_zone_is_one_level_deeper() -> None:
    assert state_topic("t", "door/gate", "wave") == "t/door/gate/wave"
