"""Taking the dashboard's address, and what makes that impossible."""

from __future__ import annotations

import logging
import socket
import subprocess
from pathlib import Path

import pytest

from stream.config.dashboard import DashboardConfig, UserConfig
from ui.web.security.passwords import hash_password
from ui.web.server import ServerError, reserve


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def made_certificate(folder: Path) -> tuple[Path, Path]:
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


def test_an_address_for_others_needs_a_password_or_a_word_for_it() -> None:
    port = free_port()
    with pytest.raises(ServerError, match=r"nobody needs a password: add dashboard.users"):
        reserve(DashboardConfig(host="0.0.0.0", port=port))
    reserve(DashboardConfig(host="0.0.0.0", port=port, insecure=True)).close()


def test_passwords_without_a_certificate_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    users = {"anna": UserConfig(password=hash_password("correct horse"))}
    with caplog.at_level(logging.WARNING):
        reserve(DashboardConfig(host="0.0.0.0", port=free_port(), users=users)).close()
    assert "passwords cross the network in the clear" in caplog.text


def test_a_certificate_is_looked_at_before_anything_starts(tmp_path: Path) -> None:
    certificate, key = made_certificate(tmp_path)
    port = free_port()
    reserve(DashboardConfig(port=port, certificate=certificate, key=key)).close()
    with pytest.raises(ServerError, match=r"dashboard.certificate .* No such file"):
        reserve(DashboardConfig(port=port, certificate=tmp_path / "no.pem", key=key))
    with pytest.raises(ServerError, match="give PEM files that belong together"):
        reserve(DashboardConfig(port=port, certificate=certificate, key=certificate))
