"""What the page says of numbers, beside what is so."""

from __future__ import annotations

import math
import time
from pathlib import Path

from smartmon.store import Store
from tests.web import test_page
from tests.web.test_page import LOSS, Open, until
from tests.web.world import beat, served, spike

pytestmark = test_page.pytestmark
browser, visit = test_page.browser, test_page.visit

LABELS = """() => {
  const write = CanvasRenderingContext2D.prototype.fillText;
  window.written = new Set();
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.written.add(String(text));
    return write.call(this, text, ...rest);
  };
}"""
OTHERS = '[data-panel="charts.others"]'
NAMES = ["__proto__", "constructor"]


def flat(step: int) -> float:
    """A loss that has all but stopped to fall, and ends as NaN."""
    return math.nan if step in (60, 100) else 2.3456 - step * 1e-7


def test_a_run_at_its_limits_is_told_as_it_is(visit: Open, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    beat(tmp_path)
    began = time.time() - 7200
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, store.transaction():
        run = store.ensure_run("odd", tmp_path / "odd", tmp_path, began)
        for step in range(1, 101):
            store.append(run.id, 1, step, began + step, {"loss": flat(step), **dict.fromkeys(NAMES, 1e30)})
        store.update_run(run.id, state="running", step=100, total_steps=90, data={"latest": {"loss": math.nan}})
        store.save_incident(run.id, spike())
    with served(tmp_path) as where:
        page = visit(where)
        page.add_init_script(f"({LABELS})()")
        page.goto(f"{where.url}#/run/odd")
        page.reload()
        # Two hours old and NaN: neither older numbers nor hopes stand for what is not known.
        until(page, f"document.querySelector('{LOSS} .values')?.innerText.includes('mean of 50 rows')")
        assert page.inner_text(f"{LOSS} .values").split("mean of")[0].split() == ["latest", "loss", "\u2013"]
        verdict = page.inner_text(".verdict")
        assert "nothing new since step 100 of 90" in verdict
        assert "it is past its 90 steps" in verdict
        # Ticks a ten-millionth apart are told apart.
        ticks = [text for text in page.evaluate("[...window.written]") if text.startswith("2.34")]
        assert len(ticks) >= 3
        assert all(2.34558 < float(tick) < 2.34561 and len(tick) > 7 for tick in ticks)
        page.click(f"{OTHERS} .fold")
        until(page, f"document.querySelectorAll('{OTHERS} .values').length === 2")
        assert sorted(page.locator(f"{OTHERS} .charts-grid h2").all_inner_texts()) == NAMES
        assert "1.000e30" in page.inner_text(f"{OTHERS} .values >> nth=0")


def test_a_run_beyond_the_list_is_counted_and_found(visit: Open, tmp_path: Path) -> None:
    beat(tmp_path)
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store, store.transaction():
        for number in range(230):
            run = store.ensure_run(f"exp-{number:03d}", tmp_path / f"{number}", tmp_path, time.time() + number)
            store.update_run(run.id, state="completed", step=1)
    with served(tmp_path) as where:
        page = visit(where, "runs")
        page.wait_for_selector("text=30\u00a0older runs not listed")
        assert "230\u00a0runs" in page.inner_text("[data-panel], .panel >> nth=0")
        page.fill("[aria-label='Search runs']", "exp-007")
        page.wait_for_selector(".runs-table tbody >> text=exp-007")
        page.fill("[aria-label='Search runs']", "nothing")
        page.wait_for_selector("text=No run matches")
