"""Authentication: users with passwords and sessions, programs with API tokens, or everybody."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from itsdangerous import BadData, URLSafeSerializer

from stream.config.dashboard import DashboardConfig, Role
from stream.runtime.errors import reason_of
from stream.runtime.files import write_atomically
from ui.web.security.addresses import LoginThrottle, TooManyAttemptsError, is_loopback

_log = logging.getLogger(__name__)
_SALT = "actionwatch session 1"  # the secret may sign other things as well
_MAX_COOKIE_CHARS = 1024  # our cookies have about 300
_MAX_PASSWORD_CHARS = 1024
_MAX_REVOKED = 10_000
_MAX_VERIFYING, _MAX_WAITING = 2, 8  # passwords being verified, and waiting for it
_MAX_CLOCK_STEP_BACK_S = 60.0  # tolerated when the machine's clock was set back
# Of scrypt: 32 MB and a quarter of a second (OWASP, Password Storage Cheat Sheet).
_N, _R, _P = 2**15, 8, 3
_MAX_MEMORY_BYTES = 2**28  # stream/config/dashboard.py rejects hashes that need more


class WrongPasswordError(Exception):
    """The name and the password do not match."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user or program."""

    name: str
    role: Role
    is_api_token: bool = False  # authenticated by a token, which browsers never send

    @property
    def may_change(self) -> bool:
        return self.role == "operator"


_EVERYBODY = Identity("everybody", "operator")


