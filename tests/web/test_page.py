"""The page in a real browser: what it shows as it happens, how it is used, and that text of others does nothing."""

from __future__ import annotations

import gc
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smartmon.store import Store
from tests.web.test_build import needs_page
from tests.web.world import EVIL, RUN, beat, fill, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from smartmon.web.serve import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    needs_page,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
]
pytest.importorskip("playwright", reason="pip install 'smartmon[dev]'")

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WAIT = 15_000
LOSS = '[data-panel="chart.loss"]'
REFUSED = re.compile(
    "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_SOCKET_NOT"
)

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()
    # Playwright leaves its driver's pipes to the garbage collector, which would complain in whatever test comes next.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens an address of a server. No page may complain, speak to another host, or let text of others act."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def visit(where: Served, address: str = "", **settings: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda asked: wrong.append(asked.url) if not ours(asked.url, where) else None)
        page.goto(f"{where.url}#/{address}")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [what for what in wrong if not REFUSED.search(what)] == []


def ours(url: str, where: Served) -> bool:
    return url.startswith((where.url, f"blob:{where.url}"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Path, Store]]:
    """A base dir of its own, and who writes as the daemon would."""
    base = tmp_path / "train"
    fill(base)
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        yield base, store


def write(store: Store, step: int) -> None:
    run = store.run(RUN)
    assert run is not None
    with store.transaction():
        store.append(run.id, 2, step, time.time(), {"loss": 0.125})
        store.update_run(run.id, step=step, data={**run.data, "last_step_at": time.time()})


def part(page: Page) -> str:
    """What part of the axis the bar says is shown."""
    return page.inner_text(".toolbar .group >> nth=0").splitlines()[-1]


