"""Errors of the API: which status each has, its body, and how the schema describes it."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stream.config.load import ConfigError
from stream.formats.base import ExportError
from stream.replay.policy_preview import PreviewError
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from ui.config_file_backup import FileError
from ui.config_reload import EditConflictError, NoConfigFileError

_STATUS = {
    ConfigError: 400,
    PreviewError: 400,
    UnknownEventError: 404,
    OpenEventError: 409,
    EditConflictError: 409,
    NoConfigFileError: 409,
    ExportError: 501,
    EventLogError: 503,
    FileError: 503,
}


class ErrorBody(BaseModel):
    """The reason of an error, in one line."""

    detail: str


def error_responses(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, by status."""
    return {
        status: {"model": ErrorBody, "description": text} for status, text in descriptions.items()
    }


UNAVAILABLE = error_responses({503: "the event log is unavailable"})


def add_error_handlers(app: Starlette) -> None:
    """Respond to the errors above, and to invalid requests."""

    async def failed(_: Request, error: Exception) -> Response:
        status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
        return JSONResponse({"detail": encodable(str(error))}, status)

    for kind in _STATUS:
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(RequestValidationError, _invalid_request)


async def _invalid_request(_: Request, error: Exception) -> Response:
    """The problem without the input: FastAPI's own handler echoes it, and fails on surrogates."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    return JSONResponse({"detail": detail}, 422)


def encodable(text: str) -> str:
    """Text that can be encoded as UTF-8: lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
