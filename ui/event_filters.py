"""The filters of events: one declaration for the options of the command line and of the API."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Filter:
    """A field of EventQuery that a user may set."""

    name: str
    type: type
    help: str
    flags: tuple[str, ...] = ()  # on the command line, if not --NAME


FILTERS = (
    Filter("camera", str, "only this camera and its zones"),
    Filter("label", str, "only this label, as predicted or as corrected by a reviewer"),
    Filter("since", datetime, "start at or after this ISO 8601 time; UTC if it has no offset"),
    Filter("until", datetime, "start before this time"),
    Filter("min_peak", float, "only events with at least this peak score"),
    Filter("reviewed", bool, "only events with or without a review", ("--reviewed/--unreviewed",)),
)


def declare_filters(
    annotation: Callable[[Filter], Any], *names: str
) -> Callable[[_Function], _Function]:
    """Decorate a function to show `**filters` as one optional parameter for each filter.

    Typer and FastAPI read the signature. `annotation` returns the type that they need; `names`
    selects some of the filters.
    """

    def declare(function: _Function) -> _Function:
        *own, _ = inspect.signature(function, eval_str=True).parameters.values()
        filters = [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation(one)
            )
            for one in FILTERS
            if one.name in names or not names
        ]
        function.__signature__ = inspect.Signature([*own, *filters])  # type: ignore[attr-defined]
        return function

    return declare
