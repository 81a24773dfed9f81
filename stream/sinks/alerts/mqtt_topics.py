"""What is published over MQTT, and where: topics, and Home Assistant's discovery messages; pure."""

from __future__ import annotations

import hashlib
import json
import re

ON, OFF = "ON", "OFF"
ONLINE, OFFLINE = "online", "offline"


def status_topic(topic: str) -> str:
    return f"{topic}/status"


def events_topic(topic: str, camera: str) -> str:
    return f"{topic}/{camera}/events"


def state_topic(topic: str, camera: str, label: str) -> str:
    """Where ON or OFF stands. A zone "door/gate" is one level deeper than its camera."""
    return f"{topic}/{camera}/{slug(label)}"


def slug(label: str) -> str:
    """A label as a level of a topic, never the same for two labels.

    Lower-case words get underscores between them; of any other label some of its hash follows.
    """
    words = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
    is_plain = words.replace("_", " ") == label and words not in ("", "events")
    return words if is_plain else f"{words[:40]}_{_hash(label)}".lstrip("_")


def discovery(topic: str, camera: str, label: str) -> tuple[str, str]:
    """Topic and message by which Home Assistant finds a label of a camera.

    See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and binary_sensor.mqtt.
    """
    unique = _unique(topic, camera, label)
    message = {
        "name": label,
        "unique_id": unique,
        "state_topic": state_topic(topic, camera, label),
        "payload_on": ON,
        "payload_off": OFF,
        "availability_topic": status_topic(topic),
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "device_class": "motion",
        "qos": 1,
        "device": {
            "identifiers": [_unique(topic, camera)],
            "name": f"Actionwatch {camera}",
            "manufacturer": "Actionwatch",
        },
        "origin": {"name": "Actionwatch"},
    }
    return f"homeassistant/binary_sensor/{unique}/config", json.dumps(message, ensure_ascii=False)


def _unique(*parts: str) -> str:
    """An id for people to recognise, of letters that discovery topics may have."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(parts)).strip("_")[:60]
    return f"actionwatch_{words}_{_hash(*parts)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
