from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.config.events import AlertConfig
from stream.sinks.alerts.mqtt import Mqtt
from stream.sinks.alerts.mqtt_connection import broker_at
from stream.sinks.alerts.mqtt_topics import discovery, slug, state_topic
from stream.sinks.alerts.sender import UndeliveredError
from stream.workers.transport import TransportError
from tests.alerting import alert
from tests.mosquitto import Broker, Subscriber, mosquitto
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]


@pytest.fixture
def sender() -> Iterator[Callable[..., Mqtt]]:
    """Makes senders, that are closed at the end."""
    made: list[Mqtt] = []

    def make(config: AlertConfig, memory: Path | None) -> Mqtt:
        made.append(Mqtt(config, memory))
        return made[-1]

    yield make
    for one in made:
        one.close()


def config(port: int, before: str = "", scheme: str = "mqtt", **more: object) -> AlertConfig:
    address = f"{scheme}://{before}127.0.0.1:{port}"
    return AlertConfig(mqtt=address, topic="home/watch", **more)  # type: ignore[arg-type]


def rest_for_ever(mqtt: Mqtt) -> None:
    while True:
        mqtt.rest(60)


def test_labels_as_topics_are_readable_and_never_the_same() -> None:
    assert slug("wave") == "wave"
    assert slug("shaking hands") == "shaking_hands"
    labels = ["wave", "Wave", "wave ", "shaking hands", "shaking_hands", "shaking  hands"]
    labels += ["shaking/hands", "shaking+hands", "events", "events ", "", " ", "#", "+", "a\0b"]
    labels += ["öffnen", "offnen", "戸", "窓"]
    slugs = [slug(label) for label in labels]
    assert len(set(slugs)) == len(labels)
    assert all(one and not set(one) & set("#+/ \0") and one.isascii() for one in slugs)
    assert "events" not in slugs


def test_discovery_messages_are_what_home_assistant_reads() -> None:
    topic, text = discovery("home/watch", "door/gate", "shaking hands")
    message = json.loads(text)
    prefix, component, unique, end = topic.split("/")
    assert (prefix, component, end) == ("homeassistant", "binary_sensor", "config")
    assert unique == message["unique_id"]
    assert unique.replace("_", "").isalnum()
    assert message["state_topic"] == "home/watch/door/gate/shaking_hands"
    assert message["availability_topic"] == "home/watch/status"
    assert message["device"]["identifiers"]
    others = [("home/watch", "door", "gate"), ("home", "watch/door", "gate"), ("home", "a", "Gate")]
    assert len({discovery(*other)[0] for other in others} | {topic}) == 4


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
def test_an_address_that_is_none_is_named_without_showing_it(address: str) -> None:
    with pytest.raises(TransportError, match="mqtt must be an address like mqtt://") as caught:
        broker_at(address)
    assert "pw" not in str(caught.value)


def test_ports_users_and_passwords_are_read_from_the_address() -> None:
    assert (broker_at("mqtt://h").port, broker_at("mqtts://h").port) == (1883, 8883)
    found = broker_at("mqtts://us%40er:p%2Fw@[::1]:99")
    assert (found.host, found.port, found.tls) == ("::1", 99, True)
    assert (found.user, found.password) == ("us@er", "p/w")
    assert "p/w" not in repr(found)


def test_without_the_package_the_extra_is_named() -> None:
    script = """if True:
        import sys
        sys.modules["paho"] = None
        from stream.sinks.alerts.alerts import sender
        from stream.config.events import AlertConfig
        from stream.workers.transport import TransportError
        try:
            sender("home", AlertConfig(mqtt="mqtt://x"), None)
        except TransportError as error:
            print(error)
    """
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.stdout == "alert home: mqtt is an extra: pip install 'actionwatch[mqtt]'\n"


