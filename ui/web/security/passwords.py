"""Passwords as scrypt hashes, "scrypt:N:r:p:salt:hash", with salt and hash in base64url."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata

_N, _R, _P = 2**15, 8, 3  # 32 MB and a quarter of a second (OWASP, Password Storage Cheat Sheet)
_MAX_MEMORY_BYTES = 2**28  # stream/config/dashboard.py rejects hashes that need more


def hash_password(password: str) -> str:
    """The hash that the configuration stores in place of a password."""
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
