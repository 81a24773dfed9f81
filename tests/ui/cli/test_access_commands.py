"""`actionwatch password` and `actionwatch token`, in separate processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.load import ConfigError, load_config
from tests.cli import actionwatch
from tests.guarded import configured
from ui.web.security.access import Access, Identity, verify_password


def test_printed_hash_is_valid_in_the_configuration() -> None:
    done = actionwatch("password", stdin="correct horse\n")
    hashed = done.stdout.strip()
    assert configured(users={"anna": {"password": hashed}})
    assert verify_password("correct horse", hashed)
    assert "dashboard.users" in done.stderr
    assert "correct horse" not in done.stdout + done.stderr


def test_short_password_is_rejected_in_one_line() -> None:
    done = actionwatch("password", stdin="short\n")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "at least 8 characters" in done.stderr


def test_token_is_printed_with_its_hash() -> None:
    lines = actionwatch("token").stdout.splitlines()
    printed = dict(line.split(": ") for line in lines)
    access = Access(configured(users={}, tokens={"home": {"hash": printed["hash"]}}), b"")
    identity = access.identify(None, f"Bearer {printed['token']}", "localhost")
    assert identity == Identity("home", "viewer", is_api_token=True)


def test_plain_text_password_is_rejected_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("dashboard: {users: {anna: {password: hunter22}}}")
    with pytest.raises(
        ConfigError, match="must be the hash that `actionwatch password` prints"
    ) as caught:
        load_config(file)
    assert "hunter22" not in str(caught.value)
