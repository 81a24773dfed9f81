"""MQTT topics, and Home Assistant's discovery messages; pure."""

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
    """Topic of ON or OFF. A zone "door/gate" is one level deeper than its camera."""
    return f"{topic}/{camera}/{slug(label)}"


def slug(label: str) -> str:
    """A label as a topic level, different for different labels.

    Lower-case words are joined by underscores; other labels get part of their hash appended.
    """
    words = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
    is_plain = words.replace("_", " ") == label and words not in ("", "events")
    return words if is_plain else f"{words[:40]}_{_hash(label)}".lstrip("_")


def discovery_message(topic: str, camera: str, label: str) -> tuple[str, str]:
    """Topic and payload by which Home Assistant discovers a label of a camera.

    See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and binary_sensor.mqtt.
    """
    unique_id = _unique_id(topic, camera, label)
    message = {
        "name": label,
        "unique_id": unique_id,
        "state_topic": state_topic(topic, camera, label),
        "payload_on": ON,
        "payload_off": OFF,
        "availability_topic": status_topic(topic),
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "device_class": "motion",
        "qos": 1,
        "device": {
            "identifiers": [_unique_id(topic, camera)],
            "name": f"Actionwatch {camera}",
            "manufacturer": "Actionwatch",
        },
        "origin": {"name": "Actionwatch"},
    }
    return f"homeassistant/binary_sensor/{unique_id}/config", json.dumps(
        message, ensure_ascii=False
    )


def _unique_id(*parts: str) -> str:
    """A readable id of characters that discovery topics allow."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(parts)).strip("_")[:60]
    return f"actionwatch_{words}_{_hash(*parts)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
