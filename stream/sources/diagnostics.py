"""Why a network camera can't be opened: asked step by step, since ffmpeg does not say."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_CHECK = "check address, user, password and network"


def malformed(address: str) -> str:
    """What is wrong with how an address is written, or ""."""
    try:
        parts = urlsplit(address)
        there_is_a_host = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        there_is_a_host = False
    if not there_is_a_host:
        return "its address is malformed; write it like rtsp://user:password@host:554/path"
    if parts.username is not None and "@" in parts.path:
        return "a password that holds @ or / has to be percent-encoded, or to come from ${NAME}"
    return ""


def unreachable(address: str, *, patience_s: float) -> str:
    """Why a source can't even be asked, in one line without user and password; "" where it answers.

    To be asked before it is opened: OpenCV opens one source at a time, and while it waits for a
    dead one all others wait, files too.
    """
    return _ask(address, patience_s)[0]


def why_refused(address: str, *, patience_s: float) -> str:
    """Why a source that answers can't be opened all the same."""
    problem, status = _ask(address, patience_s)
    return problem or _meaning(status, urlsplit(address))


def _ask(address: str, patience_s: float) -> tuple[str, int]:
    """What is wrong, or "" and the status that was answered (200 where that can't be known)."""
    parts = urlsplit(address)
    port = parts.port or _PORTS[parts.scheme.lower()]
    host, scheme = parts.hostname or "", parts.scheme.lower()
    if scheme in getproxies():  # then ffmpeg goes by that way, and this machine may know no other
        return "", 200
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return f"no host of the name {host} is known here; check the name, or use the number", 0
    status: int | None = 200
    try:
        with socket.create_connection((host, port), patience_s) as line:
            line.settimeout(patience_s)
            if scheme == "rtsp":
                status = _rtsp_status(line, parts, port)
        if scheme == "http":
            status = _http_status(host, port, parts, patience_s)
    except TimeoutError:
        return f"{host} does not answer on port {port}; is it on, and in this network?", 0
    except ConnectionRefusedError:
        return f"{host} is there, but nothing listens on port {port}; check the port", 0
    except OSError as error:
        return f"{host}, port {port}: {error.strerror or error}; {_CHECK}", 0
    if status is None:
        return f"it does not speak {scheme} on that port; {_CHECK}", 0
    return "", status


def _rtsp_status(line: socket.socket, parts: SplitResult, port: int) -> int | None:
    """What a camera answers to DESCRIBE without a password (RFC 2326); None for nonsense."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    target = f"rtsp://{host}:{port}{parts.path}"
    target += f"?{parts.query}" if parts.query else ""
    line.sendall(f"DESCRIBE {target} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
    return _status(line.recv(64).split(b"\r\n")[0], b"RTSP/")


def _http_status(host: str, port: int, parts: SplitResult, patience_s: float) -> int | None:
    line = http.client.HTTPConnection(host, port, timeout=patience_s)
    try:
        line.request("GET", f"{parts.path or '/'}?{parts.query}".rstrip("?"))
        return line.getresponse().status
    except http.client.HTTPException:
        return None
    finally:
        line.close()


def _status(first_line: bytes, protocol: bytes) -> int | None:
    words = first_line.split()
    if len(words) < 2 or not words[0].startswith(protocol) or not words[1].isdigit():
        return None
    return int(words[1])


def _meaning(status: int, parts: SplitResult) -> str:
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
