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


def test_errors_come_first_and_have_a_text(settings: Settings) -> None:
    text = settings.file.read_text()
    unreachable = 'cameras:\n  attic: {source: "rtsp://127.0.0.1:9/x"}\n'
    settings.file.write_text(text.replace("cameras:\n", unreachable))
    settings.client.post("/api/configuration/reload")
    wait_for(lambda: settings.pipeline.cameras["attic"].state == "offline")
    health = settings.client.get("/api/health").json()
    texts = [issue["text"] for issue in health["issues"]]
    assert "No worker is connected: no inference is running." in texts
    assert any(text.startswith("Camera attic is offline: ") for text in texts)
    assert not any("door" in text for text in texts)
    severities = [issue["severity"] for issue in health["issues"]]
    assert severities == sorted(severities)  # "error" before "warning"


def test_numbers_match_the_metrics(settings: Settings) -> None:
    settings.pipeline.metrics.count("stalls", "door", 3)
    settings.pipeline.metrics.count("alert_crashes", by=2)
    settings.pipeline.metrics.measure("age", 0.25)
    health = settings.client.get("/api/health").json()
    families = {
        family.name: family
        for family in text_string_to_metric_families(settings.client.get("/metrics").text)
    }
    (door,) = health["cameras"]
    stalls = {"name": "stalls", "description": "camera stalls", "count": 3}
    assert stalls in door["counters"]
    assert health["counters"][0]["count"] == 2
    assert families["actionwatch_stalls"].samples[0].value == 3
    (age,) = [stage for stage in health["stages"] if stage["name"] == "age"]
    ages = families["actionwatch_stage_seconds"].samples
    assert age["p50_s"] in [sample.value for sample in ages if sample.labels["stage"] == "age"]
    samples = families["actionwatch_disk_used_bytes"].samples
    used = {sample.labels["kind"]: sample.value for sample in samples}
    assert health["disk"]["used"] == used
    assert health["versions"]["actionwatch"]


def test_recent_warnings_are_listed(settings: Settings) -> None:
    settings.file.write_text("nonsense: 1\n")
    from ui.config_reload import ConfigReloader
    from ui.sighup import reload_and_log  # what SIGHUP does

    reload_and_log(ConfigReloader(settings.pipeline, settings.file, {}))
    (newest, *_) = settings.client.get("/api/health").json()["recent_logs"]
    assert newest["level"] == "warning"
    assert "unknown key 'nonsense'" in newest["text"]


def test_every_counter_has_a_description() -> None:
    import re

    from ui.web.api.health_api import DESCRIPTIONS, NORMAL

    root = Path(__file__).parents[4]
    named: set[str] = set()
    for file in (*root.glob("stream/**/*.py"), *root.glob("ui/**/*.py")):
        named |= set(re.findall(r'\bcount\(\s*"(\w+)"', file.read_text(encoding="utf-8")))
    assert named - NORMAL <= DESCRIPTIONS.keys()
