"""From an answer to a response: JSON in UTF-8, with a tag by which a client learns that nothing has changed."""

from __future__ import annotations

import hashlib

from pydantic_core import PydanticSerializationError, to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smartmon.web.masks import legible, masked
from smartmon.web.models import Answer

JSON = "application/json"


def encode(answer: Answer) -> bytes:
    """Return an answer as JSON. NaN and the infinities are null: browsers know no others."""
    try:
        # Not through the model: its fields may have been taken over unchecked, which saves a copy of every point.
        return to_json(answer, inf_nan_mode="null")
    except PydanticSerializationError:
        told = legible(answer.model_dump())
        return to_json(told, inf_nan_mode="null", fallback=str)


def reply(request: Request, answer: Answer, status: int = 200) -> Response:
    """Return the response for an answer, or 304 for who has it already."""
    return tagged(request, encode(answer), JSON, status)


def tagged(request: Request, body: bytes, media_type: str, status: int = 200) -> Response:
    """Return a response with an ETag, or 304 without a body for who has the same already."""
    # Weak: the same answer compressed is the same answer.
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and (tag in known or tag.removeprefix("W/") in known):
        return Response(status_code=304, headers={"etag": tag})
    return Response(body, status, {"etag": tag, "vary": "accept-encoding"}, media_type)


def problem(status: int, sentence: str, **headers: str) -> Response:
    """Return a refusal."""
    return JSONResponse({"error": masked(legible(sentence))}, status, headers)
