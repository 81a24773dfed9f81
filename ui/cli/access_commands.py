"""The commands about who may see the dashboard: password, token."""

from __future__ import annotations

import sys

import typer

from ui.cli.terminal import complain, give_up, say

_SHORTEST = 8


def password() -> None:
    """Ask for a password, and print the hash that the configuration holds instead of it."""
    from ui.web.security.passwords import hash_password

    typed = _typed()
    if len(typed) < _SHORTEST:
        give_up(f"a password needs at least {_SHORTEST} characters, this one has {len(typed)}")
    say(hash_password(typed))
    complain("this goes into the configuration: dashboard.users.NAME.password")


def token() -> None:
    """Make a token for a program, and the hash that the configuration holds of it."""
    from ui.web.security.access import new_token

    made, hashed = new_token()
    say(f"token: {made}")
    say(f"hash: {hashed}")
    complain(
        "the program sends the token, which is not shown again, as Authorization: Bearer aw_..."
    )
    complain("the hash goes into the configuration: dashboard.tokens.NAME.hash")


def _typed() -> str:
    """The password, asked for twice; from a pipe, its first line."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))
    return sys.stdin.readline().rstrip("\r\n")
