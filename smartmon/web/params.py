"""The parameters that routes share, each declared once, with its bounds."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import HTTPException, Query, Request

from smartmon.web.models import Problem

LONGEST = 1000
_MANY = frozenset({"metric", "name", "kind", "state"})
_OF_RUNS = frozenset({"/api/series", "/api/compare"})


async def once(request: Request) -> None:
    """Refuse a parameter that is given twice where one is meant: to take either would be a guess."""
    many = _MANY | {"run"} if request.url.path in _OF_RUNS else _MANY
    names = [name for name, _ in request.query_params.multi_items() if name not in many]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise HTTPException(422, f"{twice[0]}: is given more than once")


Run = Annotated[
    str | None,
    Query(max_length=LONGEST, description="A run's name, or any unambiguous start of it; without it, the current run."),
]
AnyRun = Annotated[
    str | None,
    Query(max_length=LONGEST, description="A run's name, or any unambiguous start of it; without it, all runs."),
]
Runs = Annotated[
    list[Annotated[str, Query(max_length=LONGEST)]] | None,
    Query(max_length=8, description="A run's name; repeatable. Without it, the current run."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="At most this many, the newest.")]
Step = Annotated[int | None, Query(ge=0, le=2**53, description="Only of this step.")]

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The question makes no sense, or is too long."},
    401: {"model": Problem, "description": "The token is missing."},
    403: {"model": Problem, "description": "Another site's page asked."},
    404: {"model": Problem, "description": "There is no such run, or no run at all."},
    413: {"model": Problem, "description": "The question has a body."},
    421: {"model": Problem, "description": "The server does not go by the name in the Host header."},
    422: {"model": Problem, "description": "A parameter is out of its bounds."},
    431: {"model": Problem, "description": "The headers are too many, or too long."},
    503: {
        "model": Problem,
        "description": "The database cannot be read, too much is asked for at once, or nothing can be drawn here.",
    },
}
