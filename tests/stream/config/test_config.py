from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.config import Config
from stream.config.load import ConfigError, load_config

REPOSITORY = Path(__file__).parents[3]


def write(folder: Path, text: str) -> Path:
    file = folder / "watch.yaml"
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
        ("events: {enter: 0.3, leave: 0.5}", ["leave (0.5)", "enter (0.3)"]),
        ("events: {labels: {wave: {enter: 0.2}}}", ["labels.wave", "leave (0.4)"]),
        ("events: {enter: 2}", ["events.enter", "less than or equal to 1"]),
        ("cameras: {}", ["cameras", "at least 1"]),
        ("cameras: {'a b': {source: 0}}", ["cameras", "'a b'"]),
        ("worker: {local: false}", ["endpoint"]),
        ("dashboard: 5", ["dashboard", "5"]),
        ("- 1", ["must hold keys"]),
        ("a: [", ["line 1", "not YAML"]),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in ["watch.yaml", *words]:
        assert word in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml can't be read: No such file"):
        load_config(tmp_path / "nothing.yaml")


def test_flags_override_single_values(tmp_path: Path) -> None:
    file = write(tmp_path, "dashboard: {port: 8000, host: 0.0.0.0}\ncameras: {a: {source: 0}}")
    overrides = {"dashboard": {"port": 9000}, "cameras": {"b": {"source": 1}}}
    config = load_config(file, overrides)
    assert (config.dashboard.host, config.dashboard.port) == ("0.0.0.0", 9000)
    assert list(config.cameras) == ["b"]


def test_a_label_takes_what_it_leaves_out_from_the_rest() -> None:
    config = Config.model_validate({"events": {"labels": {"wave": {"enter": 0.8}}}})
    assert config.events.policy("wave").enter == 0.8
    assert config.events.policy("wave").leave == config.events.leave
    assert config.events.policy("other") == config.events


def test_flags_do_not_hide_a_section_that_is_none(tmp_path: Path) -> None:
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
def test_a_mistake_about_an_address_does_not_show_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "s3cret" not in str(caught.value)


def test_a_misspelt_key_of_an_optional_section_is_told_the_right_ones(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text("cameras: {door: {source: 0, motion_gate: {aera: 0.1}}}")
    with pytest.raises(ConfigError, match="known here: area, difference, look_every"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "cameras: {door: {source: 0}, door: {source: 1}}",
            "line 1 is not YAML: door is there twice",
        ),
        ("worker: {workers: 0}", "worker.workers: 'auto', or a number from 1 to 64, got 0"),
        ("worker: {device: gpu}", "worker.device: must be auto, cpu, cuda or cuda:1, got 'gpu'"),
        ("window: {stride: -1s}", "positive number with ms, s, m, h or d, like 0.25s, got '-1s'"),
        ("cameras: {door: demo:0}", "cameras.door: must hold keys, like {source: ...}"),
        ("cameras: {door: {fit: crop}}", "cameras.door.source: is missing"),
        (
            "cameras: {door: {source: 0, zones: {gate: {points: [[0.1, 0.2]]}}}}",
            "zones two corners or a polygon's points",
        ),
    ],
)
def test_mistakes_are_told_in_words_for_people(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("written", "on"), [("", True), ("true", True), ("{}", True), ("false", False)]
)
def test_the_motion_gate_is_on_by_a_word(tmp_path: Path, written: str, on: bool) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text(f"cameras: {{door: {{source: 0, motion_gate: {written}}}}}")
    assert (load_config(file).cameras["door"].motion_gate is not None) == on


def test_an_alert_of_a_camera_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    text = """
cameras: {door: {source: "demo:", zones: {gate: {points: [[0, 0], [1, 1]]}}}}
alerts: {phone: {webhook: "https://example.org/", cameras: [CAMERA]}}
"""
    for camera in ("door", "door/gate"):
        assert load_config(write(tmp_path, text.replace("CAMERA", camera))).alerts
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text.replace("CAMERA", "dor")))
    assert "alerts.phone.cameras: there is no camera 'dor'; there is door, door/gate" in str(
        caught.value
    )


def test_labels_are_known_by_the_key_that_names_them() -> None:
    config = Config.model_validate(
        {
            "events": {"watch": ["fall"], "labels": {"wave": {"enter": 0.9}}, "unknown": 0.3},
            "alerts": {"phone": {"webhook": "https://example.org/", "labels": ["run", "unknown"]}},
            "retention": {"labels": {"sit": {"clips": "1d"}}},
        }
    )
    assert config.labels_named() == {
        "events": {"fall", "wave"},
        "alerts.phone.labels": {"run"},
        "retention.labels": {"sit"},
    }
