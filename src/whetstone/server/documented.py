"""What the OpenAPI document says of every route."""

from __future__ import annotations

from typing import Any

from whetstone.server.errors import ErrorBody

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be served; the error says why"},
    "5XX": {"model": ErrorBody, "description": "The model or the server failed; the error says how"},
}
