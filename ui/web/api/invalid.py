"""The response to an invalid request: the problem, without the input."""

from __future__ import annotations

import json

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response


async def invalid_request(_: Request, error: Exception) -> Response:
    """FastAPI's own handler echoes the input, and fails on lone surrogates."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
