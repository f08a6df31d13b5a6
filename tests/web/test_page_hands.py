"""The charts under fingers, a wheel and a click in the timeline."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.web import test_page
from tests.web.test_page import LOSS, Open, part, until
from tests.web.world import RUN

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page, Route

    from smartmon.web.serve import Served

pytestmark = test_page.pytestmark
browser, visit = test_page.browser, test_page.visit

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
Places = list[tuple[float, float]]


def middle(page: Page) -> tuple[float, float]:
    """Bring the chart into the middle of the window, and say where its own middle is."""
    page.wait_for_selector(f"{LOSS} canvas")
    page.evaluate(f"document.querySelector('{LOSS} .u-over').scrollIntoView({{block: 'center'}})")
    box = page.locator(f"{LOSS} .u-over").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def swipe(hand: CDPSession, begin: Places, end: Places) -> None:
    """Put fingers down, move them, and take them off."""

    def send(kind: str, places: Places) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", begin)
    for move in range(1, 9):
        both = zip(begin, end, strict=True)
        send("touchMove", [(x + (to_x - x) * move / 8, y + (to_y - y) * move / 8) for (x, y), (to_x, to_y) in both])
    send("touchEnd", [])


def bounds(page: Page) -> tuple[int, int]:
    low, high = (int(number.replace(",", "")) for number in part(page).split(" to "))
    return low, high


def test_two_fingers_look_closer_one_moves_along_and_the_page_still_scrolls(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", **PHONE)
    hand = page.context.new_cdp_session(page)
    x, y = middle(page)
    swipe(hand, [(x - 30, y), (x + 30, y)], [(x - 90, y), (x + 90, y)])
    until(page, "document.querySelector('.toolbar .part').innerText !== 'all of it'")
    low, high = bounds(page)
    assert 0 < low < 500 < high < 1000
    assert page.evaluate("visualViewport.scale") == 1
    swipe(hand, [(x, y)], [(x - 60, y)])
    assert bounds(page)[0] > low
    shown, scrolled = part(page), page.evaluate("scrollY")
    swipe(hand, [(x, y)], [(x, y - 120)])
    until(page, f"scrollY > {scrolled}")
    assert part(page) == shown
    x, y = middle(page)
    for _ in range(2):
        swipe(hand, [(x, y)], [(x, y)])
    until(page, "document.querySelector('.toolbar .part').innerText === 'all of it'")


def test_a_wheel_scrolls_the_page_and_zooms_only_with_ctrl(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.mouse.move(*middle(page))
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    until(page, f"scrollY > {before}")
    assert part(page) == "all of it"
    page.mouse.move(*middle(page))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    until(page, "document.querySelector('.toolbar .part').innerText !== 'all of it'")
    page.keyboard.up("Control")
    low, high = bounds(page)
    assert 0 < low < 500 < high < 1000


def test_the_bar_covers_nothing_of_the_charts_that_a_click_in_the_timeline_leads_to(
    visit: Open, dashboard: Served
) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    page.click('.event[data-kind="loss_spike"] button')
    until(page, "document.querySelector('.toolbar').getBoundingClientRect().top < 100")
    place = "document.querySelector('{}').getBoundingClientRect().{}"
    assert page.evaluate(place.format(".toolbar", "bottom")) <= page.evaluate(place.format(".marks-key", "top"))


def test_every_chart_keeps_within_a_phone(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", **PHONE)
    page.wait_for_selector(".folded button")
    for name in page.locator(".folded button").evaluate_all("all => all.map(one => one.dataset.panel)"):
        page.click(f'.folded [data-panel="{name}"]')
        page.wait_for_selector(f'.panel[data-panel="{name}"] canvas')
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


SMALL = """
[...document.querySelectorAll('.button, .field, .fold, .tick, summary, button.more, .whole-log')]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
    .map((one) => one.outerHTML)
"""


def test_a_thumb_finds_whatever_is_pressed(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", **PHONE)
    page.wait_for_selector(".timeline-filter .chip")
    page.wait_for_selector(f"{LOSS} canvas", state="attached")
    assert page.evaluate(SMALL) == []
    page.click('.event[data-kind="incident_opened"] a')
    page.wait_for_selector(".incident .command")
    assert page.evaluate(SMALL) == []
    page.goto(f"{dashboard.url}#/runs")
    page.wait_for_selector(".runs-table .tick")
    assert page.evaluate(SMALL) == []


def test_the_marks_under_the_cursor_are_said_in_words(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    x, y = middle(page)
    page.mouse.move(x, y)
    until(page, f"document.querySelector('{LOSS} .near').innerText.includes('loss spike')")
    page.mouse.move(x - 100, y)
    until(page, f"document.querySelector('{LOSS} .near').innerText === ''")


def test_a_place_of_an_earlier_attempt_is_found_on_every_axis(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    middle(page)
    for axis in ("position", "elapsed", "time", "step"):
        page.select_option(".toolbar select >> nth=0", axis)
        assert part(page) == "all of it"
        page.click('.event[data-kind="loss_spike"] button')
        until(page, "document.querySelector('.toolbar .part').innerText !== 'all of it'")
        assert page.input_value(".toolbar select >> nth=0") == axis
        if axis in ("position", "step"):
            assert bounds(page) == (450, 550)


def test_an_incident_leads_to_its_place_in_the_charts(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}/incident/1")
    page.click("text=Show it in the charts")
    until(page, "document.querySelector('.toolbar .part')?.innerText === '450 to 550'")
    until(page, "Math.abs(document.querySelector('.toolbar').getBoundingClientRect().top - 64) < 20")


def test_a_place_that_is_asked_for_before_the_numbers_have_come_is_shown(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, "compare")
    free, held = threading.Event(), []

    def answer(route: Route) -> None:
        if free.is_set():
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/stats*", answer)
    page.goto(f"{dashboard.url}#/run/{RUN}/incident/1")
    page.reload()
    page.click("text=Show it in the charts")
    free.set()
    held[-1].continue_()
    until(page, "document.querySelector('.toolbar .part')?.innerText === '450 to 550'")
