"""The base of all errors for people."""

from __future__ import annotations


class UserError(Exception):
    """An error that a person can fix. The message is one line for them.

    The command line prints it and exits with code 2.
    """
