"""The security headers of responses. Pure."""

from __future__ import annotations

# Gradio creates styles at run time, so they need 'unsafe-inline'. 'unsafe-eval' is not needed, as
# no gr.HTML of ours has js_on_load. Inline scripts are allowed only if the served HTML has them.
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
_VERSIONED = ("/assets/", "/static/", "/svelte/")  # the content of a name never changes
_OWN_ASSETS = "/ui/"  # may change with an update: browsers revalidate, and get 304


def security_headers(path: str, host: str, *, https: bool, port: int) -> dict[str, str]:
    """Headers of the response for `path`; `host` is the Host header."""
    headers = {**_ALWAYS, "content-security-policy": content_security_policy(path, host)}
    if https and port == 443:
        # On another port it would force https on other servers of this machine too.
        headers["strict-transport-security"] = "max-age=31536000"
    return headers


def content_security_policy(path: str, host: str, scripts: str = "") -> str:
    """Content-Security-Policy; `scripts` are additional script sources."""
    if path == "/login":
        return _LOGIN
    return _PAGE.format(connect=_connections(host), scripts=scripts)


def cache_control(path: str) -> str:
    """Cache-Control for a path whose response does not set it."""
    if path.startswith(_VERSIONED):
        return "private, max-age=86400"
    return "no-cache" if path.startswith(_OWN_ASSETS) else "no-store"


def _connections(host: str) -> str:
    """Names WebSockets too: 'self' covers them in new browsers only."""
    return f"'self' ws://{host} wss://{host}" if host else "'self'"
