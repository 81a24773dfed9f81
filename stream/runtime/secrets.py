"""Users and passwords: where they come from, and how they stay out of everything that is shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from stream.sources.opencv_capture import SourceError

_IN_PATH = re.compile(r"\b(user|username|pass|password|passwd|pwd)=[^&/;]*", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{([^}]*)\}")


def resolved(source: str) -> str:
    """An address with what it refers to put in.

    `${NAME}` is an environment variable, `${file:PATH}` what a file holds; `file:PATH` alone is a
    file that holds the whole address. In front of the host what is put in may hold any character.
    Raises SourceError, naming the reference, where there is no such thing.
    """
    if source.startswith("file:"):
        return _content(source.removeprefix("file:"))
    before_host = _before_host(source)

    def value(match: re.Match[str]) -> str:
        found = _value(match[1])
        return quote(found, safe="") if match.start() in before_host else found

    return _REFERENCE.sub(value, source)


def shown(source: int | str) -> str:
    """The source as it may be printed: an address without user, password and query."""
    text = str(source).encode(errors="backslashreplace").decode()
    if "://" not in text:
        # A mistyped address shows no more than its end; in names of files an @ is rare.
        return text if Path(text).exists() else text.rpartition("@")[2]
    hidden = _before_host(text)
    text = text[: hidden.start] + text[hidden.stop :]
    # Cameras also take passwords in the query, and some in the path.
    return _IN_PATH.sub(r"\1=...", re.sub(r"\?.*", "", text, flags=re.DOTALL))


def _before_host(address: str) -> range:
    """Where user and password stand, up to and with the @."""
    plain = _REFERENCE.sub(_blank, address)
    start = plain.find("://") + 3
    slash = plain.find("/", start)
    authority = plain[start:slash] if slash >= 0 else plain[start:]
    # A password may hold an @. One that holds a / is a mistake, which must not show it either.
    host_alone = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?", authority)
    if "@" not in authority and host_alone and not re.search(r"^[^/]*:\d+/[^/]*@", plain[start:]):
        return range(start, start)
    end = plain.rfind("@") + 1
    return range(start, end if end > start else len(plain))  # without an @: all of it may be secret


def _blank(match: re.Match[str]) -> str:
    """As long as the reference, and without anything that means something in an address."""
    return "x" * len(match[0])


def _value(name: str) -> str:
    if name.startswith("file:"):
        return _content(name.removeprefix("file:"))
    if name not in os.environ:
        raise SourceError(f"${{{name}}}: there is no environment variable of that name; set it")
    return os.environ[name]


def _content(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise SourceError(f"file:{file} can't be read: {reason}") from error
    if not text or "\n" in text:
        raise SourceError(f"file:{file} must hold one line, the secret")
    return text
