"""The headers that tell a browser what a page of ours may do. Pure."""

from __future__ import annotations

# Gradio makes styles as it goes, so those can't be told apart. It needs no 'unsafe-eval', as no
# gr.HTML of ours has js_on_load; and of inline scripts only those that are in the page as it comes.
_PAGE = (
    "default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src {connect}; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_LOGIN = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": with that, browsers send "Origin: null" with the form of the login page.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), fullscreen=(self), microphone=(), geolocation=(), "
    "display-capture=(), payment=(), usb=(), serial=(), midi=()",
}
_VERSIONED = ("/assets/", "/static/", "/svelte/")  # a name there always has the same content
_OURS = "/ui/"  # ours change with an update: asked for again, and answered by 304


def safe_headers(path: str, host: str, *, https: bool, port: int) -> dict[str, str]:
    """Headers for the answer to a request for `path` by its Host header `host`."""
    headers = {**_ALWAYS, "content-security-policy": policy(path, host)}
    if https and port == 443:
        # Elsewhere it would turn other programs' http on this machine into https as well.
        headers["strict-transport-security"] = "max-age=31536000"
    return headers


def policy(path: str, host: str, scripts: str = "") -> str:
    """Content-Security-Policy; `scripts` are further sources of scripts."""
    if path == "/login":
        return _LOGIN
    return _PAGE.format(connect=_connections(host), scripts=scripts)


def caching(path: str) -> str:
    """Cache-Control for a path whose answer says nothing about it itself."""
    if path.startswith(_VERSIONED):
        return "private, max-age=86400"
    return "no-cache" if path.startswith(_OURS) else "no-store"


def _connections(host: str) -> str:
    """'self' covers WebSockets in new browsers only."""
    return f"'self' ws://{host} wss://{host}" if host else "'self'"
