"""Errors for people: their base class, and texts that fit into one line."""

from __future__ import annotations

import unicodedata


class UserError(Exception):
    """An error that a person can fix. The message is one line for them.

    The command line prints it and exits with code 2.
    """


def reason_of(error: BaseException) -> str:
    """Why something failed, in one line: the system's text for an OSError, without its path."""
    return getattr(error, "strerror", None) or first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its type."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def printable(text: object) -> str:
    """The text for one line of a message: control characters and line breaks are replaced."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        else character
        for character in str(text)
    )
