"""The login page: requests, and a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser import new_page
from tests.conftest import Clock
from tests.guarded import (
    HERE,
    PASSWORD,
    SECRET,
    Served,
    ask,
    configured,
    cookie_from,
    guarded,
    log_in,
    serve,
)
from ui.web.security.access import Access
from ui.web.security.guard import Guard
from ui.web.security.login import safe_redirect


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return guarded(Access(configured(), SECRET, now=clock))


def test_cookie_attributes(guard: Guard) -> None:
    name, *attributes = log_in(guard).headers["set-cookie"].split("; ")
    assert name.startswith("actionwatch-7860=")
    assert set(attributes) == {"HttpOnly", "Max-Age=43200", "Path=/", "SameSite=strict"}
    behind_proxy = log_in(guard, headers={"origin": f"https://{HERE}"})
    assert "; Secure" in behind_proxy.headers["set-cookie"]


def test_https_cookie_is_bound_to_the_host() -> None:
    config = configured(certificate="server.crt", key="server.key")
    guard = guarded(Access(config, SECRET), https=True)
    set_cookie = log_in(guard).headers["set-cookie"]
    assert set_cookie.startswith("__Host-actionwatch-7860=")
    assert "; Secure" in set_cookie
    assert ask(guard, "GET", "/api/me", headers=cookie_from(log_in(guard))).status_code == 200


def test_wrong_passwords_are_reported_and_throttled(guard: Guard, clock: Clock) -> None:
    for _ in range(5):
        answer = log_in(guard, password="wrong")
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        assert "Wrong name or password." in answer.text
    answer = log_in(guard)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "set-cookie" not in answer.headers
    # Forwarding headers do not change the address.
    forged = {"x-forwarded-for": "192.0.2.77", "forwarded": "for=192.0.2.77"}
    assert log_in(guard, "vera", headers=forged).status_code == 429
    clock.seconds += 1
    assert log_in(guard).status_code == 303


def test_body_that_is_no_form_does_not_log_in(guard: Guard) -> None:
    json = {"name": "anna", "password": PASSWORD}
    assert ask(guard, "POST", "/login", json=json).status_code == 401
    for content in (b"name=anna", b"\xff\xfe", b"&" * 10_000, b"a=1&" * 1000):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = ask(guard, "POST", "/login", content=content, headers=headers)
        assert answer.status_code in (401, 429)


def test_user_input_is_escaped(guard: Guard) -> None:
    markup = '"><img src=x onerror=alert(1)>'
    answer = log_in(guard, markup, "wrong", target=f"/{markup}")
    assert "<img" not in answer.text
    # Braces in the input are not template fields.
    assert log_in(guard, "{problem}", "wrong").status_code == 401


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/?day=1#event=2", "/?day=1#event=2"),
        ("/", "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        (" //evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("evil.example", "/"),
        ("/login?next=/login", "/"),
    ],
)
def test_login_redirects_to_own_pages_only(guard: Guard, target: str, expected: str) -> None:
    assert safe_redirect(target) == expected
    assert log_in(guard, target=target).headers["location"] == expected


def test_logged_in_user_skips_the_login_page(guard: Guard) -> None:
    headers = cookie_from(log_in(guard))
    answer = ask(guard, "GET", "/login?next=%2F%3Fa", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?a")


def test_login_page_without_users_explains_it(clock: Clock) -> None:
    answer = ask(guarded(Access(configured(users={}), SECRET)), "GET", "/login")
    assert "dashboard.users" in answer.text
    assert "<form" not in answer.text


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as served:
        yield served


def submit(page: Page, name: str = "anna", password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_label("Password").press("Enter")


def test_login_leads_to_the_requested_page(served: Served) -> None:
    with new_page() as page:
        page.goto(f"http://{served.host}/?day=1")
        expect(page).to_have_url(re.compile("/login"))
        expect(page.get_by_label("Name")).to_be_focused()
        submit(page, password="wrong")
        expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
        expect(page.get_by_label("Password")).to_be_focused()
        submit(page)
        expect(page).to_have_url(f"http://{served.host}/?day=1")
        assert page.evaluate("window.started") is True  # the page's own inline script ran


def test_link_on_another_site_uses_the_session(served: Served) -> None:
    """Browsers send no SameSite=strict cookie with such a request."""
    with new_page() as page:
        page.goto(f"http://{served.host}/")
        submit(page)
        expect(page).to_have_url(f"http://{served.host}/")
        page.route(
            "http://other.example/",
            lambda route: route.fulfill(
                body=f'<a href="http://{served.host}/?day=2">look</a>', content_type="text/html"
            ),
        )
        page.goto("http://other.example/")
        page.get_by_role("link").click()
        expect(page).to_have_url(f"http://{served.host}/?day=2")


def test_injected_markup_runs_no_script(served: Served) -> None:
    with new_page() as page:
        page.goto(f"http://{served.host}/")
        submit(page)
        expect(page).to_have_url(f"http://{served.host}/")
        page.wait_for_load_state()
        page.evaluate(
            """() => new Promise((done) => {
                addEventListener("securitypolicyviolation", done, {once: true});
                document.body.innerHTML = '<img src="/no-image" onerror="window.injected = true">';
            })"""
        )
        assert page.evaluate("window.injected") is None


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_login_page_is_accessible_on_a_phone(served: Served, dark: bool) -> None:
    with new_page(width=320, height=568, dark=dark) as page:
        page.goto(f"http://{served.host}/login")
        submit(page, "nobody", "wrong")
        expect(page.get_by_role("alert")).to_have_text(re.compile("Wrong|Too many"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert Axe().run(page).response["violations"] == []
