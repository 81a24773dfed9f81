"""Who may come in, without a server: passwords, sessions, tokens."""

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
from ui.web.security.access import Access, Identity, WrongPasswordError, load_secret, new_token
from ui.web.security.login_throttle import TooManyTriesError
from ui.web.security.passwords import hash_password, is_password

ANNA = Identity("anna", "operator")


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access(configured(), SECRET, now=clock)


def log_in(
    access: Access, name: str = "anna", password: str = PASSWORD, *, client: str = "192.0.2.1"
) -> str:
    return asyncio.run(access.login(name, password, client, HERE))


def test_a_session_is_known_until_it_expires(access: Access, clock: Clock) -> None:
    cookie = log_in(access)
    assert access.identify(cookie, None, HERE) == ANNA
    clock.seconds += 12 * 3600 - 1
    assert access.identify(cookie, None, HERE) == ANNA
    clock.seconds += 1
    assert access.identify(cookie, None, HERE) is None


def test_a_session_outlives_a_restart(access: Access, clock: Clock) -> None:
    assert Access(configured(), SECRET, now=clock).identify(log_in(access), None, HERE) == ANNA


def test_cookies_of_elsewhere_open_nothing(access: Access, clock: Clock) -> None:
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
def test_forged_cookies_open_nothing(access: Access, forge: Any) -> None:
    assert access.identify(forge(log_in(access)), None, HERE) is None


def test_logout_ends_one_session_wherever_its_cookie_is(access: Access) -> None:
    one, other = log_in(access), log_in(access)
    access.logout(one)
    access.logout("nonsense")
    assert access.identify(one, None, HERE) is None
    assert access.identify(other, None, HERE) == ANNA


def test_more_logouts_than_are_remembered_end_all_sessions(
    access: Access, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.web.security.access._MOST_REVOKED", 2)
    cookies = [log_in(access) for _ in range(4)]
    for cookie in cookies[:3]:
        access.logout(cookie)
    assert [access.identify(cookie, None, HERE) for cookie in cookies] == [None] * 4
    clock.seconds += 1
    assert access.identify(log_in(access), None, HERE) == ANNA


def test_changes_of_users_count_at_once(access: Access) -> None:
    anna, vera = log_in(access), log_in(access, "vera")
    access.replace(
        configured(
            users={
                "anna": {"password": cheap_hash("another one"), "role": "operator"},
                "vera": {"password": HASH, "role": "operator"},
            }
        )
    )
    assert access.identify(anna, None, HERE) is None  # her password was changed
    assert access.identify(vera, None, HERE) == Identity("vera", "operator")
    access.replace(configured(users={"anna": {"password": HASH}}))
    assert access.identify(vera, None, HERE) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("anna", "wrong"), ("anna", ""), ("nobody", PASSWORD), ("", ""), ("anna", "x" * 10_000)],
)
def test_wrong_names_and_passwords_are_told_alike(access: Access, name: str, password: str) -> None:
    with pytest.raises(WrongPasswordError, match=r"^wrong name or password$"):
        log_in(access, name, password)


def test_wrong_passwords_are_slowed_though_the_right_one_comes(
    access: Access, clock: Clock
) -> None:
    for _ in range(5):
        with pytest.raises(WrongPasswordError):
            log_in(access, password="wrong")
    with pytest.raises(TooManyTriesError, match="try again in 1 s"):
        log_in(access)
    clock.seconds += 1
    assert log_in(access)


def test_many_tries_at_once_are_refused_before_they_take_the_machine(access: Access) -> None:
    async def flood() -> list[Any]:
        tries = (access.login(f"name{n}", "x", f"192.0.2.{n}", HERE) for n in range(25))
        return await asyncio.gather(*tries, return_exceptions=True)

    told = [type(answer) for answer in asyncio.run(flood())]
    assert (told.count(WrongPasswordError), told.count(TooManyTriesError)) == (10, 15)


def test_a_token_opens_and_another_does_not(access: Access) -> None:
    assert access.identify(None, f"Bearer {TOKEN}", "any") == Identity("home", "operator", True)
    assert access.identify(None, f"bearer  {TOKEN} ", "any") is not None
    for header in (f"Bearer {TOKEN}x", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", "Bearer \xff"):
        assert access.identify(None, header, "any") is None
    # Who sends a token means to come by it, whatever cookie is there.
    assert access.identify(log_in(access), "Bearer wrong", HERE) is None
    # What a proxy in front asked for is not meant for us.
    assert access.identify(log_in(access), "Basic YTpi", HERE) == ANNA


def test_a_new_token_fits_its_hash() -> None:
    token, hashed = new_token()
    access = Access(configured(users={}, tokens={"a": {"hash": hashed}}), SECRET)
    assert access.identify(None, f"Bearer {token}", HERE) == Identity("a", "viewer", True)
    assert access.identify(None, f"Bearer {hashed}", HERE) is None


def test_without_users_and_tokens_everybody_is_an_operator() -> None:
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
        (OPEN, "watch.lan", "actionwatch password"),
        (DashboardConfig(names=["watch.lan"]), "127.0.0.1", "a proxy"),
        (DashboardConfig(insecure=True), "0.0.0.0", ""),
        (configured(), "0.0.0.0", ""),
        (configured(users={}), "0.0.0.0", ""),
    ],
)
def test_only_what_needs_a_password_may_be_reached_by_others(
    config: DashboardConfig, host: str, word: str
) -> None:
    problem = Access(config, b"").problem(host)
    assert word in problem
    assert bool(problem) == bool(word)
    assert "\n" not in problem


def test_a_hash_is_of_its_password_only() -> None:
    kept = hash_password("grüß Gott")
    assert configured(users={"a": {"password": kept}})
    assert kept != hash_password("grüß Gott")
    assert is_password("gru\u0308ß Gott", kept)  # as a Mac types it
    assert not is_password("gruss Gott", kept)


@pytest.mark.parametrize(
    "kept",
    [
        "hunter22",
        HASH.replace("16384:8:1", "1024:8:1"),
        HASH.replace("16384:8:1", "131072:64:99"),
        HASH.replace("16384:8:1", "99999:8:1"),
        HASH.replace("16384", "1" * 5000),
        HASH[:-1],
    ],
)
def test_hashes_that_are_weak_or_take_all_memory_are_refused(kept: str) -> None:
    with pytest.raises(ValidationError):
        configured(users={"anna": {"password": kept}})


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    file = tmp_path / "secret"
    assert len(secret) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert load_secret(tmp_path) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"")  # a crash of long ago
    assert len(load_secret(tmp_path)) == 32
    assert load_secret(tmp_path) == file.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_without_a_folder_to_write_to_sessions_end_with_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_secret(tmp_path / "gone") != load_secret(tmp_path / "gone")
    assert "sessions end with this run" in caplog.text
