"""Finds out why a network camera can't be opened, step by step, since ffmpeg does not report it."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from stream.runtime.errors import reason_of

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_CHECK = "check address, user, password and network"


def validate_url(address: str) -> str:
    """The mistake in how an address is written, or ""."""
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        has_host = False
    if not has_host:
        return "its address is malformed; write it like rtsp://user:password@host:554/path"
    if parts.username is not None and "@" in parts.path:
        return "a password that holds @ or / has to be percent-encoded, or to come from ${NAME}"
    return ""


def check_reachable(address: str, *, timeout_s: float) -> str:
    """Why a source can't be reached, in one line without user and password; "" if it responds.

    Call it before opening the source: OpenCV opens one source at a time, and while it waits for a
    dead one all other sources wait, files too.
    """
    return _diagnose(address, timeout_s)[0]


def explain_open_failure(address: str, *, timeout_s: float) -> str:
    """Why a source that responds can't be opened."""
    problem, status = _diagnose(address, timeout_s)
    return problem or _explain_status(status, urlsplit(address))


def _diagnose(address: str, timeout_s: float) -> tuple[str, int]:
    """The problem, or "" and the status of the response (200 where it can't be determined)."""
    parts = urlsplit(address)
    port = parts.port or _PORTS[parts.scheme.lower()]
    host, scheme = parts.hostname or "", parts.scheme.lower()
    if scheme in getproxies():  # ffmpeg uses the proxy; this machine may have no direct route
        return "", 200
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return f"no host of the name {host} is known here; check the name, or use the number", 0
    status: int | None = 200
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            if scheme == "rtsp":
                status = _rtsp_status(connection, parts, port)
        if scheme == "http":
            status = _http_status(host, port, parts, timeout_s)
    except TimeoutError:
        return f"{host} does not answer on port {port}; is it on, and in this network?", 0
    except ConnectionRefusedError:
        return f"{host} is there, but nothing listens on port {port}; check the port", 0
    except OSError as error:
        return f"{host}, port {port}: {reason_of(error)}; {_CHECK}", 0
    if status is None:
        return f"it does not speak {scheme} on that port; {_CHECK}", 0
    return "", status


def _rtsp_status(connection: socket.socket, parts: SplitResult, port: int) -> int | None:
    """Status of a DESCRIBE without a password (RFC 2326); None if the response is not RTSP."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    target = f"rtsp://{host}:{port}{parts.path}"
    target += f"?{parts.query}" if parts.query else ""
    connection.sendall(f"DESCRIBE {target} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
    return _parse_status(connection.recv(64).split(b"\r\n")[0], b"RTSP/")


def _http_status(host: str, port: int, parts: SplitResult, timeout_s: float) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}".rstrip("?"))
        return connection.getresponse().status
    except http.client.HTTPException:
        return None
    finally:
        connection.close()


def _parse_status(first_line: bytes, protocol: bytes) -> int | None:
    words = first_line.split()
    if len(words) < 2 or not words[0].startswith(protocol) or not words[1].isdigit():
        return None
    return int(words[1])


def _explain_status(status: int, parts: SplitResult) -> str:
    if status in (401, 403):
        return (
            "it rejects this user and password"
            if parts.username
            else "it needs user and password; write rtsp://user:password@host/path"
        )
    if status == 404:
        return "it has no stream of that path; look it up in the camera's manual"
    if status >= 400:
        return f"it answers with error {status}; {_CHECK}"
    return f"it answers, but sends no video that can be decoded; {_CHECK}"