@mosquitto
def test_events_states_and_availability_are_told(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    mqtt = sender(config(broker.port), tmp_path / "states")
    mqtt.show("door", "wave", on=False)
    mqtt.rest(0)
    wait_for(lambda: subscriber.of("home/watch/status") == ["online"])
    assert subscriber.of("home/watch/door/wave") == ["OFF"]
    mqtt.show("door", "wave", on=True)
    mqtt.send(alert(1))
    mqtt.show("door", "wave", on=False)
    mqtt.show("door", "wave", on=True)
    mqtt.rest(0)
    mqtt.close()
    wait_for(lambda: subscriber.of("home/watch/status") == ["online", "offline"])
    # Also what was short is told.
    assert subscriber.of("home/watch/door/wave") == ["OFF", "ON", "OFF", "ON", "OFF"]
    (event,) = map(json.loads, subscriber.of("home/watch/door/events"))
    assert (event["id"], event["change"]) == ("e1-start", "start")
    assert event["event"]["label"] == 'öffnen, "jetzt"\n'
    topics = [topic for topic, _ in subscriber.got]
    assert topics[0].startswith("homeassistant/binary_sensor/")  # before its first state
    assert len([topic for topic in topics if topic.startswith("homeassistant/")]) == 1


@mosquitto
def test_retained_states_tell_those_who_come_late(
    broker: Broker, tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    mqtt = sender(config(broker.port, discovery=False), tmp_path / "states")
    mqtt.show("door", "wave", on=True)
    mqtt.show("door/gate", "run", on=False)
    mqtt.send(alert(1))
    late = Subscriber(broker.port)
    wait_for(lambda: len(late.got) >= 3)
    assert sorted(late.got) == [
        ("home/watch/door/gate/run", "OFF"),
        ("home/watch/door/wave", "ON"),
        ("home/watch/status", "online"),
    ]
    mqtt.close()
    late.stop()


@mosquitto
def test_a_guest_sends_events_and_leaves_nothing_behind(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    guest = sender(config(broker.port), None)
    guest.show("door", "wave", on=True)
    guest.send(alert(1))
    guest.close()
    wait_for(lambda: bool(subscriber.got))
    assert [topic for topic, _ in subscriber.got] == ["home/watch/door/events"]


@mosquitto
def test_after_a_crash_the_broker_says_offline_and_the_next_run_sets_states_right(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    script = """if True:
        import sys, time
        from pathlib import Path
        from stream.config.events import AlertConfig
        from stream.sinks.alerts.mqtt import Mqtt
        mqtt = Mqtt(AlertConfig(mqtt=sys.argv[1], topic="home/watch"), Path(sys.argv[2]))
        mqtt.show("door", "wave", on=True)
        mqtt.rest(0)
        print("on", flush=True)
        mqtt.rest(60)
    """
    memory = tmp_path / "states"
    address = f"mqtt://127.0.0.1:{broker.port}"
    with subprocess.Popen(
        [sys.executable, "-c", script, address, str(memory)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.kill()
    wait_for(lambda: subscriber.of("home/watch/status") == ["online", "offline"])
    assert subscriber.of("home/watch/door/wave") == ["ON"]
    mqtt = sender(config(broker.port), memory)
    mqtt.rest(0)
    wait_for(lambda: subscriber.of("home/watch/status")[2:] == ["online"])
    assert subscriber.of("home/watch/door/wave") == ["ON", "OFF"]
    mqtt.close()


@mosquitto
def test_after_an_outage_states_are_what_is_true_now(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    mqtt = sender(config(broker.port), tmp_path / "states")
    mqtt.show("door", "wave", on=False)
    mqtt.rest(0)
    broker.stop()
    with pytest.raises(UndeliveredError):
        rest_for_ever(mqtt)
    mqtt.show("door", "wave", on=True)  # comes and goes while nobody can be told
    mqtt.show("door", "wave", on=False)
    mqtt.show("door", "run", on=True)
    broker.start()
    mqtt.rest(0)
    wait_for(lambda: subscriber.of("home/watch/door/run") == ["ON"])
    mqtt.close()
    wait_for(lambda: subscriber.of("home/watch/status")[-1:] == ["offline"])
    assert "ON" not in subscriber.of("home/watch/door/wave")


@mosquitto
def test_a_wrong_password_is_told_and_not_shown(
    tmp_path: Path, sender: Callable[..., Mqtt]
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "watch", "right"],
        check=True,
        capture_output=True,
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    try:
        for wrong in ("", "watch:wr0ng@"):
            mqtt = sender(config(broker.port, wrong), None)
            with pytest.raises(UndeliveredError, match="refuses us: Not authorized") as caught:
                mqtt.send(alert(1))
            assert "wr0ng" not in str(caught.value)
            mqtt.close()
        mqtt = sender(config(broker.port, "watch:right@"), None)
        mqtt.send(alert(1))
        mqtt.close()
    finally:
        broker.kill()


# Of a socket whose handshake failed paho leaves the closing to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@mosquitto
def test_tls_is_verified(
    tmp_path: Path, sender: Callable[..., Mqtt], monkeypatch: pytest.MonkeyPatch
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
        stranger = sender(config(broker.port, scheme="mqtts"), None)
        with pytest.raises(UndeliveredError, match="self-signed certificate"):
            stranger.send(alert(1))
        stranger.close()
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        known = sender(config(broker.port, scheme="mqtts"), tmp_path / "states")
        known.show("door", "wave", on=True)
        known.send(alert(1))
        known.close()
    finally:
        broker.kill()


def test_a_broker_that_is_away_is_told(tmp_path: Path, sender: Callable[..., Mqtt]) -> None:
    mqtt = sender(config(9), tmp_path / "states")
    for _ in range(2):
        with pytest.raises(UndeliveredError, match="no connection: Connection refused"):
            mqtt.send(alert(1))
    mqtt.wake()
    mqtt.close()


def test_zones_are_one_level_deeper() -> None:
    assert state_topic("t", "door/gate", "wave") == "t/door/gate/wave"
