"""The page on which people log in, which works without scripts, and the way out."""

from __future__ import annotations

import math
from html import escape
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ui.web.security.access import Access, WrongPasswordError
from ui.web.security.guard import cookie_of
from ui.web.security.login_throttle import TooManyTriesError

_FORM = "application/x-www-form-urlencoded"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{again}<title>Log in · Actionwatch</title>
<link rel="stylesheet" href="/ui/login.css">
</head>
<body>
<main>
<h1>Actionwatch</h1>
{content}
</main>
</body>
</html>
"""
_ENTRY = """<form method="post" action="/login">
<input type="hidden" name="next" value="{there}">
<label for="name">Name</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="64" required{focus_name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"
 maxlength="1024" required{focus_password}>
<p class="problem" role="alert">{problem}</p>
<button type="submit">Log in</button>
</form>"""
_NOBODY = (
    "<p>Nobody can log in: the configuration has tokens for programs, but no "
    "<code>dashboard.users</code>.</p>"
)
_ON_THE_WAY = '<p><a href="{address}">Go on</a></p>'


def login_routes(access: Access) -> list[Route]:
    """/login and /logout."""

    async def show(request: Request) -> Response:
        there = local_path(request.query_params.get("next", ""))
        if request.state.who is not None:
            return RedirectResponse(there, 303)
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A link from elsewhere: the browser keeps the cookie to itself, but not if we ask.
            address = f"/login?next={quote(there, safe='')}"
            return _page(_ON_THE_WAY.format(address=escape(address)), again=address)
        return _page(_entry(there) if access.has_users else _NOBODY)

    async def enter(request: Request) -> Response:
        fields = await _fields(request)
        there, name = local_path(fields.get("next", "")), fields.get("name", "")
        client = request.client.host if request.client is not None else ""
        host = request.headers.get("host", "")
        try:
            session = await access.login(name, fields.get("password", ""), client, host)
        except WrongPasswordError:
            return _page(_entry(there, name, "Wrong name or password."), 401)
        except TooManyTriesError as error:
            wait = math.ceil(error.wait_s)
            problem = f"Too many wrong passwords. Try again in {wait} s."
            page = _page(_entry(there, name, problem), 429)
            page.headers["Retry-After"] = str(wait)
            return page
        answer = RedirectResponse(there, 303)
        answer.set_cookie(
            access.cookie_name,
            session,
            max_age=access.session_s,
            path="/",
            # A proxy may speak https for us; then the browser says so.
            secure=access.https or request.headers.get("origin", "").startswith("https://"),
            httponly=True,
            samesite="strict",
        )
        return answer

    async def leave(request: Request) -> Response:
        access.logout(cookie_of(request.headers, access.cookie_name))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(
            access.cookie_name, path="/", secure=access.https, httponly=True, samesite="strict"
        )
        return answer

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", enter, methods=["POST"]),
        Route("/logout", leave, methods=["POST"]),
    ]


def local_path(there: str) -> str:
    """Where to go after the login: a path of ours, or the page. Never to another site."""
    is_local = there.startswith("/") and not there.startswith("//")
    is_clean = "\\" not in there and all(" " < sign != "\x7f" for sign in there)
    return there if is_local and is_clean and not there.startswith("/login") else "/"


def _entry(there: str, name: str = "", problem: str = "") -> str:
    return _ENTRY.format(
        there=escape(there),
        name=escape(name[:64]),
        problem=escape(problem),
        focus_name="" if name else " autofocus",
        focus_password=" autofocus" if name else "",
    )


def _page(content: str, status: int = 200, *, again: str = "") -> HTMLResponse:
    refresh = f'<meta http-equiv="refresh" content="0; url={escape(again)}">\n' if again else ""
    return HTMLResponse(_PAGE.format(content=content, again=refresh), status)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of the form; none of what is not one."""
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    try:
        values = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        return {}
    return {key: found[-1] for key, found in values.items()}
