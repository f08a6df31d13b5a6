"""The application: every route, what it takes, what it answers, and what becomes of an error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import smartmon
from smartmon.errors import SmartmonError, StoreError, UsageError
from smartmon.web import routes, routes_run
from smartmon.web.answers import problem
from smartmon.web.draw import DrawError
from smartmon.web.feed import Feed, FullError
from smartmon.web.gate import Gate
from smartmon.web.hosts import Hosts
from smartmon.web.masks import legible
from smartmon.web.page import Page
from smartmon.web.readers import NoStoreError
from smartmon.web.site import AbsentError, Site
from smartmon.web.token import Key
from smartmon.web.views import cards, curves, stats

log = structlog.get_logger(__name__)

ABOUT = """What smartmon knows, read-only. Moments are seconds since the epoch; null is not known, or no number.
Every endpoint takes `?run=`: a run's name, or any unambiguous start of it; without it, the current run."""
SMALLEST = 1024
"""Bytes from which an answer is compressed."""


WARMED = 20
"""Runs whose sparklines are drawn before anybody asks."""
MOST_TROUBLES = 100
"""Kinds of trouble that are logged in a server's life."""


def application(site: Site, hosts: Hosts, key: Key | None, page: Page | None = None) -> tuple[ASGIApp, Feed]:
    """Return the application behind its gate, and the feed, which whoever ends the server closes."""
    feed = Feed(site)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        # A large run's curve is there sooner for who comes first.
        warming = asyncio.create_task(asyncio.to_thread(_warm, site))
        yield
        warming.cancel()
        feed.close()
        site.close()

    app = FastAPI(
        title="smartmon",
        version=smartmon.__version__,
        description=ABOUT,
        openapi_url="/api/openapi.json",
        # Its pages load scripts from elsewhere; /api tells the same in words.
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        redirect_slashes=False,
        middleware=[Middleware(GZipMiddleware, minimum_size=SMALLEST, compresslevel=1)],
    )
    app.include_router(routes.router(site, feed))
    app.include_router(routes_run.router(site))
    _about(app)
    _errors(app, site)
    (page or Page()).serve(app)
    return Gate(app, hosts, key), feed


def _warm(site: Site) -> None:
    """Answer for nobody what every page asks first: what is costly in it is remembered."""
    with contextlib.suppress(SmartmonError), site.readers.lend() as store:
        row = cards.chosen(store, None)
        stats.stats(site, store, row)
        curves.series(site, store, [row], ["loss"], curves.Ask(smooth=0.9, mean=50))
        cards.runs(site, store, limit=WARMED)


def _errors(app: FastAPI, site: Site) -> None:
    told: set[str] = set()

    def wrong(_request: Request, error: Exception) -> Response:
        if isinstance(error, NoStoreError):
            return problem(404, f"no run has been seen yet; start a daemon with: {site.command}")
        if isinstance(error, UsageError):
            return problem(404 if isinstance(error, AbsentError) else 400, str(error))
        if isinstance(error, FullError | DrawError):
            return problem(503, str(error), **{"retry-after": "10"})
        if isinstance(error, StoreError):
            return problem(503, str(error), **{"retry-after": "5"})
        return problem(500, str(error))

    def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
        return problem(422, legible("; ".join(told))[:1000])

    def missing(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, "there is nothing here" if error.status_code == 404 else str(error.detail))

    def broken(request: Request, error: Exception) -> Response:
        trouble = f"{type(error).__name__}: {error}"[:300]
        if trouble not in told and len(told) < MOST_TROUBLES:
            # A page asks again every second: each trouble is told once.
            told.add(trouble)
            log.error("dashboard.failed", path=request.url.path, error=trouble)
        return problem(500, "smartmon could not answer this; its log says why, please report it")

    app.add_exception_handler(SmartmonError, wrong)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HTTPException, missing)
    app.add_exception_handler(Exception, broken)


def _about(app: FastAPI) -> None:
    @app.get("/api", include_in_schema=False)
    def about() -> Response:
        return Response(words(app.openapi()), media_type="text/plain; charset=utf-8")


def words(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as text that can be read."""
    lines = [f"{document['info']['title']} {document['info']['version']}", "", document["info"]["description"], ""]
    for path, methods in document["paths"].items():
        told = methods["get"]
        lines += [f"GET {path}", f"    {told.get('summary', '')}"]
        for one in told.get("parameters", ()):
            lines.append(f"    ?{one['name']}= {one.get('description', '')}".rstrip())
        schema = told["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        for field, about in document["components"]["schemas"].get(name, {}).get("properties", {}).items():
            lines.append(f"        {field}: {about.get('description', '')}".rstrip())
        lines.append("")
    return "\n".join(lines)
