"""The page in a real browser: samples, experts, the log, incidents, snapshots, and runs side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.web import test_page
from tests.web.test_page import Open, until
from tests.web.world import EVIL, RUN

if TYPE_CHECKING:
    from smartmon.web.serve import Served

pytestmark = test_page.pytestmark
browser, visit = test_page.browser, test_page.visit

PLACE = "document.querySelector('.walk .place')?.innerText"


def test_samples_are_walked_back_by_the_keyboard_and_the_newest_comes_back(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".walk")
    until(page, f"{PLACE}.includes('step 300')")
    page.focus(".walk button >> nth=0")
    page.keyboard.press("ArrowLeft")
    until(page, f"{PLACE}.includes('step 200')")
    until(page, "document.querySelector('.score').innerText.includes('Matches 0/1')")
    page.click(".walk >> text=Newest")
    until(page, f"{PLACE}.includes('step 300')")


def test_the_same_prompt_is_followed_across_the_steps(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".across tbody tr >> nth=2")
    told = [line.split("\t")[0] for line in page.locator(".across tbody tr").all_inner_texts()]
    assert told == ["300", "200", "100"]
    page.click(".across button >> text=100")
    until(page, f"{PLACE}.includes('step 100')")


def test_a_sample_is_saved_as_json(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    with page.expect_download() as download:
        page.click("text=Save as JSON")
    assert download.value.suggested_filename == f"sample_{RUN}_step_300.json"
    saved = json.loads(download.value.path().read_text())
    assert (saved["run"], saved["step"], saved["golden"]) == (RUN, 300, "dog")


def test_what_a_prompt_says_is_text(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".turn.user")
    assert "<script>alert(1)</script> who barks?" in page.inner_text(".turn.user")
    assert page.locator(".turn script").count() == 0


def test_characters_that_do_not_show_are_spelled_out(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"compare?run={RUN}")
    page.wait_for_selector(".choice button")
    assert '<script>alert(1)</script>"\\n' in page.inner_text(".choice")


def test_dead_experts_are_crossed_out_and_each_cell_is_told(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".heat")
    assert page.locator(".heat .cell.dead").all_inner_texts() == ["✕", "✕"]
    page.focus(".heat .cell >> nth=0")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('p.told').innerText.endsWith('dead')")


def test_the_whole_log_is_behind_its_last_lines(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}/log")
    page.wait_for_selector(".log-lines .line-checkpoint")
    assert page.locator(".log-lines .line-start").count() == 0
    page.click("text=Show what comes before")
    page.wait_for_selector(".log-lines .line-start")
    page.fill("input[type=search]", "step 417 loss")
    until(page, "document.querySelectorAll('.log-lines .line-step').length === 1")
    page.fill("input[type=search]", "no such line")
    page.wait_for_selector("text=Nothing matched.")
    page.click("text=Beginning")
    page.wait_for_selector(".log-lines .line-start")
    assert page.input_value("input[type=search]") == ""


def test_the_whole_log_is_searched_and_not_only_what_was_read_of_it(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}/log")
    page.wait_for_selector(".log-lines .line-checkpoint")
    assert page.locator(".log-lines .line-start").count() == 0
    page.fill("input[type=search]", "training RUNNING")
    page.wait_for_selector(".log-lines .line-start")
    assert page.locator(".log-lines .text").count() == 1


def test_an_incident_says_what_was_kept_and_what_to_run(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.click('.event[data-kind="incident_opened"] a')
    page.wait_for_selector(".incident h1")
    text = page.inner_text(".incident")
    assert "Loss 50 at step 500" in text
    assert "smartmon snapshots restore anomaly_20251112_143022_loss_spike_2300.0pct DEST" in text
    assert f"smartmon why {RUN} --step 500" in text
    assert "phone" in text
    page.wait_for_selector(".strip .line")
    page.hover(".strip svg >> nth=0")
    until(page, "document.querySelector('.context .axis').innerText.includes('at step')")


def test_a_command_is_copied_as_it_is(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}", permissions=["clipboard-read", "clipboard-write"])
    page.click(".snapshot summary")
    page.click(".snapshot .command button >> nth=0")
    page.wait_for_selector(".snapshot .command >> text=copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("smartmon snapshots restore anomaly_20251112_143022_loss_spike_2300.0pct")


def test_a_checkpoint_that_is_not_whole_says_so(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, f"run/{RUN}")
    page.wait_for_selector(".checkpoints tbody tr")
    rows = page.locator(".checkpoints tbody tr").all_inner_texts()
    assert ["incomplete" in row for row in rows] == [True, False]


def test_runs_are_set_side_by_side_and_no_secret_is_shown(visit: Open, dashboard: Served) -> None:
    page = visit(dashboard, "compare")
    page.wait_for_selector(".choice button[aria-pressed=true]")
    page.click(".choice button[aria-pressed=false]")
    page.wait_for_selector(".overlay canvas")
    text = page.inner_text("#main")
    assert EVIL.split('"')[0] in text
    assert "settings.lr" in text
    assert "hf_secret" not in text
