from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.settings_site import Settings, serve_settings
from tests.waiting import wait_for


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with serve_settings(tmp_path) as settings:
        wait_for(lambda: settings.pipeline.cameras["door"].state == "live")
        yield settings


def test_what_is_bad_comes_first_and_in_words(settings: Settings) -> None:
    text = settings.file.read_text()
    nobody = 'cameras:\n  gone: {source: "rtsp://127.0.0.1:9/x"}\n'
    settings.file.write_text(text.replace("cameras:\n", nobody))
    settings.client.post("/api/configuration/reload")
    wait_for(lambda: settings.pipeline.cameras["gone"].state == "offline")
    health = settings.client.get("/api/health").json()
    texts = [one["text"] for one in health["findings"]]
    assert "No worker runs the model now, so nothing is recognised." in texts
    assert any(text.startswith("Camera gone is offline: ") for text in texts)
    assert not any("door" in text for text in texts)
    graves = [one["grave"] for one in health["findings"]]
    assert graves == sorted(graves, reverse=True)


def test_its_numbers_are_those_of_the_metrics(settings: Settings) -> None:
    settings.pipeline.metrics.count("stalls", "door", 3)
    settings.pipeline.metrics.count("alert_deaths", by=2)
    settings.pipeline.metrics.measure("age", 0.25)
    health = settings.client.get("/api/health").json()
    families = {
        family.name: family
        for family in text_string_to_metric_families(settings.client.get("/metrics").text)
    }
    (door,) = health["cameras"]
    assert {"name": "stalls", "words": "times a camera stood still", "count": 3} in door["counted"]
    assert health["counted"][0]["count"] == 2
    assert families["actionwatch_stalls"].samples[0].value == 3
    (age,) = [one for one in health["stages"] if one["name"] == "age"]
    ages = families["actionwatch_stage_seconds"].samples
    assert age["p50_s"] in [one.value for one in ages if one.labels["stage"] == "age"]
    used = {one.labels["of"]: one.value for one in families["actionwatch_disk_used_bytes"].samples}
    assert health["disk"]["used"] == used
    assert health["versions"]["actionwatch"]


def test_the_latest_warnings_are_told(settings: Settings) -> None:
    settings.file.write_text("nonsense: 1\n")
    from ui.config_reload import Reload
    from ui.sighup import read_again  # what SIGHUP does

    read_again(Reload(settings.pipeline, settings.file, {}))
    (newest, *_) = settings.client.get("/api/health").json()["troubles"]
    assert newest["level"] == "warning"
    assert "unknown key 'nonsense'" in newest["text"]


def test_every_counter_has_its_words() -> None:
    import re

    from ui.web.api.counter_descriptions import GOOD, WORDS

    root = Path(__file__).parents[4]
    named: set[str] = set()
    for file in (*root.glob("stream/**/*.py"), *root.glob("ui/**/*.py")):
        named |= set(re.findall(r'\bcount\(\s*"(\w+)"', file.read_text(encoding="utf-8")))
    assert named - GOOD <= WORDS.keys()
