"""Binding the dashboard's address, and errors of it."""

from __future__ import annotations

import logging
import socket
import subprocess
from pathlib import Path

import pytest

from stream.config.dashboard import DashboardConfig, UserConfig
from ui.web.security.access import hash_password
from ui.web.server import ServerError, open_listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_public_address_needs_a_password_or_insecure() -> None:
    port = free_port()
    with pytest.raises(ServerError, match=r"without a password: add dashboard.users"):
        open_listener(DashboardConfig(host="0.0.0.0", port=port))
    open_listener(DashboardConfig(host="0.0.0.0", port=port, insecure=True)).close()


def test_missing_certificate_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    users = {"anna": UserConfig(password=hash_password("correct horse"))}
    with caplog.at_level(logging.WARNING):
        open_listener(DashboardConfig(host="0.0.0.0", port=free_port(), users=users)).close()
    assert "passwords are sent unencrypted" in caplog.text


def test_certificate_is_checked_before_the_server_starts(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    open_listener(DashboardConfig(port=port, certificate=certificate, key=key)).close()
    with pytest.raises(ServerError, match=r"dashboard.certificate .* No such file"):
        open_listener(DashboardConfig(port=port, certificate=tmp_path / "no.pem", key=key))
    with pytest.raises(ServerError, match="give PEM files that match"):
        open_listener(DashboardConfig(port=port, certificate=certificate, key=certificate))
