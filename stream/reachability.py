"""Why a network camera can't be opened: asked step by step, since ffmpeg does not say."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import SplitResult, urlsplit

_PATIENCE_S = 2.0  # for each step
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_CHECK = "check address, user, password and network"


def why_unreachable(address: str) -> str:
    """One line for a person, without user and password. Takes a few seconds at most."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme.lower()]
    except (ValueError, KeyError):
        return "its address is malformed; write it like rtsp://user:password@host:554/path"
    host = parts.hostname or ""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return f"no host of the name {host} is known here; check the name, or use the number"
    try:
        with socket.create_connection((host, port), _PATIENCE_S) as line:
            status = _rtsp_status(line, parts, port) if parts.scheme.lower() == "rtsp" else None
    except TimeoutError:
        return f"{host} does not answer on port {port}; is it on, and in this network?"
    except ConnectionRefusedError:
        return f"{host} is there, but nothing listens on port {port}; check the port"
    except OSError as error:
        return f"{host}, port {port}: {error.strerror or error}; {_CHECK}"
    if parts.scheme.lower() == "http":
        status = _http_status(host, port, parts)
    return _meaning(status, parts)


def _rtsp_status(line: socket.socket, parts: SplitResult, port: int) -> int | None:
    """What a camera answers to DESCRIBE without a password (RFC 2326); None for nonsense."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    target = f"rtsp://{host}:{port}{parts.path}"
    target += f"?{parts.query}" if parts.query else ""
    line.settimeout(_PATIENCE_S)
    line.sendall(f"DESCRIBE {target} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
    return _status(line.recv(64).split(b"\r\n")[0], b"RTSP/")


def _http_status(host: str, port: int, parts: SplitResult) -> int | None:
    line = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        line.request("GET", f"{parts.path or '/'}?{parts.query}".rstrip("?"))
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()


def _status(first_line: bytes, protocol: bytes) -> int | None:
    words = first_line.split()
    if len(words) < 2 or not words[0].startswith(protocol) or not words[1].isdigit():
        return None
    return int(words[1])


def _meaning(status: int | None, parts: SplitResult) -> str:
    if status is None:
        return f"it does not speak {parts.scheme} on that port; {_CHECK}"
    if status in (401, 403):
        return (
            "it refuses this user and password"
            if parts.username
            else "it asks for user and password; write rtsp://user:password@host/path"
        )
    if status == 404:
        return "it has no stream of that path; look it up in the camera's manual"
    if status >= 400:
        return f"it answers with error {status}; {_CHECK}"
    return f"it answers, but sends no video that can be decoded; {_CHECK}"
