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
    seen = settings.client.get("/api/configuration").json()
    answer = settings.client.put(
        "/api/configuration", json={"text": text, "version": seen["version"]}
    )
    return {"status": answer.status_code, **answer.json()}


def kept(settings: Settings) -> list[Path]:
    return sorted(settings.file.parent.glob("watch.yaml.bak-*"))


def test_the_file_is_shown_as_it_is_and_which_flags_win_over_it(settings: Settings) -> None:
    text = settings.file.read_text() + "# ${SECRET}\n"
    settings.file.write_text(text)
    shown = settings.client.get("/api/configuration").json()
    assert shown["text"] == text
    assert (shown["file"], shown["folder"]) == ("watch.yaml", str(settings.file.parent))
    assert shown["flags"] == ["dashboard.port"]


def test_viewers_do_not_see_it(settings: Settings) -> None:
    answer = settings.client.get("/api/configuration", headers={"role": "viewer"})
    assert answer.status_code == 403
    assert "demo:1" not in answer.text


def test_a_good_text_is_saved_whole_and_holds_at_once_and_the_old_one_is_kept(
    settings: Settings,
) -> None:
    before = settings.file.read_text()
    text = before.replace("enter: 0.6", "enter: 0.7") + "model: other\n"
    outcome = save(settings, text)
    assert (outcome["applied"], outcome["needs_restart"]) == (["events.enter"], ["model"])
    assert settings.file.read_text() == text
    assert settings.file.stat().st_mode & 0o777 == 0o640
    assert [one.read_text() for one in kept(settings)] == [before]
    assert kept(settings)[0].stat().st_mode & 0o777 == 0o640
    assert settings.pipeline.config.events.enter == 0.7
    assert outcome["version"] == settings.client.get("/api/configuration").json()["version"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("enter: 0.6", "enter: 6"), "events.enter"),
        (("events:", "event:"), "unknown key 'event'"),
        (("demo:1", "nowhere.mp4"), "nowhere.mp4"),
        (("enter: 0.6", "watch: [fly]"), "has no label 'fly'"),
        (("# My", "\x00"), "not YAML"),
        (("# My", "? [a]\n: b #"), "can't be one"),
        (("# My", 'data: "\\uD800" #'), ""),
        (("# My", "[" * 3000 + "#"), "too many"),
    ],
)
def test_a_bad_text_changes_nothing_and_says_why(
    settings: Settings, change: tuple[str, str], reason: str
) -> None:
    before, config = settings.file.read_text(), settings.pipeline.config
    text = before.replace(*change)
    checked = settings.client.post("/api/configuration/check", json={"text": text})
    outcome = save(settings, text)
    assert checked.status_code == outcome["status"] == 400
    assert reason in checked.json()["detail"]
    assert reason in outcome["detail"]
    assert "\n" not in outcome["detail"]
    assert settings.file.read_text() == before
    assert settings.pipeline.config == config
    assert [one.name for one in settings.file.parent.iterdir() if ".yaml" in one.name] == [
        "watch.yaml"
    ]


def test_checking_tells_what_would_change_and_changes_nothing(settings: Settings) -> None:
    before = settings.file.read_text()
    text = before.replace("  door:", '  yard: {source: "demo:2"}\n  door:')
    checked = settings.client.post("/api/configuration/check", json={"text": text}).json()
    assert checked["applied"] == ["cameras.yard added"]
    assert list(settings.pipeline.cameras) == ["door"]
    assert settings.file.read_text() == before


def test_two_who_edit_do_not_overwrite_each_other(settings: Settings) -> None:
    seen = settings.client.get("/api/configuration").json()
    first = {"text": seen["text"] + "# first\n", "version": seen["version"]}
    second = {"text": seen["text"] + "# second\n", "version": seen["version"]}
    assert settings.client.put("/api/configuration", json=first).status_code == 200
    answer = settings.client.put("/api/configuration", json=second)
    assert answer.status_code == 409
    assert "somebody else" in answer.json()["detail"]
    assert settings.file.read_text() == first["text"]


def test_only_the_last_ten_are_kept(settings: Settings) -> None:
    for number in range(13):
        save(settings, f"{settings.file.read_text()}# {number}\n")
    assert len(kept(settings)) == 10
    newest = max(kept(settings), key=lambda one: len(one.read_text()))
    assert newest.read_text().endswith("# 11\n")


def test_the_file_is_read_again_by_a_button(settings: Settings) -> None:
    settings.file.write_text(settings.file.read_text().replace("enter: 0.6", "enter: 0.8"))
    answer = settings.client.post("/api/configuration/reload").json()
    assert answer["applied"] == ["events.enter"]
    assert settings.pipeline.config.events.enter == 0.8


def test_who_may_come_in_changes_without_a_restart(settings: Settings) -> None:
    token = hashlib.sha256(b"aw_secret").hexdigest()
    users = (
        f'dashboard:\n  users: {{eve: {{password: "{USER}"}}}}\n'
        f'  tokens: {{robot: {{hash: "sha256:{token}"}}}}\n'
    )
    assert settings.access.open_to_all
    outcome = save(settings, settings.file.read_text() + users)
    assert outcome["applied"] == ["dashboard.users.eve added", "dashboard.tokens.robot added"]
    assert outcome["needs_restart"] == []
    assert not settings.access.open_to_all
    robot = settings.access.identify(None, "Bearer aw_secret", "127.0.0.1")
    assert robot is not None
    assert robot.name == "robot"


def test_a_run_without_a_file_says_so(tmp_path: Path) -> None:
    with serve_settings(tmp_path, with_file=False) as settings:
        shown = settings.client.get("/api/configuration").json()
        assert (shown["file"], shown["text"]) == ("", "")
        answer = settings.client.post("/api/configuration/reload")
        assert answer.status_code == 409
        assert "without a configuration file" in answer.json()["detail"]
        policy = settings.client.get("/api/tuning").json()["policy"]
        assert settings.client.put("/api/tuning", json={"policy": policy}).status_code == 409
        text = settings.client.post(
            "/api/tuning/text", json={"policy": policy | {"minimum": 2.5}}
        ).json()
        assert text == "events:\n  minimum: 2.5s\n"
