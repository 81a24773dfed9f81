"""`actionwatch password` and `actionwatch token`, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream.config.load import ConfigError, load_config
from tests.guarded import configured
from ui.web.security.access import Access, Identity
from ui.web.security.passwords import is_password

ROOT = Path(__file__).parents[3]


def actionwatch(command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ui.cli", command],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_password_becomes_what_the_configuration_takes() -> None:
    done = actionwatch("password", "correct horse\n")
    kept = done.stdout.strip()
    assert configured(users={"anna": {"password": kept}})
    assert is_password("correct horse", kept)
    assert "dashboard.users" in done.stderr
    assert "correct horse" not in done.stdout + done.stderr


def test_a_short_password_is_refused_in_one_line() -> None:
    done = actionwatch("password", "short\n")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "at least 8 characters" in done.stderr


def test_a_token_comes_with_its_hash() -> None:
    lines = actionwatch("token").stdout.splitlines()
    printed = dict(line.split(": ") for line in lines)
    access = Access(configured(users={}, tokens={"home": {"hash": printed["hash"]}}), b"")
    who = access.identify(None, f"Bearer {printed['token']}", "localhost")
    assert who == Identity("home", "viewer", program=True)


def test_a_password_written_down_as_it_is_gets_refused_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text("dashboard: {users: {anna: {password: hunter22}}}")
    with pytest.raises(ConfigError, match="must be what `actionwatch password` prints") as caught:
        load_config(file)
    assert "hunter22" not in str(caught.value)
