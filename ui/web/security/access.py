"""Who may come in: users with passwords and sessions, programs with tokens, or everybody."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from itsdangerous import BadData, URLSafeSerializer

from stream.config.dashboard import DashboardConfig, Role
from ui.web.security.addresses import is_loopback
from ui.web.security.login_throttle import SlowDown, TooManyTriesError
from ui.web.security.passwords import is_password, unmatched

_log = logging.getLogger(__name__)
_SALT = "actionwatch session 1"  # so that the secret may sign other things as well
_LONGEST_COOKIE = 1024  # characters; ours have about 300
_LONGEST_PASSWORD = 1024
_MOST_REVOKED = 10_000
_AT_ONCE, _WAITING = 2, 8  # passwords that are looked at, and those that wait for it
_CLOCK_BACK_S = 60.0  # so much a machine's clock may have been put back


class WrongPasswordError(Exception):
    """A name and a password that don't belong together."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who was let in."""

    name: str
    role: Role
    program: bool = False  # came with a token, which no browser sends by itself

    @property
    def may_change(self) -> bool:
        return self.role == "operator"


_EVERYBODY = Identity("everybody", "operator")


class Access:
    """Knows users and tokens, and the sessions that it began.

    Belongs to the event loop's thread, but for `replace`. Without a secret, sessions end with this
    object. `now` is UTC in seconds since 1970.
    """

    def __init__(
        self, config: DashboardConfig, secret: bytes, *, now: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self.https = config.certificate is not None
        # With the port, which browsers ignore: two watches on one machine keep apart.
        self.cookie_name = f"{'__Host-' if self.https else ''}actionwatch-{config.port}"
        self._now = now
        self._signer = URLSafeSerializer(
            secret or os.urandom(32), _SALT, signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._slow_down = SlowDown(now)
        self._looking: anyio.Semaphore | None = None  # made in the event loop
        self._busy = 0
        self._revoked: dict[str, dict[str, Any]] = {}  # sessions that were logged out, by id
        self._nothing_before = 0.0  # sessions that began until then are over

    @property
    def open_to_all(self) -> bool:
        """Whether everybody who reaches the address is an operator."""
        config = self._config  # one and the same, though it may be replaced meanwhile
        return not config.users and not config.tokens

    @property
    def has_users(self) -> bool:
        return bool(self._config.users)

    @property
    def names(self) -> list[str]:
        """Host names under which browsers may come, besides those that are always ours."""
        return self._config.names

    @property
    def session_s(self) -> int:
        return int(self._config.session)

    def replace(self, config: DashboardConfig) -> None:
        """Other users and tokens from now on, from any thread; nobody else's session ends."""
        self._config = config

    def problem(self, host: str) -> str:
        """Why this configuration may not be served on an address, with the fix; "" if it may."""
        if not self.open_to_all or self._config.insecure:
            return ""
        if not is_loopback(host):
            return (
                f"dashboard address {host or '(all)'} can be reached by others, and nobody needs a "
                "password: add dashboard.users with what `actionwatch password` prints, or let "
                "everybody in with --insecure"
            )
        if self._config.names:
            return (
                f"dashboard.names has {self._config.names[0]}, so others may come by a proxy, and "
                "nobody needs a password: add dashboard.users with what `actionwatch password` "
                "prints, or let everybody in with --insecure"
            )
        return ""

    async def login(self, name: str, password: str, client: str, host: str) -> str:
        """A session's cookie, good for the Host header `host`; `client` is the caller's address.

        Raises WrongPasswordError, or TooManyTriesError where the password was not looked at.
        """
        if self._busy >= _AT_ONCE + _WAITING:
            raise TooManyTriesError(1.0)
        self._slow_down.begin(client, name)
        config = self._config
        user = config.users.get(name)
        # An unknown name takes as long as a wrong password, so that names can't be found out.
        some = next(iter(config.users.values())).password if config.users else None
        kept = user.password if user is not None else unmatched(some)
        right = await self._is_password(password, kept)
        if not right or user is None:
            raise WrongPasswordError("wrong name or password")
        self._slow_down.right(client, name)
        session = {
            "user": name,
            "id": secrets.token_urlsafe(12),
            "at": round(self._now(), 3),
            "host": host.lower(),
            "of": _fingerprint(kept),
        }
        return str(self._signer.dumps(session))

    async def _is_password(self, password: str, kept: str) -> bool:
        if len(password) > _LONGEST_PASSWORD:
            return False
        if self._looking is None:
            self._looking = anyio.Semaphore(_AT_ONCE)
        self._busy += 1
        try:
            async with self._looking:
                return await anyio.to_thread.run_sync(is_password, password, kept)
        finally:
            self._busy -= 1

    def identify(self, cookie: str | None, authorization: str | None, host: str) -> Identity | None:
        """Whose request this is, by its session cookie and its headers; None if nobody's."""
        if self.open_to_all:
            return _EVERYBODY
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return self._program(token.strip())
        return self._user(cookie, host)

    def logout(self, cookie: str | None) -> None:
        """End a session, wherever its cookie may be."""
        session = self._signed(cookie)
        if session is None or self._is_old(session):
            return
        self._revoked[session["id"]] = session
        if len(self._revoked) > _MOST_REVOKED:
            self._revoked = {i: one for i, one in self._revoked.items() if not self._is_old(one)}
        if len(self._revoked) > _MOST_REVOKED:
            # Then all end: better to have everybody log in again than to let an ended one go on.
            self._revoked.clear()
            self._nothing_before = self._now()

    def _is_old(self, session: dict[str, Any]) -> bool:
        age_s = self._now() - session["at"]
        in_time = -_CLOCK_BACK_S <= age_s < self._config.session
        return not in_time or session["at"] <= self._nothing_before

    def _program(self, token: str) -> Identity | None:
        hashed = f"sha256:{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"
        found = None
        for name, kept in self._config.tokens.items():
            if hmac.compare_digest(hashed, kept.hash):
                found = Identity(name, kept.role, program=True)
        return found

    def _user(self, cookie: str | None, host: str) -> Identity | None:
        """Whose session a cookie is of, if all that it says still holds."""
        session = self._signed(cookie)
        if session is None or session["id"] in self._revoked or session["host"] != host.lower():
            return None
        if self._is_old(session):
            return None
        user = self._config.users.get(session["user"])
        if user is None or not hmac.compare_digest(_fingerprint(user.password), session["of"]):
            return None
        return Identity(session["user"], user.role)

    def _signed(self, cookie: str | None) -> dict[str, Any] | None:
        if not cookie or len(cookie) > _LONGEST_COOKIE:
            return None
        with contextlib.suppress(BadData):
            session = self._signer.loads(cookie)
            return session if isinstance(session, dict) else None
        return None


def new_token() -> tuple[str, str]:
    """A token for a program, and the hash of it that the configuration holds."""
    token = f"aw_{secrets.token_urlsafe(32)}"
    return token, f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def load_secret(folder: Path) -> bytes:
    """What sessions are signed with: 32 random bytes, made once, that only the owner may read."""
    file = folder / "secret"
    with contextlib.suppress(FileNotFoundError):
        kept = file.read_bytes()
        if len(kept) == 32:
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)
            return kept
    secret = os.urandom(32)
    # Under another name first: a crash in between must not leave half of one.
    part = folder / "secret.part"
    try:
        part.unlink(missing_ok=True)  # so that none with other rights is written into
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as to:
            to.write(secret)
            to.flush()
            os.fsync(to.fileno())
        part.replace(file)
    except OSError as error:
        _log.warning("%s can't be written: %s; sessions end with this run", file, error.strerror)
    return secret


def _fingerprint(kept: str) -> str:
    """Changes with a user's password, and tells nothing of its hash."""
    return hashlib.sha256(f"{_SALT} {kept}".encode()).hexdigest()[:32]
