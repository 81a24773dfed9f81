"""The answer to a request that is not as the API wants it: what is wrong, without what was sent."""

from __future__ import annotations

import json

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response


async def refuse(_: Request, error: Exception) -> Response:
    """For FastAPI, whose own answer repeats what was sent: halves of characters can't be sent."""
    assert isinstance(error, RequestValidationError)
    told = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")
