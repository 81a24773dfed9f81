"""Fills in the templates of model cards and reports, which are in `model/templates/`."""

from __future__ import annotations

import base64
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of a template; in an HTML one, values are escaped. Lone surrogates become "?"."""
    text = _ENVIRONMENT.get_template(template).render(values)
    return text.encode("utf-8", "replace").decode("utf-8")


def _markdown(text: str) -> str:
    """The text with Markdown's special characters escaped, for use in a table."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#$~" else sign for sign in text)


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("model"),
    autoescape=jinja2.select_autoescape(),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"markdown": _markdown, "percent": _percent, "base64": _base64}
