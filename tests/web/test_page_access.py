"""The page for those who hear it, or have no mouse: names, focus, and a voice that speaks only of what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smartmon.store import Store
from tests.web import test_page
from tests.web.test_page import Open, until
from tests.web.world import RUN, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from smartmon.web.serve import Served

pytestmark = test_page.pytestmark
browser, visit, own = test_page.browser, test_page.visit, test_page.own

USED = {"button", "link", "textbox", "searchbox", "slider", "combobox", "checkbox", "image", "img", "figure", "dialog"}
LISTEN = """() => {
    const voice = document.querySelector('main > [role=status]');
    window.said = [];
    const hear = new MutationObserver(() => said.push(voice.textContent));
    hear.observe(voice, { subtree: true, childList: true, characterData: true });
}"""


@pytest.mark.parametrize("address", [f"run/{RUN}", f"run/{RUN}/incident/1", f"run/{RUN}/log", f"compare?run={RUN}"])
def test_everything_that_can_be_used_has_a_name(visit: Open, dashboard: Served, address: str) -> None:
    page = visit(dashboard, address)
    page.wait_for_selector(".panel .body")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    used = [node for node in tree if not node["ignored"] and node["role"]["value"] in USED]
    assert len(used) > 8
    assert [node["role"]["value"] for node in used if not node.get("name", {}).get("value", "").strip()] == []


def test_the_keyboard_reaches_every_control_and_sees_where_it_is(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}/log")
    page.wait_for_selector(".log-lines .line-checkpoint")
    reached = []
    while (here := focused(page, press="Tab")) is not None and len(reached) < 60:
        assert here["outline"] != "none", here
        reached.append(here["name"])
    wanted = ["To the content", "Beginning", "End", "Search the whole log", "checkpoint", "Lines of the log"]
    assert [name for name in wanted if name not in reached] == []


def test_another_page_takes_the_focus_and_says_what_it_is(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.click('.event[data-kind="incident_opened"] a')
    page.wait_for_selector(".incident h1")
    until(page, "document.activeElement.id === 'main'")
    until(page, f"document.title === 'Incident \u00b7 {RUN}'")


def test_a_lost_connection_is_said_once_however_the_seconds_count(visit: Open, own: tuple[Path, Store]) -> None:
    base, _ = own
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(".connection.green, .connection.yellow")
        page.evaluate(LISTEN)
    until(page, "/heard for ([3-9]|[1-9][0-9])/.test(document.querySelector('.notice')?.innerText)")
    assert page.evaluate("said") == ["Connection lost"]


def focused(page: Page, *, press: str) -> dict[str, str] | None:
    page.keyboard.press(press)
    return page.evaluate(
        "() => { const e = document.activeElement; return e === document.body ? null : {"
        " name: (e.getAttribute('aria-label') || e.innerText || '').replace(/^[^a-z]+/i, '').trim(),"
        " outline: getComputedStyle(e).outlineStyle } }"
    )