class Access:
    """Holds users, API tokens and the sessions that it created.

    All methods belong to the event loop's thread; any thread may set `config`, and sessions of
    unchanged users stay valid. Without a secret, sessions end with this object. `now` is UTC in
    seconds since 1970.
    """

    def __init__(
        self, config: DashboardConfig, secret: bytes, *, now: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.https = config.certificate is not None
        # Browsers ignore the port, so the name holds it: two runs on one machine stay apart.
        self.cookie_name = f"{'__Host-' if self.https else ''}actionwatch-{config.port}"
        self._now = now
        self._signer = URLSafeSerializer(
            secret or os.urandom(32), _SALT, signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._throttle = LoginThrottle(now)
        self._slots: anyio.Semaphore | None = None  # made in the event loop
        self._verifications = 0
        self._revoked: dict[str, dict[str, Any]] = {}  # logged-out sessions by id
        self._valid_after = 0.0  # sessions created until then have ended

    @property
    def open_to_all(self) -> bool:
        """Whether everybody who reaches the address is an operator."""
        return _is_open_to_all(self.config)

    async def login(self, name: str, password: str, client: str, host: str) -> str:
        """Verify a password and return a session cookie that is valid for the Host header `host`.

        `client` is the caller's address. Raises WrongPasswordError, or TooManyAttemptsError
        without verifying the password.
        """
        if self._verifications >= _MAX_VERIFYING + _MAX_WAITING:
            raise TooManyAttemptsError(1.0)
        self._throttle.start_attempt(client, name)
        config = self.config
        user = config.users.get(name)
        # An unknown name needs as long as a wrong password: timing must not reveal names.
        some_hash = next(iter(config.users.values())).password if config.users else None
        stored = user.password if user is not None else dummy_hash(some_hash)
        matches = await self._verify(password, stored)
        if not matches or user is None:
            raise WrongPasswordError("wrong name or password")
        self._throttle.record_success(client, name)
        session = {
            "user": name,
            "id": secrets.token_urlsafe(12),
            "at": round(self._now(), 3),
            "host": host.lower(),
            "of": _fingerprint(stored),
        }
        return str(self._signer.dumps(session))

    async def _verify(self, password: str, stored: str) -> bool:
        if len(password) > _MAX_PASSWORD_CHARS:
            return False
        if self._slots is None:
            self._slots = anyio.Semaphore(_MAX_VERIFYING)
        self._verifications += 1
        try:
            async with self._slots:
                return await anyio.to_thread.run_sync(verify_password, password, stored)
        finally:
            self._verifications -= 1

    def identify(self, cookie: str | None, authorization: str | None, host: str) -> Identity | None:
        """Identify a request by its session cookie and headers; None if it is anonymous."""
        if self.open_to_all:
            return _EVERYBODY
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return self._token_identity(token.strip())
        return self._session_identity(cookie, host)

    def logout(self, cookie: str | None) -> None:
        """Revoke a session: copies of its cookie become invalid too."""
        session = self._load_session(cookie)
        if session is None or self._is_expired(session):
            return
        self._revoked[session["id"]] = session
        if len(self._revoked) > _MAX_REVOKED:
            self._revoked = {
                key: one for key, one in self._revoked.items() if not self._is_expired(one)
            }
        if len(self._revoked) > _MAX_REVOKED:
            # End all sessions: a new login for everybody is better than a revoked session in use.
            self._revoked.clear()
            self._valid_after = self._now()

    def _is_expired(self, session: dict[str, Any]) -> bool:
        age_s = self._now() - session["at"]
        in_time = -_MAX_CLOCK_STEP_BACK_S <= age_s < self.config.session_lifetime
        return not in_time or session["at"] <= self._valid_after

    def _token_identity(self, token: str) -> Identity | None:
        hashed = f"sha256:{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"
        found = None
        for name, stored in self.config.tokens.items():
            if hmac.compare_digest(hashed, stored.hash):
                found = Identity(name, stored.role, is_api_token=True)
        return found

    def _session_identity(self, cookie: str | None, host: str) -> Identity | None:
        """The user of a valid session, else None."""
        session = self._load_session(cookie)
        if session is None or session["id"] in self._revoked or session["host"] != host.lower():
            return None
        if self._is_expired(session):
            return None
        user = self.config.users.get(session["user"])
        if user is None or not hmac.compare_digest(_fingerprint(user.password), session["of"]):
            return None
        return Identity(session["user"], user.role)

    def _load_session(self, cookie: str | None) -> dict[str, Any] | None:
        if not cookie or len(cookie) > _MAX_COOKIE_CHARS:
            return None
        with contextlib.suppress(BadData):
            session = self._signer.loads(cookie)
            return session if isinstance(session, dict) else None
        return None


def exposure_problem(config: DashboardConfig, host: str) -> str:
    """Why serving a configuration on `host` is insecure, with the fix; "" if it is not."""
    if not _is_open_to_all(config) or config.insecure:
        return ""
    if not is_loopback(host):
        exposure = (
            f"dashboard address {host or '(all)'} can be reached from other machines without a "
            "password"
        )
    elif config.allowed_hosts:
        exposure = (
            f"dashboard.allowed_hosts has {config.allowed_hosts[0]}: the dashboard can be reached "
            "through a proxy without a password"
        )
    else:
        return ""
    return (
        f"{exposure}: add dashboard.users with a hash from `actionwatch password`, or allow "
        "everybody with --insecure"
    )


def _is_open_to_all(config: DashboardConfig) -> bool:
    return not config.users and not config.tokens


def new_token() -> tuple[str, str]:
    """Create an API token; returns it and its hash for the configuration."""
    token = f"aw_{secrets.token_urlsafe(32)}"
    return token, f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def load_secret(folder: Path) -> bytes:
    """Load or create the key that signs sessions: 32 random bytes, readable only by the owner."""
    file = folder / "secret"
    with contextlib.suppress(FileNotFoundError):
        stored = file.read_bytes()
        if len(stored) == 32:
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)
            return stored
    secret = os.urandom(32)
    try:
        write_atomically(file, secret, private=True)
    except OSError as error:
        _log.warning("%s can't be written: %s; sessions end with this run", file, reason_of(error))
    return secret


def _fingerprint(stored: str) -> str:
    """Changes with a user's password, and reveals nothing of its hash."""
    return hashlib.sha256(f"{_SALT} {stored}".encode()).hexdigest()[:32]


def hash_password(password: str) -> str:
    """The scrypt hash of a password, for the configuration.

    It is "scrypt:N:r:p:salt:hash", with salt and hash in base64url.
    """
    salt = os.urandom(16)
    return f"scrypt:{_N}:{_R}:{_P}:{_text(salt)}:{_text(_scrypt(password, salt, _N, _R, _P))}"


def verify_password(password: str, stored: str) -> bool:
    """Whether a hash belongs to this password. Slow; releases the GIL."""
    _, n, r, p, salt, expected = stored.split(":")
    actual = _scrypt(password, _bytes(salt), int(n), int(r), int(p))
    return hmac.compare_digest(actual, _bytes(expected))


def dummy_hash(like: str | None) -> str:
    """A hash that matches no password, and is as slow to verify as `like`."""
    costs = like.split(":")[1:4] if like else (str(_N), str(_R), str(_P))
    return ":".join(("scrypt", *costs, _text(os.urandom(16)), _text(os.urandom(32))))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # Keyboards send an accented letter as one character or as two.
    typed = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(typed, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY_BYTES, dklen=32)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
