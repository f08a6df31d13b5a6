"""The report: its figures are those of the outcomes, and it hides no miss and no false alarm."""

from __future__ import annotations

from benchmarks.detection import report, tables
from benchmarks.detection.curves import Alarm, Curve, Row
from benchmarks.detection.matching import Outcome, match


def outcome(system: str, name: str, *alarms: int, section: str = "corpus", shape: str = "") -> Outcome:
    rows = [Row(step, 10.0 * step, {"loss": 1.0}) for step in range(1000)]
    curve = Curve(name, f"someone/{name}", section, "test", rows, "loss", shape=shape)
    curve.events.append(curve.event("spike", "loss", 500, 510, tolerance=20))
    return match(system, curve, [Alarm(row, frozenset({"loss"}), "loss_spike", "warning", "loss") for row in alarms])


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_table_of_real_logs_shows_recall_and_what_it_costs():
    table = tables.real([outcome("smartmon", "a", 501), outcome("smartmon", "b"), outcome("F0 fix30", "a", 100, 300)])
    cells = [cell.strip() for cell in line_of(table, "| **smartmon**").split("|")]
    assert cells[2:8] == ["0.50", "0.50", "0.50", "1.00", "0.67", "0.00"]
    assert "| F0 fix30 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 20.00 |" in table


def test_every_miss_and_every_false_alarm_is_named_with_its_step():
    text = report.text([outcome("smartmon", "a", 100), outcome("F0 fix30", "a", 700)], [], "1 s")
    assert "- missed spike: `a` (someone/a) at step 500: nothing" in text
    assert "- false loss_spike (warning, loss): `a` (someone/a) at step 100" in text
    assert "700" not in text.split("## Where it misses")[1]


def test_files_that_are_not_read_are_named_and_counted():
    text = report.text([outcome("smartmon", "a", 500)], ["cs001", "tx002"], "1 s")
    assert "Read: 1 of 3 real logs" in text
    assert "cs001, tx002" in text


def test_alarms_on_noise_are_counted_by_its_kind():
    noisy = outcome("smartmon", "n", 100, 300, section="synthetic", shape="t4 0.2")
    assert "- false loss_spike (warning) in t4 0.2: 2, in 1 curves, first `n`" in tables.counted([noisy])


def test_without_peers_or_curves_the_report_is_still_whole():
    assert report.text([], [], "1 s").startswith("# How well smartmon judges")