def drag(page: Page) -> None:
    box = page.locator(f"{LOSS} .u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=4)
    page.mouse.up()


def until(page: Page, expression: str) -> None:
    """Wait until something holds. The page's policy forbids Playwright's own way, which evaluates text in the page."""
    deadline = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never: {expression}"
        page.wait_for_timeout(50)


def test_the_top_answers_the_four_questions(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".verdict dl")
    until(page, "document.querySelector('.verdict')?.innerText.includes('400')")
    text = page.inner_text(".verdict")
    assert "Needs a look" in text
    assert "Loss 50 at step 500" in text
    assert re.search(r"step 400, for the loss spike", text, re.IGNORECASE)
    assert re.search("1,000 of 2,000", text)
    assert "Loading" not in page.inner_text("body")


def test_a_step_that_is_written_appears_without_a_reload(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(f"{LOSS} canvas")
        write(store, 1234)
        until(page, "document.querySelector('.verdict')?.innerText.includes('1,234')")
        until(page, f"document.querySelector('{LOSS} .values')?.innerText.includes('0.1250')")


def test_a_page_whose_server_was_gone_comes_back_and_has_missed_nothing(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(".connection.green, .connection.yellow")
    until(page, "document.querySelector('.connection')?.innerText === 'lost'")
    assert "Connection lost" in page.inner_text(".notice")
    write(store, 1500)
    with served(base, dashboard__port=where.port):
        until(page, "document.querySelector('.verdict')?.innerText.includes('1,500')")
        until(page, "document.querySelector('.connection')?.innerText !== 'lost'")
        assert page.locator(".notice.orange").count() == 0


def test_what_is_dragged_over_is_shown_by_all_charts_from_finer_data(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    assert part(page) == "all of it"
    with page.expect_request(re.compile(r"/api/series\?.*from=")):
        drag(page)
    low, high = (int(number.replace(",", "")) for number in part(page).split(" to "))
    assert 350 < low < high < 650
    page.dblclick(f"{LOSS} .u-over")
    assert part(page) == "all of it"


def test_a_chart_is_read_and_zoomed_by_the_keyboard(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    page.focus(f"{LOSS} .plot")
    page.keyboard.press("ArrowRight")
    until(page, f"/step/.test(document.querySelector('{LOSS} .values .x')?.innerText)")
    page.keyboard.press("+")
    assert part(page) != "all of it"
    page.keyboard.press("0")
    assert part(page) == "all of it"


def test_attempts_events_and_what_is_not_finite_are_in_the_chart(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    assert "1 value not finite" in page.inner_text(f"{LOSS} .values").replace("\xa0", " ")
    page.select_option(".toolbar select >> nth=0", "position")
    page.hover(f"{LOSS} .u-over")
    until(page, f"/position/.test(document.querySelector('{LOSS} .values .x')?.innerText)")


def test_another_run_is_chosen_by_keyboard_and_search(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".selector button")
    page.keyboard.press("/")
    page.click(".selector-list .run-row >> text=<script>")
    until(page, "document.querySelector('.verdict h1')?.innerText.startsWith('Failed')")
    assert page.locator(".selector-list").count() == 0


def test_names_and_text_of_others_do_nothing(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, "runs")
    page.wait_for_selector(".runs-table")
    page.click(".runs-table a >> text=<script>")
    page.wait_for_selector(".verdict h1")
    assert EVIL.split('"')[0] in page.inner_text(".selector")
    page.evaluate("location.hash = '#/run/qlora-7b'")
    page.wait_for_selector(f"{LOSS} canvas")
    assert page.locator("#app script, #app img:not([src='./favicon.svg'])").count() == 0


def test_light_and_dark_follow_the_system_until_somebody_chooses(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, color_scheme="dark")
    page.wait_for_selector(".verdict")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("button[aria-label^=Colours]")
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.wait_for_selector(".verdict")
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("address", ["", "runs", f"run/{RUN}/incident/1", f"compare?run={RUN}&run={RUN}"])
@pytest.mark.parametrize("width", [320, 1600])
def test_nothing_runs_off_the_side(visit: Open, dashboard: Served, address: str, width: int) -> None:
    page = visit(dashboard, address, viewport={"width": width, "height": 800})
    page.wait_for_selector(".panel, .verdict dl")
    until(page, "document.fonts.status === 'loaded'")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_folded_chart_is_remembered(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.click('.folded [data-panel="chart.grad_norm"]')
    page.click(f"{LOSS} .fold")
    page.reload()
    page.wait_for_selector('.panel[data-panel="chart.grad_norm"] canvas')
    assert page.locator(f".folded {LOSS}").count() == 1


def test_a_chart_is_saved_as_a_picture_and_as_a_table(visit: Open, dashboard: Served, tmp_path: Path) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    for title, ending, begins in (("PNG", "png", b"\x89PNG"), ("CSV", "csv", b"step,")):
        with page.expect_download() as download:
            page.click(f"{LOSS} button[title*={title}]")
        download.value.save_as(tmp_path / "saved")
        assert download.value.suggested_filename == f"{RUN}-loss.{ending}"
        assert (tmp_path / "saved").read_bytes().startswith(begins)


def test_before_the_first_run_it_says_what_to_start(visit: Open, tmp_path: Path) -> None:
    with served(tmp_path) as where:
        page = visit(where)
        page.wait_for_selector(".nothing")
        assert f"smartmon run --base-dir {tmp_path}" in page.inner_text(".nothing")
        assert "smartmon demo" in page.inner_text(".nothing")
        beat(tmp_path)
        page.reload()
        until(page, "document.querySelector('.nothing')?.innerText.includes('found no training yet')")
        # Who watches already, be it the demonstration, is not told to start one.
        assert "smartmon demo" not in page.inner_text(".nothing")


def test_it_says_when_nobody_watches(visit: Open, own: tuple[Path, Store]) -> None:
    base, store = own
    with store.transaction():
        store.set_meta("daemon", '{"state": "running", "pid": 1, "beat_at": 1.0}')
    with served(base) as where:
        page = visit(where, f"run/{RUN}")
        page.wait_for_selector(".notice")
        assert "The daemon is not running" in page.inner_text(".notice")


def test_the_timeline_shows_only_what_is_asked_for(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector('.event[data-kind="incident_opened"]')
    page.click(".timeline-filter >> text=Anomalies")
    page.wait_for_selector('.event[data-kind="incident_opened"]', state="detached")
    page.wait_for_selector('.event[data-kind="loss_spike"]')
    assert page.locator(".event").count() == 1
    page.select_option("select[aria-label=Severity]", "critical")
    page.click("text=Show everything")
    page.wait_for_selector('.event[data-kind="incident_opened"]')


def test_a_line_of_the_timeline_moves_the_charts_there(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(f"{LOSS} canvas")
    page.click('.event[data-kind="loss_spike"] button')
    low, high = (int(number.replace(",", "")) for number in part(page).split(" to "))
    assert low < 500 < high


def test_an_answer_is_compared_token_by_token_and_not_by_colour_alone(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".tokens .token")
    assert "Accuracy 100.0 % | Matches 1/1 | Diff 0" in page.inner_text(".score").replace("\xa0", " ")
    assert page.inner_text(".token.match .sign") != ""
