"""Passwords as scrypt hashes, "scrypt:N:r:p:salt:hash": the last two in base64 for addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata

_N, _R, _P = 2**15, 8, 3  # 32 MB and a quarter of a second (OWASP, Password Storage Cheat Sheet)
# Bytes; stream/config/dashboard.py refuses hashes that would need more.
_MOST_MEMORY = 2**28


def hash_password(password: str) -> str:
    """What the configuration holds instead of a password."""
    salt = os.urandom(16)
    return f"scrypt:{_N}:{_R}:{_P}:{_text(salt)}:{_text(_scrypt(password, salt, _N, _R, _P))}"


def is_password(password: str, kept: str) -> bool:
    """Whether a hash is this password's. Takes its time, and lets go of Python's lock for it."""
    _, n, r, p, salt, expected = kept.split(":")
    found = _scrypt(password, _bytes(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, _bytes(expected))


def unmatched(like: str | None) -> str:
    """A hash that no password has, and that takes as long to find out as `like`."""
    costs = like.split(":")[1:4] if like else (str(_N), str(_R), str(_P))
    return ":".join(("scrypt", *costs, _text(os.urandom(16)), _text(os.urandom(32))))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # Keyboards differ in how they send an accented letter: as one sign, or as two.
    typed = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(typed, salt=salt, n=n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=32)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
