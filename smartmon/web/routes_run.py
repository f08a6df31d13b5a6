"""Routes about one run, or some: its cards, curves, pictures, checkpoints, samples, machine, experts and log."""

from __future__ import annotations

import threading
from enum import Enum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from smartmon.figures import PLOTS
from smartmon.store import RunRow, Store
from smartmon.web.answers import reply
from smartmon.web.models import Axis, Checkpoints, Plot, Plots, SeriesAnswer, Stats
from smartmon.web.models_detail import Compare, Experts, Gpu, Log, Samples
from smartmon.web.params import ERRORS, LONGEST, Run, Runs, Step, once
from smartmon.web.site import Site
from smartmon.web.views import cards, curves, experts, kept, log, machine, samples, stats
from smartmon.web.views import compare as comparing

Names = list[Annotated[str, Query(min_length=1, max_length=500)]] | None
Picture = Enum("Picture", {name: name for name in PLOTS}, type=str)  # type: ignore[misc]  # the list is theirs
X = Annotated[float | None, Query(allow_inf_nan=False)]


def router(site: Site) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", responses=ERRORS, dependencies=[Depends(once)])
    _curves(routes, site)
    _plots(routes, site)
    _facts(routes, site)
    _files(routes, site)
    return routes


def _curves(routes: APIRouter, site: Site) -> None:
    # Two at once use what cores they can; more would only hold as many answers in memory.
    room = threading.BoundedSemaphore(2)

    @routes.get("/series", response_model=SeriesAnswer, summary="Metrics over a run, or over several")
    def series(
        *,
        request: Request,
        run: Runs = None,
        metric: Annotated[Names, Query(max_length=32, description="A metric's name; repeatable.")] = None,
        x: Annotated[Axis, Query(description="The axis.")] = "step",
        start: Annotated[X, Query(alias="from", description="Only from this x on.")] = None,
        end: Annotated[X, Query(alias="to", description="Only up to this x.")] = None,
        max_points: Annotated[int, Query(ge=1, le=20_000, description="At most so many points a series.")] = 4000,
        attempt: Annotated[int | None, Query(ge=1, le=2**53, description="Only this attempt.")] = None,
        smooth: Annotated[
            float | None, Query(ge=0, lt=1, description="Weight of a causal moving average: adds a column `ema`.")
        ] = None,
        mean: Annotated[
            int | None, Query(ge=1, le=100_000, description="Observations of a moving mean: adds a column `mean`.")
        ] = None,
    ) -> Response:
        ask = curves.Ask(x, start, end, max_points, attempt, smooth, mean)
        with room, site.readers.lend() as store:
            rows = _rows(store, run)
            return reply(request, curves.series(site, store, rows, list(dict.fromkeys(metric or ["loss"])), ask))


def _plots(routes: APIRouter, site: Site) -> None:
    @routes.get("/plots", response_model=Plots, summary="Pictures of a run, as PNG in base64")
    def plots(
        request: Request,
        run: Run = None,
        name: Annotated[list[Picture] | None, Query(max_length=20, description="Which; without it, all.")] = None,
    ) -> Response:
        wanted = tuple(dict.fromkeys(one.value for one in name)) if name else tuple(PLOTS)
        with site.readers.lend() as store:
            row, path = cards.chosen(store, run), store.path
            version = (row.attempt, row.step, row.state, store.last_event_id())
        found = site.pictures.get(path, row.id, wanted, run=curves.identity(row), version=version)
        told = [Plot(name=key, png=png) for key, png in found.items()]
        return reply(request, Plots(run=row.name, plots=told))


def _facts(routes: APIRouter, site: Site) -> None:
    @routes.get("/stats", response_model=Stats, summary="The top cards of a run")
    def stats_of(request: Request, run: Run = None) -> Response:
        with site.readers.lend() as store, store.transaction():
            return reply(request, stats.stats(site, store, cards.chosen(store, run)))

    @routes.get("/experts", response_model=Experts, summary="How a mixture of experts spreads its tokens")
    def experts_of(request: Request, run: Run = None) -> Response:
        with site.readers.lend() as store:
            return reply(request, experts.experts(site, store, cards.chosen(store, run)))

    @routes.get("/compare", response_model=Compare, summary="Runs side by side")
    def compare(request: Request, run: Runs = None) -> Response:
        with site.readers.lend() as store:
            return reply(request, comparing.compare(site, store, _rows(store, run)))


def _files(routes: APIRouter, site: Site) -> None:
    cpu = machine.Cpu()

    @routes.get("/checkpoints", response_model=Checkpoints, summary="The trainer's newest checkpoints")
    def checkpoints(request: Request, run: Run = None) -> Response:
        with site.readers.lend() as store:
            return reply(request, kept.checkpoints(site, store, cards.chosen(store, run)))

    @routes.get("/gpu", response_model=Gpu, summary="The machine of a run, now")
    def gpu(request: Request, run: Run = None) -> Response:
        with site.readers.lend() as store:
            return reply(request, machine.machine(site, cpu, store, cards.chosen(store, run)))

    @routes.get("/samples", response_model=Samples, summary="What the model answered")
    def samples_of(
        request: Request,
        run: Run = None,
        step: Step = None,
        prompt: Annotated[str | None, Query(max_length=64, description="Only this prompt, by its prompt_id.")] = None,
        limit: Annotated[int, Query(ge=1, le=100, description="At most this many, the newest.")] = 20,
    ) -> Response:
        with site.readers.lend() as store:
            row = cards.chosen(store, run)
        return reply(request, samples.samples(site, row, step=step, prompt=prompt, limit=limit))

    @routes.get("/log", response_model=Log, summary="The log of a run")
    def log_of(
        *,
        request: Request,
        run: Run = None,
        source: Annotated[str | None, Query(max_length=LONGEST, description="Which, of `sources`.")] = None,
        before: Annotated[int | None, Query(ge=0, le=2**53, description="What lies before this offset.")] = None,
        after: Annotated[int | None, Query(ge=0, le=2**53, description="What lies from this offset on.")] = None,
        find: Annotated[str, Query(max_length=200, description="Only lines that hold all these words.")] = "",
        limit: Annotated[int, Query(ge=1, le=2000, description="At most so many lines.")] = 200,
    ) -> Response:
        with site.readers.lend() as store:
            ask = log.Ask(source, before, after, find, limit)
            return reply(request, log.log(store, cards.chosen(store, run), ask))


def _rows(store: Store, names: list[str] | None) -> list[RunRow]:
    """Return the runs asked for, each once; without a name the current one."""
    found = [cards.chosen(store, name) for name in dict.fromkeys(names or [""])]
    return list({row.id: row for row in found}.values())
