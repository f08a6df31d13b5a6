"""The top of the page: what a tired stranger reads first, and how it follows the run's fate by itself."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smartmon.records import Change
from smartmon.store import Store
from tests.web import test_page
from tests.web.test_page import LOSS, Open, part, until, write
from tests.web.test_page_hands import PHONE
from tests.web.world import RUN, served, spike

if TYPE_CHECKING:
    from smartmon.web.serve import Served

pytestmark = test_page.pytestmark
browser, visit, own = test_page.browser, test_page.visit, test_page.own

STATE = "document.querySelector('.connection').innerText"
VERDICT = "document.querySelector('.verdict')?.innerText"


def test_a_phone_shows_all_four_answers_without_scrolling(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", **PHONE)
    page.wait_for_selector(".verdict dd >> nth=3")
    until(page, f"{VERDICT}.includes('How to restore')")
    assert page.evaluate("document.querySelector('.verdict').getBoundingClientRect().bottom") < 844
    assert page.inner_text(".selector b") == RUN


def test_the_way_from_the_verdict_to_the_command_that_restores(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", **PHONE)
    page.click("text=How to restore")
    page.wait_for_selector(".snapshot .command >> text=smartmon snapshots restore")
    box = page.locator(".snapshot .command >> nth=0").bounding_box()
    assert box is not None
    assert 0 < box["y"] < 844


def test_live_and_history_switch_by_themselves(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    write(store, 1001)
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        until(page, f"{STATE} === 'live'")
        run = store.run(RUN)
        assert run is not None
        with store.transaction():
            store.update_run(run.id, state="completed", finished_at=time.time())
        until(page, f"{STATE} === 'history'")
        until(page, f"{VERDICT}.includes('When it was done')")
        with store.transaction():
            store.update_run(run.id, state="running")
        until(page, f"{STATE} === 'live'")
        until(page, f"{VERDICT}.includes('When it will be done')")


def test_the_newest_part_moves_on_with_the_run(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(f"{LOSS} canvas")
        page.click("text=Last 500")
        assert part(page) == "500 to 1,000"
        write(store, 1100)
        until(page, "document.querySelector('.toolbar .part').innerText === '600 to 1,100'")
        until(page, f"document.querySelector('{LOSS} .values')?.innerText.includes('0.1250')")
        page.click("button[aria-label=Earlier]")
        write(store, 1200)
        until(page, f"{VERDICT}.includes('1,200')")
        assert part(page) == "350 to 850"


def test_the_page_moves_on_to_the_run_that_is_current_now(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    with served(base) as where:
        page = visit(where)
        until(page, f"document.querySelector('.selector b')?.innerText === '{RUN}'")
        (base / "next").mkdir()
        with store.transaction():
            run = store.ensure_run("next", base / "next", base, time.time())
            store.append(run.id, 1, 1, time.time(), {"loss": 1.0})
            store.update_run(run.id, state="running", step=1, data={"last_step_at": time.time()})
        until(page, "document.querySelector('.selector b')?.innerText === 'next'")
        until(page, f"{VERDICT}.includes('step 1')")


def test_older_events_come_as_one_scrolls(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    run = store.run(RUN)
    assert run is not None
    with store.transaction():
        for step in range(1, 131):
            store.add_event(at=time.time() - 200 + step, kind="evaluation", message="it is", run_id=run.id, step=step)
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(".event >> nth=49")
        count = "document.querySelectorAll('.event').length"
        for more in (50, 100):
            page.evaluate("document.querySelector('.events').scrollTo(0, 1e6)")
            until(page, f"{count} > {more}")
        until(page, "document.querySelectorAll('.event[data-kind=evaluation]').length === 130")


def test_a_run_that_has_long_been_silent_is_not_listed_as_one_that_gets_on(
    visit: Open, own: tuple[Path, Store]
) -> None:
    base, store = own
    (base / "hung").mkdir()
    with store.transaction():
        run = store.ensure_run("hung", base / "hung", base, time.time())
        store.append(run.id, 1, 1, time.time() - 7200, {"loss": 1.0, "eta_seconds": 9000.0})
        store.update_run(run.id, state="running", step=1, data={"latest": {"loss": 1.0, "eta_seconds": 9000.0}})
    with served(base) as where:
        page = visit(where, "runs")
        page.wait_for_selector(".runs-table tbody tr >> nth=2")
        rows = page.locator(".runs-table tbody tr").all_inner_texts()
        assert [row.split()[0] for row in rows][:2] == [RUN, "hung"]
        assert "silent" in rows[1]
        assert "min" not in rows[1]


def test_an_incident_that_only_the_end_of_its_run_ended_is_not_shown_as_well(
    visit: Open, own: tuple[Path, Store]
) -> None:
    base, store = own
    run = store.run(RUN)
    assert run is not None
    over = replace(spike(), change=Change.RESOLVED, at=time.time(), resolution="the run ended")
    with store.transaction():
        number = store.save_incident(run.id, over)
        store.update_run(run.id, state="failed", finished_at=time.time(), data=run.data | {"error_message": "it fell"})
    with served(base) as where:
        page = visit(where, f"run/{RUN}/incident/{number}", **PHONE)
        page.wait_for_selector(".incident-head.grey")
        until(page, "document.querySelector('.run-now')?.innerText.includes('Failed at step 1,000 of 2,000')")
        assert "ended with the run" in page.inner_text(".incident-head")
        page.goto(f"{where.url}#/run/{RUN}")
        until(page, f"{VERDICT}?.includes('It fell')")


def test_what_comes_and_goes_in_the_verdict_moves_nothing_below_it(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    run = store.run(RUN)
    assert run is not None
    place = "document.querySelector('.tiles').getBoundingClientRect().top"

    def tell(message: str) -> None:
        with store.transaction():
            store.save_incident(run.id, replace(spike(), message=message, at=time.time()))
        write(store, 1001)

    tell("loss")
    with served(base) as where:
        page = visit(where, f"run/{RUN}", **PHONE)
        until(page, f"{VERDICT}?.includes('How to restore')")
        before = page.evaluate(place)
        tell("much " * 40)
        until(page, f"{VERDICT}.includes('Much')")
        longest = page.evaluate(place)
        assert longest > before
        tell("little")
        until(page, f"{VERDICT}.includes('Little')")
        assert page.evaluate(place) == longest
