from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.settings_site import Settings, serve_settings

USER = "scrypt:16384:8:1:c2FsdHNhbHRzYWx0c2FsdA:" + "A" * 43


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with serve_settings(tmp_path) as settings:
        yield settings


def save(settings: Settings, text: str) -> dict:
    current = settings.client.get("/api/configuration").json()
    response = settings.client.put(
        "/api/configuration", json={"text": text, "version": current["version"]}
    )
    return {"status": response.status_code, **response.json()}


def backups(settings: Settings) -> list[Path]:
    return sorted(settings.file.parent.glob("config.yaml.bak-*"))


def test_file_text_and_overriding_flags_are_returned(settings: Settings) -> None:
    text = settings.file.read_text() + "# ${SECRET}\n"
    settings.file.write_text(text)
    shown = settings.client.get("/api/configuration").json()
    assert shown["text"] == text
    assert (shown["file"], shown["folder"]) == ("config.yaml", str(settings.file.parent))
    assert shown["flags"] == ["dashboard.port"]


def test_viewers_are_rejected(settings: Settings) -> None:
    response = settings.client.get("/api/configuration", headers={"role": "viewer"})
    assert response.status_code == 403
    assert "demo:1" not in response.text


def test_valid_text_is_saved_and_applied_with_a_backup(
    settings: Settings,
) -> None:
    before = settings.file.read_text()
    text = before.replace("threshold: 0.6", "threshold: 0.7") + "model: other\n"
    result = save(settings, text)
    assert (result["applied"], result["needs_restart"]) == (["events.threshold"], ["model"])
    assert settings.file.read_text() == text
    assert settings.file.stat().st_mode & 0o777 == 0o640
    assert [one.read_text() for one in backups(settings)] == [before]
    assert backups(settings)[0].stat().st_mode & 0o777 == 0o640
    assert settings.pipeline.config.events.threshold == 0.7
    assert result["version"] == settings.client.get("/api/configuration").json()["version"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("threshold: 0.6", "threshold: 6"), "events.threshold"),
        (("events:", "event:"), "unknown key 'event'"),
        (("demo:1", "nowhere.mp4"), "nowhere.mp4"),
        (("threshold: 0.6", "include: [fly]"), "has no label 'fly'"),
        (("# My", "\x00"), "not YAML"),
        (("# My", "? [a]\n: b #"), "invalid key or value"),
        (("# My", 'data: "\\uD800" #'), ""),
        (("# My", "[" * 3000 + "#"), "too many"),
    ],
)
def test_invalid_text_changes_nothing_and_returns_the_reason(
    settings: Settings, change: tuple[str, str], reason: str
) -> None:
    before, config = settings.file.read_text(), settings.pipeline.config
    text = before.replace(*change)
    checked = settings.client.post("/api/configuration/check", json={"text": text})
    result = save(settings, text)
    assert checked.status_code == result["status"] == 400
    assert reason in checked.json()["detail"]
    assert reason in result["detail"]
    assert "\n" not in result["detail"]
    assert settings.file.read_text() == before
    assert settings.pipeline.config == config
    assert [one.name for one in settings.file.parent.iterdir() if ".yaml" in one.name] == [
        "config.yaml"
    ]


def test_check_returns_the_changes_without_applying_them(settings: Settings) -> None:
    before = settings.file.read_text()
    text = before.replace("  door:", '  yard: {source: "demo:2"}\n  door:')
    checked = settings.client.post("/api/configuration/check", json={"text": text}).json()
    assert checked["applied"] == ["cameras.yard added"]
    assert list(settings.pipeline.cameras) == ["door"]
    assert settings.file.read_text() == before


def test_concurrent_edits_do_not_overwrite_each_other(settings: Settings) -> None:
    current = settings.client.get("/api/configuration").json()
    first = {"text": current["text"] + "# first\n", "version": current["version"]}
    second = {"text": current["text"] + "# second\n", "version": current["version"]}
    assert settings.client.put("/api/configuration", json=first).status_code == 200
    response = settings.client.put("/api/configuration", json=second)
    assert response.status_code == 409
    assert "has changed" in response.json()["detail"]
    assert settings.file.read_text() == first["text"]


def test_only_the_last_ten_backups_are_retained(settings: Settings) -> None:
    for number in range(13):
        save(settings, f"{settings.file.read_text()}# {number}\n")
    assert len(backups(settings)) == 10
    newest = max(backups(settings), key=lambda one: len(one.read_text()))
    assert newest.read_text().endswith("# 11\n")


def test_file_is_reloaded(settings: Settings) -> None:
    settings.file.write_text(settings.file.read_text().replace("threshold: 0.6", "threshold: 0.8"))
    response = settings.client.post("/api/configuration/reload").json()
    assert response["applied"] == ["events.threshold"]
    assert settings.pipeline.config.events.threshold == 0.8


def test_users_and_tokens_change_without_a_restart(settings: Settings) -> None:
    token = hashlib.sha256(b"aw_secret").hexdigest()
    users = (
        f'dashboard:\n  users: {{eve: {{password: "{USER}"}}}}\n'
        f'  tokens: {{robot: {{hash: "sha256:{token}"}}}}\n'
    )
    assert settings.access.open_to_all
    result = save(settings, settings.file.read_text() + users)
    assert result["applied"] == ["dashboard.users.eve added", "dashboard.tokens.robot added"]
    assert result["needs_restart"] == []
    assert not settings.access.open_to_all
    robot = settings.access.identify(None, "Bearer aw_secret", "127.0.0.1")
    assert robot is not None
    assert robot.name == "robot"


def test_run_without_a_file_returns_an_error(tmp_path: Path) -> None:
    with serve_settings(tmp_path, with_file=False) as settings:
        shown = settings.client.get("/api/configuration").json()
        assert (shown["file"], shown["text"]) == ("", "")
        response = settings.client.post("/api/configuration/reload")
        assert response.status_code == 409
        assert "without a configuration file" in response.json()["detail"]
        policy = settings.client.get("/api/tuning").json()["policy"]
        assert settings.client.put("/api/tuning", json={"policy": policy}).status_code == 409
        text = settings.client.post(
            "/api/tuning/text", json={"policy": policy | {"min_duration": 2.5}}
        ).json()
        assert text == "events:\n  min_duration: 2.5s\n"
