from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.config import Config
from stream.config.load import ConfigError, load_config

REPOSITORY = Path(__file__).parents[3]


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_everything_has_a_default() -> None:
    config = load_config(None)
    assert config.model == "motion"
    assert config.cameras["demo"].source == "demo:"
    assert config.window.stride == 0.25


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=str)
def test_every_file_in_configs_is_valid(file: Path) -> None:
    assert load_config(file).cameras


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.25s", 0.25), ("250ms", 0.25), ("2", 2.0), ("1m", 60.0), ("1.5", 1.5)]
)
def test_durations_have_units(tmp_path: Path, text: str, seconds: float) -> None:
    config = load_config(write(tmp_path, f"window: {{stride: {text}}}"))
    assert config.window.stride == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("windows: {}", ["unknown key 'windows'", "known here", "window"]),
        ("window: {strude: 1s}", ["unknown key 'window.strude'", "stride"]),
        ("cameras: {door: {sorce: 0}}", ["unknown key 'cameras.door.sorce'", "source"]),
        ("window: {stride: soon}", ["window.stride", "0.25s", "'soon'"]),
        (
            "events: {threshold: 0.3, release_threshold: 0.5}",
            ["release_threshold (0.5)", "threshold (0.3)"],
        ),
        ("events: {labels: {wave: {threshold: 0.2}}}", ["labels.wave", "release_threshold (0.4)"]),
        ("events: {threshold: 2}", ["events.threshold", "less than or equal to 1"]),
        ("cameras: {}", ["cameras", "at least 1"]),
        ("cameras: {'a b': {source: 0}}", ["cameras", "'a b'"]),
        ("worker: {local: false}", ["endpoint"]),
        ("dashboard: 5", ["dashboard", "5"]),
        ("- 1", ["must hold keys"]),
        ("a: [", ["line 1", "not YAML"]),
    ],
)
def test_errors_name_the_key_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in ["config.yaml", *words]:
        assert word in message


def test_error_names_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml can't be read: No such file"):
        load_config(tmp_path / "nothing.yaml")


def test_flags_override_single_keys(tmp_path: Path) -> None:
    file = write(tmp_path, "dashboard: {port: 8000, host: 0.0.0.0}\ncameras: {a: {source: 0}}")
    overrides = {"dashboard": {"port": 9000}, "cameras": {"b": {"source": 1}}}
    config = load_config(file, overrides)
    assert (config.dashboard.host, config.dashboard.port) == ("0.0.0.0", 9000)
    assert list(config.cameras) == ["b"]


def test_label_policy_falls_back_to_common_values() -> None:
    config = Config.model_validate({"events": {"labels": {"wave": {"threshold": 0.8}}}})
    assert config.events.policy("wave").threshold == 0.8
    assert config.events.policy("wave").release_threshold == config.events.release_threshold
    assert config.events.policy("other") == config.events


def test_flags_do_not_hide_an_invalid_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dashboard"):
        load_config(write(tmp_path, "dashboard: 5"), {"dashboard": {"port": 9000}})


@pytest.mark.parametrize(
    "text",
    [
        "cameras: {door: 'rtsp://viewer:s3cret@192.0.2.1/live'}",
        "cameras: 'rtsp://viewer:s3cret@192.0.2.1/live'",
        "'rtsp://viewer:s3cret@192.0.2.1/live'",
        "cameras: {'viewer:s3cret@192.0.2.1': {}}",
        "'viewer:s3cret@192.0.2.1': {}",
    ],
)
def test_errors_do_not_show_urls(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "s3cret" not in str(caught.value)


def test_unknown_key_in_optional_section_lists_known_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("cameras: {door: {source: 0, motion_gate: {aera: 0.1}}}")
    with pytest.raises(ConfigError, match="known here: max_interval, min_area, pixel_threshold"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "cameras: {door: {source: 0}, door: {source: 1}}",
            "line 1 is not YAML: duplicate key door",
        ),
        ("worker: {count: 0}", "worker.count: 'auto', or a number from 1 to 64, got 0"),
        ("worker: {device: gpu}", "worker.device: must be auto, cpu, cuda or cuda:1, got 'gpu'"),
        ("window: {stride: -1s}", "positive number with ms, s, m, h or d, like 0.25s, got '-1s'"),
        ("cameras: {door: demo:0}", "cameras.door: must hold keys, like {source: ...}"),
        ("cameras: {door: {fit: crop}}", "cameras.door.source: is missing"),
        (
            "cameras: {door: {source: 0, zones: {gate: {points: [[0.1, 0.2]]}}}}",
            "a zone two corners or the points of a polygon",
        ),
    ],
)
def test_errors_are_readable(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("written", "on"), [("", True), ("true", True), ("{}", True), ("false", False)]
)
def test_motion_gate_accepts_booleans(tmp_path: Path, written: str, on: bool) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"cameras: {{door: {{source: 0, motion_gate: {written}}}}}")
    assert (load_config(file).cameras["door"].motion_gate is not None) == on


def test_alert_for_unknown_camera_is_rejected(tmp_path: Path) -> None:
    text = """
cameras: {door: {source: "demo:", zones: {gate: {points: [[0, 0], [1, 1]]}}}}
alerts: {phone: {webhook: "https://example.org/", cameras: [CAMERA]}}
"""
    for camera in ("door", "door/gate"):
        assert load_config(write(tmp_path, text.replace("CAMERA", camera))).alerts
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text.replace("CAMERA", "dor")))
    assert "alerts.phone.cameras: unknown camera 'dor'; known: door, door/gate" in str(caught.value)


def test_named_labels_are_grouped_by_key() -> None:
    config = Config.model_validate(
        {
            "events": {
                "include": ["fall"],
                "labels": {"wave": {"threshold": 0.9}},
                "unknown_below": 0.3,
            },
            "alerts": {"phone": {"webhook": "https://example.org/", "labels": ["run", "unknown"]}},
            "retention": {"labels": {"sit": {"clips": "1d"}}},
        }
    )
    assert config.labels_by_key() == {
        "events": {"fall", "wave"},
        "alerts.phone.labels": {"run"},
        "retention.labels": {"sit"},
    }
