from __future__ import annotations

from pathlib import Path

import pytest

from stream.runtime.secrets import SecretError, redact, resolve_secrets


@pytest.mark.parametrize(
    ("source", "redacted"),
    [
        ("rtsp://viewer:pa:ss@cam.local/1", "rtsp://cam.local/1"),
        ("rtsp://viewer:p@ss@cam.local/1", "rtsp://cam.local/1"),
        ("rtsp://viewer:p/ss@cam.local/1", "rtsp://cam.local/1"),  # invalid, but still redacted
        ("rtsp://viewer:${file:/run/x@y}@cam.local:554/1", "rtsp://cam.local:554/1"),
        ("http://cam.local/video?user=a&pwd=b\nc", "http://cam.local/video"),
        ("http://cam.local/a@b", "http://cam.local/a@b"),
        ("rtsp://viewer:12/s3cret@cam.local/1", "rtsp://cam.local/1"),
        ("rtsp:/viewer:s3cret@cam.local/1", "cam.local/1"),
        ("viewer:s3cret@cam.local/1", "cam.local/1"),
        ("rtsp://viewer:p@ss/w@cam.local/1", "rtsp://cam.local/1"),
        ("rtsp://viewer:s3cret:cam.local/1", "rtsp://"),
        ("rtsp://[2001:db8::1]:554/1", "rtsp://[2001:db8::1]:554/1"),
        (
            "rtsp://cam.local/user=admin&password=s3cret&channel=1/pwd=x.sdp",
            "rtsp://cam.local/user=...&password=...&channel=1/pwd=...",
        ),
        ("videos/what?.mp4", "videos/what?.mp4"),
        (0, "0"),
    ],
)
def test_passwords_are_redacted(source: int | str, redacted: str) -> None:
    assert redact(source) == redacted


def test_references_in_an_address_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "p@ss/w:d?")
    monkeypatch.setenv("DOOR_HOST", "192.0.2.1:8554")
    secret = tmp_path / "secret"
    secret.write_text("a b\n")
    source = f"rtsp://v:${{DOOR_PASSWORD}}@${{DOOR_HOST}}/${{file:{secret}}}"
    # Values before the host are quoted, the rest is not.
    assert resolve_secrets(source) == "rtsp://v:p%40ss%2Fw%3Ad%3F@192.0.2.1:8554/a b"
    secret.write_text("rtsp://v:w@192.0.2.1/\n")
    assert resolve_secrets(f"file:{secret}") == "rtsp://v:w@192.0.2.1/"
    assert resolve_secrets("rtsp://v:w@192.0.2.1/$1") == "rtsp://v:w@192.0.2.1/$1"


def test_unresolved_reference_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOBODY", raising=False)
    with pytest.raises(SecretError, match=r"\$\{NOBODY\}: environment variable not set"):
        resolve_secrets("rtsp://v:${NOBODY}@192.0.2.1/")
    with pytest.raises(SecretError, match="nowhere can't be read: No such file"):
        resolve_secrets(f"file:{tmp_path / 'nowhere'}")
    secret = tmp_path / "secret"
    secret.write_text("two\nlines")
    with pytest.raises(SecretError, match="must contain one line") as caught:
        resolve_secrets(f"file:{secret}")
    assert "two" not in str(caught.value)
