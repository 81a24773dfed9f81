"""Authentication without a server: passwords, sessions, tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import URLSafeSerializer
from pydantic import ValidationError

from stream.config.dashboard import DashboardConfig
from tests.conftest import Clock
from tests.guarded import HASH, HERE, OPEN, PASSWORD, SECRET, TOKEN, cheap_hash, configured
from ui.web.security.access import (
    Access,
    Identity,
    WrongPasswordError,
    exposure_problem,
    hash_password,
    load_secret,
    new_token,
    verify_password,
)
from ui.web.security.addresses import TooManyAttemptsError

ANNA = Identity("anna", "operator")


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access(configured(), SECRET, now=clock)


def log_in(
    access: Access, name: str = "anna", password: str = PASSWORD, *, client: str = "192.0.2.1"
) -> str:
    return asyncio.run(access.login(name, password, client, HERE))


def test_session_is_valid_until_it_expires(access: Access, clock: Clock) -> None:
    cookie = log_in(access)
    assert access.identify(cookie, None, HERE) == ANNA
    clock.seconds += 12 * 3600 - 1
    assert access.identify(cookie, None, HERE) == ANNA
    clock.seconds += 1
    assert access.identify(cookie, None, HERE) is None


def test_session_survives_a_restart(access: Access, clock: Clock) -> None:
    assert Access(configured(), SECRET, now=clock).identify(log_in(access), None, HERE) == ANNA


def test_cookies_of_other_hosts_and_secrets_are_rejected(access: Access, clock: Clock) -> None:
    cookie = log_in(access)
    assert access.identify(cookie, None, "127.0.0.1:7861") is None  # of another host
    assert Access(configured(), b"t" * 32, now=clock).identify(cookie, None, HERE) is None
    assert Access(configured(), b"", now=clock).identify(cookie, None, HERE) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda cookie: cookie[:-9] + ("A" if cookie[-9] != "A" else "B") + cookie[-8:],
        lambda cookie: "A" + cookie,
        lambda cookie: cookie.split(".")[0] + ".",
        lambda cookie: URLSafeSerializer(b"", "actionwatch session 1").dumps({"user": "anna"}),
        lambda cookie: URLSafeSerializer(SECRET, "another use").dumps(
            {"user": "anna", "id": "a", "at": 100, "host": HERE, "of": ""}
        ),
        lambda cookie: cookie * 1000,
        lambda cookie: "\x00\xff" + cookie,
        lambda cookie: "",
    ],
)
def test_forged_cookies_are_rejected(access: Access, forge: Any) -> None:
    assert access.identify(forge(log_in(access)), None, HERE) is None


def test_logout_ends_only_its_session(access: Access) -> None:
    one, other = log_in(access), log_in(access)
    access.logout(one)
    access.logout("nonsense")
    assert access.identify(one, None, HERE) is None
    assert access.identify(other, None, HERE) == ANNA


def test_too_many_logouts_end_all_sessions(
    access: Access, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.web.security.access._MAX_REVOKED", 2)
    cookies = [log_in(access) for _ in range(4)]
    for cookie in cookies[:3]:
        access.logout(cookie)
    assert [access.identify(cookie, None, HERE) for cookie in cookies] == [None] * 4
    clock.seconds += 1
    assert access.identify(log_in(access), None, HERE) == ANNA


def test_user_changes_are_effective_immediately(access: Access) -> None:
    anna, vera = log_in(access), log_in(access, "vera")
    access.config = configured(
        users={
            "anna": {"password": cheap_hash("another one"), "role": "operator"},
            "vera": {"password": HASH, "role": "operator"},
        }
    )
    assert access.identify(anna, None, HERE) is None  # the password was changed
    assert access.identify(vera, None, HERE) == Identity("vera", "operator")
    access.config = configured(users={"anna": {"password": HASH}})
    assert access.identify(vera, None, HERE) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("anna", "wrong"), ("anna", ""), ("nobody", PASSWORD), ("", ""), ("anna", "x" * 10_000)],
)
def test_wrong_name_and_wrong_password_have_the_same_error(
    access: Access, name: str, password: str
) -> None:
    with pytest.raises(WrongPasswordError, match=r"^wrong name or password$"):
        log_in(access, name, password)


def test_throttle_also_delays_the_right_password(access: Access, clock: Clock) -> None:
    for _ in range(5):
        with pytest.raises(WrongPasswordError):
            log_in(access, password="wrong")
    with pytest.raises(TooManyAttemptsError, match="try again in 1 s"):
        log_in(access)
    clock.seconds += 1
    assert log_in(access)


def test_number_of_parallel_attempts_is_limited(access: Access) -> None:
    async def flood() -> list[Any]:
        attempts = (access.login(f"name{n}", "x", f"192.0.2.{n}", HERE) for n in range(25))
        return await asyncio.gather(*attempts, return_exceptions=True)

    errors = [type(answer) for answer in asyncio.run(flood())]
    assert (errors.count(WrongPasswordError), errors.count(TooManyAttemptsError)) == (10, 15)


def test_only_valid_tokens_are_accepted(access: Access) -> None:
    assert access.identify(None, f"Bearer {TOKEN}", "any") == Identity("home", "operator", True)
    assert access.identify(None, f"bearer  {TOKEN} ", "any") is not None
    for header in (f"Bearer {TOKEN}x", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", "Bearer \xff"):
        assert access.identify(None, header, "any") is None
    # A token has precedence over a cookie.
    assert access.identify(log_in(access), "Bearer wrong", HERE) is None
    # Basic authentication of a proxy is ignored.
    assert access.identify(log_in(access), "Basic YTpi", HERE) == ANNA


def test_new_token_matches_its_hash() -> None:
    token, hashed = new_token()
    access = Access(configured(users={}, tokens={"a": {"hash": hashed}}), SECRET)
    assert access.identify(None, f"Bearer {token}", HERE) == Identity("a", "viewer", True)
    assert access.identify(None, f"Bearer {hashed}", HERE) is None


def test_everybody_is_an_operator_without_users_and_tokens() -> None:
    everybody = Access(OPEN, b"").identify(None, None, HERE)
    assert everybody is not None
    assert everybody.may_change


@pytest.mark.parametrize(
    ("config", "host", "word"),
    [
        (OPEN, "127.0.0.1", ""),
        (OPEN, "::1", ""),
        (OPEN, "localhost", ""),
        (OPEN, "0.0.0.0", "actionwatch password"),
        (OPEN, "192.168.1.5", "--insecure"),
        (OPEN, "", "--insecure"),
        (OPEN, "cameras.lan", "actionwatch password"),
        (DashboardConfig(allowed_hosts=["cameras.lan"]), "127.0.0.1", "a proxy"),
        (DashboardConfig(insecure=True), "0.0.0.0", ""),
        (configured(), "0.0.0.0", ""),
        (configured(users={}), "0.0.0.0", ""),
    ],
)
def test_public_address_needs_authentication(config: DashboardConfig, host: str, word: str) -> None:
    problem = exposure_problem(config, host)
    assert word in problem
    assert bool(problem) == bool(word)
    assert "\n" not in problem


def test_hash_matches_only_its_password() -> None:
    stored = hash_password("grüß Gott")
    assert configured(users={"a": {"password": stored}})
    assert stored != hash_password("grüß Gott")
    assert verify_password("gru\u0308ß Gott", stored)  # decomposed, as on a Mac
    assert not verify_password("gruss Gott", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "hunter22",
        HASH.replace("16384:8:1", "1024:8:1"),
        HASH.replace("16384:8:1", "131072:64:99"),
        HASH.replace("16384:8:1", "99999:8:1"),
        HASH.replace("16384", "1" * 5000),
        HASH[:-1],
    ],
)
def test_weak_and_too_expensive_hashes_are_rejected(stored: str) -> None:
    with pytest.raises(ValidationError):
        configured(users={"anna": {"password": stored}})


def test_secret_is_created_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    file = tmp_path / "secret"
    assert len(secret) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert load_secret(tmp_path) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"")  # after a crash
    assert len(load_secret(tmp_path)) == 32
    assert load_secret(tmp_path) == file.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_sessions_end_with_the_run_without_a_writable_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_secret(tmp_path / "missing") != load_secret(tmp_path / "missing")
    assert "sessions end with this run" in caplog.text
