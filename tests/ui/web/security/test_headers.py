from __future__ import annotations

from tests.conftest import Clock
from tests.guarded import OPEN, SECRET, ask, configured, guarded
from ui.web.security.access import Access
from ui.web.security.guard import Guard


def test_every_response_has_security_headers(clock: Clock) -> None:
    guard, open_guard = guarded(Access(configured(), SECRET, now=clock)), guarded(Access(OPEN, b""))
    answers = [
        ask(guard, "GET", "/api/me"),
        ask(guard, "GET", "/login"),
        ask(guard, "GET", "/", headers={"accept": "text/html"}),
        ask(guard, "GET", "/", host="evil.example"),
        ask(open_guard, "GET", "/"),
        ask(open_guard, "GET", "/api/me"),
        ask(open_guard, "GET", "/gradio_api/upload"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.replace("style-src 'self' 'unsafe-inline'", "")
        assert not [key for key in answer.headers if key.startswith("access-control-")]


def test_inline_scripts_of_the_page_are_allowed_by_hash() -> None:
    answer = ask(guarded(Access(OPEN, b"")), "GET", "/", headers={"accept-encoding": "br, gzip"})
    assert "window.started" in answer.text
    # The hash of `openssl dgst -sha256 -binary | base64`.
    assert (
        "script-src 'self' 'sha256-L3WSA06ZQGqC6pAR8Pn7uCXQ0E2Qm3sJCsoXSjVK+PQ=';"
        in answer.headers["content-security-policy"]
    )


def test_hsts_is_sent_only_on_port_443(clock: Clock) -> None:
    access = Access(configured(), SECRET, now=clock)
    other_port = guarded(access, https=True)
    assert "strict-transport-security" not in ask(other_port, "GET", "/login").headers
    port_443 = Guard(other_port._app, access, host="0.0.0.0", port=443, https=True)
    assert "strict-transport-security" in ask(port_443, "GET", "/login").headers
