"""User names and passwords in addresses: resolve references, and redact them for output."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

_IN_PATH = re.compile(r"\b(user|username|pass|password|passwd|pwd)=[^&/;]*", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{([^}]*)\}")


class SecretError(Exception):
    """A reference to a secret that can't be resolved. The message is one line for a person."""


def resolve_secrets(source: str) -> str:
    """Replace references in an address by their values.

    `${NAME}` is an environment variable and `${file:PATH}` the content of a file; `file:PATH` alone
    is a file with the whole address. Values in front of the host may contain any character.
    Raises SecretError, naming the reference, if it can't be resolved.
    """
    if source.startswith("file:"):
        return _content(source.removeprefix("file:"))
    before_host = _before_host(source)

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("file:"):
            found = _content(name.removeprefix("file:"))
        elif name in os.environ:
            found = os.environ[name]
        else:
            raise SecretError(f"${{{name}}}: environment variable not set; set it")
        return quote(found, safe="") if match.start() in before_host else found

    return _REFERENCE.sub(value, source)


def redact(source: int | str) -> str:
    """The source for output: an address without user, password and query."""
    text = str(source).encode(errors="backslashreplace").decode()
    if "://" not in text:
        # Of a mistyped address only the end is shown; an @ in file names is rare.
        return text if Path(text).exists() else text.rpartition("@")[2]
    secret = _before_host(text)
    text = text[: secret.start] + text[secret.stop :]
    # Cameras also accept passwords in the query, and some in the path.
    return _IN_PATH.sub(r"\1=...", re.sub(r"\?.*", "", text, flags=re.DOTALL))


def _before_host(address: str) -> range:
    """The positions of user and password, including the @."""
    # References become placeholders of the same length without special characters.
    plain = _REFERENCE.sub(lambda match: "x" * len(match[0]), address)
    start = plain.find("://") + 3
    slash = plain.find("/", start)
    authority = plain[start:slash] if slash >= 0 else plain[start:]
    # A password may contain an @. One with a / is invalid, but must not be printed either.
    host_alone = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?", authority)
    if "@" not in authority and host_alone and not re.search(r"^[^/]*:\d+/[^/]*@", plain[start:]):
        return range(start, start)
    end = plain.rfind("@") + 1
    return range(start, end if end > start else len(plain))  # without an @ all of it may be secret


def _content(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise SecretError(f"file:{file} can't be read: {reason}") from error
    if not text or "\n" in text:
        raise SecretError(f"file:{file} must contain one line, the secret")
    return text
