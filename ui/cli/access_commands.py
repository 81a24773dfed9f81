"""Credentials for the dashboard: password, token."""

from __future__ import annotations

import sys

import typer

from ui.cli.terminal import fail, print_error, print_line

_MIN_CHARS = 8


def password() -> None:
    """Ask for a password and print its hash for the configuration."""
    from ui.web.security.passwords import hash_password

    entered = _read_password()
    if len(entered) < _MIN_CHARS:
        fail(f"a password needs at least {_MIN_CHARS} characters, got {len(entered)}")
    print_line(hash_password(entered))
    print_error("put this into the configuration: dashboard.users.NAME.password")


def token() -> None:
    """Create an API token and its hash for the configuration."""
    from ui.web.security.access import new_token

    created, hashed = new_token()
    print_line(f"token: {created}")
    print_line(f"hash: {hashed}")
    print_error("clients send the token, which is not shown again, as Authorization: Bearer aw_...")
    print_error("put the hash into the configuration: dashboard.tokens.NAME.hash")


def _read_password() -> str:
    """Prompt for the password twice; from a pipe, read the first line."""
    if sys.stdin.isatty():
        return str(
            typer.prompt("Password", hide_input=True, confirmation_prompt="Repeat", err=True)
        )
    return sys.stdin.readline().rstrip("\r\n")
