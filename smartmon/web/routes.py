"""Routes over all runs: the list, the timeline, the stream, and how smartmon itself is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

import smartmon
from smartmon.errors import StoreError
from smartmon.records import RunState, Severity
from smartmon.web import prometheus
from smartmon.web.answers import reply, tagged
from smartmon.web.feed import Feed, cursor
from smartmon.web.models import Events, Incidents, Runs, Snapshots
from smartmon.web.models_detail import Health, IncidentDetail, Update
from smartmon.web.params import ERRORS, LONGEST, AnyRun, Limit, Run, once
from smartmon.web.readers import NoStoreError
from smartmon.web.site import Site
from smartmon.web.views import cards, kept, timeline

_MOST_ID = 2**63 - 1

EventId = Annotated[int | None, Query(ge=0, le=_MOST_ID)]


def router(site: Site, feed: Feed) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(responses=ERRORS, dependencies=[Depends(once)])
    _runs(routes, site)
    _timeline(routes, site)
    _kept(routes, site)
    _stream(routes, feed)
    _self(routes, site)
    return routes


def _runs(routes: APIRouter, site: Site) -> None:
    @routes.get("/api/runs", response_model=Runs, summary="All runs, and whether anybody watches them")
    def runs(
        request: Request,
        run: AnyRun = None,
        search: Annotated[str, Query(max_length=200, description="Words in name, base dir or model name.")] = "",
        state: Annotated[list[RunState] | None, Query(max_length=10, description="Only in these states.")] = None,
        limit: Limit = 200,
    ) -> Response:
        try:
            with site.readers.lend() as store:
                only = cards.chosen(store, run).name if run else None
                found = cards.runs(site, store, search=search, states=tuple(state or ()), limit=limit, only=only)
        except NoStoreError:
            found = cards.nothing_yet(site)
        return reply(request, found)


def _timeline(routes: APIRouter, site: Site) -> None:
    @routes.get("/api/events", response_model=Events, summary="What happened, the newest first")
    def events(
        *,
        request: Request,
        run: AnyRun = None,
        kind: Annotated[
            list[Annotated[str, Query(max_length=100)]] | None,
            Query(max_length=60, description="Only of these kinds; repeatable."),
        ] = None,
        severity: Annotated[Severity | None, Query(description="At least this grave.")] = None,
        before: Annotated[EventId, Query(description="What came before this event.")] = None,
        after: Annotated[EventId, Query(description="What was added after this event.")] = None,
        limit: Limit = 50,
    ) -> Response:
        with site.readers.lend() as store:
            kinds = tuple(kind or ())
            return reply(
                request,
                timeline.events(store, run, kinds=kinds, severity=severity, before=before, after=after, limit=limit),
            )

    @routes.get("/api/incidents", response_model=Incidents, summary="Incidents, the newest first")
    def incidents(
        request: Request,
        run: AnyRun = None,
        open: Annotated[bool, Query(description="Only those that are not over.")] = False,
        limit: Limit = 50,
    ) -> Response:
        with site.readers.lend() as store:
            return reply(request, timeline.incidents(store, run, open_only=open, limit=limit))

    @routes.get("/api/incidents/{id}", response_model=IncidentDetail, summary="Everything about one incident")
    def incident(request: Request, id: Annotated[int, Path(ge=0, le=_MOST_ID)]) -> Response:
        with site.readers.lend() as store:
            return reply(request, timeline.detail(site, store, id))


def _kept(routes: APIRouter, site: Site) -> None:
    @routes.get("/api/snapshots", response_model=Snapshots, summary="What smartmon has kept, the newest first")
    def snapshots(request: Request, run: AnyRun = None, limit: Limit = 100) -> Response:
        with site.readers.lend() as store:
            row = cards.chosen(store, run) if run else None
            return reply(request, kept.snapshots(site, store, row, limit))


def _stream(routes: APIRouter, feed: Feed) -> None:
    @routes.get(
        "/api/stream",
        summary="What happens, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"model": Update, "description": "Events `update`; the data of each is an Update."}},
    )
    async def stream(
        request: Request,
        run: Annotated[Run, Query(description="Only of this run, by its whole name; without it, of all.")] = None,
        last_event_id: Annotated[EventId, Query(description="Begin after this event: what was missed is told.")] = None,
        resumed: Annotated[
            str | None, Header(alias="Last-Event-ID", max_length=LONGEST, description="The same, as browsers say it.")
        ] = None,
    ) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.scope.get("smartmon.head"):
            return Response(media_type="text/event-stream", headers=headers)
        known = cursor(resumed)
        viewer = feed.join()
        told = feed.stream(viewer, known if known is not None else last_event_id, run)
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)


def _self(routes: APIRouter, site: Site) -> None:
    @routes.get("/health", response_model=Health, summary="Whether smartmon itself is well")
    def health(request: Request) -> Response:
        version = smartmon.__version__
        try:
            with site.readers.lend() as store:
                daemon = cards.daemon(site, store)
        except NoStoreError:
            daemon = cards.no_daemon(site)
        except StoreError as error:
            return reply(request, Health(status="degraded", daemon=None, version=version, error=str(error)), 503)
        well = daemon.running and daemon.state == "running"
        return reply(request, Health(status="ok" if well else "degraded", daemon=daemon, version=version, error=None))

    @routes.get("/metrics", summary="What is known now, for Prometheus", response_class=Response)
    def metrics(request: Request) -> Response:
        try:
            with site.readers.lend() as store:
                told = prometheus.text(site, store)
        except NoStoreError:
            told = prometheus.text(site, None)
        return tagged(request, told, prometheus.TYPE)
