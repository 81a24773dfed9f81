"""The login page, which works without scripts, and logout."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ui.web.security.access import Access, WrongPasswordError
from ui.web.security.addresses import TooManyAttemptsError
from ui.web.security.guard import read_cookie

_FORM = "application/x-www-form-urlencoded"
_TEMPLATES = Path(__file__).parents[1] / "templates"
_PAGE = (_TEMPLATES / "login.html").read_text(encoding="utf-8")
_LOGIN_FORM = (_TEMPLATES / "login_form.html").read_text(encoding="utf-8")
_NO_USERS = (
    "<p>Nobody can log in: the configuration has API tokens, but no "
    "<code>dashboard.users</code>.</p>"
)
_CONTINUE = '<p><a href="{address}">Continue</a></p>'


def login_routes(access: Access) -> list[Route]:
    """/login and /logout."""

    async def show(request: Request) -> Response:
        target = safe_redirect(request.query_params.get("next", ""))
        if request.state.identity is not None:
            return RedirectResponse(target, 303)
        if request.headers.get("sec-fetch-site") == "cross-site":
            # Browsers send no SameSite=strict cookie after a link on another site, but after a
            # refresh of our own page they do.
            address = f"/login?next={quote(target, safe='')}"
            return _page(_CONTINUE.format(address=escape(address)), refresh=address)
        return _page(_login_form(target) if access.config.users else _NO_USERS)

    async def log_in(request: Request) -> Response:
        fields = await _fields(request)
        target, name = safe_redirect(fields.get("next", "")), fields.get("name", "")
        client = request.client.host if request.client is not None else ""
        host = request.headers.get("host", "")
        try:
            session = await access.login(name, fields.get("password", ""), client, host)
        except WrongPasswordError:
            return _page(_login_form(target, name, "Wrong name or password."), 401)
        except TooManyAttemptsError as error:
            wait_s = math.ceil(error.retry_after_s)
            problem = f"Too many wrong passwords. Try again in {wait_s} s."
            page = _page(_login_form(target, name, problem), 429)
            page.headers["Retry-After"] = str(wait_s)
            return page
        response = RedirectResponse(target, 303)
        response.set_cookie(
            access.cookie_name,
            session,
            max_age=int(access.config.session_lifetime),
            path="/",
            # A proxy may terminate TLS; then the Origin header is https.
            secure=access.https or request.headers.get("origin", "").startswith("https://"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def log_out(request: Request) -> Response:
        access.logout(read_cookie(request.headers, access.cookie_name))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(
            access.cookie_name, path="/", secure=access.https, httponly=True, samesite="strict"
        )
        return response

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
    ]


def safe_redirect(target: str) -> str:
    """`target` if it is a path of ours, else "/": a login never redirects to another site."""
    is_local = target.startswith("/") and not target.startswith("//")
    is_clean = "\\" not in target and all(" " < character != "\x7f" for character in target)
    return target if is_local and is_clean and not target.startswith("/login") else "/"


def _login_form(target: str, name: str = "", problem: str = "") -> str:
    return _LOGIN_FORM.format(
        target=escape(target),
        name=escape(name[:64]),
        problem=escape(problem),
        focus_name="" if name else " autofocus",
        focus_password=" autofocus" if name else "",
    )


def _page(content: str, status: int = 200, *, refresh: str = "") -> HTMLResponse:
    meta = f'<meta http-equiv="refresh" content="0; url={escape(refresh)}">\n' if refresh else ""
    return HTMLResponse(_PAGE.format(content=content, refresh=meta), status)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of the form; empty if the body is not a form."""
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    try:
        values = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        return {}
    return {key: found[-1] for key, found in values.items()}
