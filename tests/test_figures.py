"""Pictures of a run: what is in them, whatever the run wrote, however long it was."""

from __future__ import annotations

import math
import os
import re
import struct
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from smartmon import canvas, figures
from smartmon.errors import SmartmonError, UsageError
from smartmon.figures import page, portraits
from smartmon.figures.child import Child
from smartmon.figures.page import chart
from smartmon.records import Change, IncidentChange, Severity, Snapshot, SnapshotState
from smartmon.store import RunRow, Store

pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")

HOSTILE = "</text><script>alert(1)</script> $\\frac{x$ \x00\x1b[2J\u202e\ufffe 训练 🙂 " + "x" * 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "smartmon.db") as store:
        yield store


def fill(store: Store, rows: Mapping[int, Mapping[str, float]], *, name: str = "my-run", attempt: int = 1) -> RunRow:
    """A run with these values at these steps, a second apart."""
    run = store.ensure_run(name, store.path.parent / "r", store.path.parent, 1.0)
    with store.transaction():
        for step, values in rows.items():
            store.append(run.id, attempt, step, 1000.0 + step, values)
        last = max(rows, default=None)
        store.update_run(run.id, state="running", step=last, attempt=attempt)
    found = store.run(run.name)
    assert found is not None
    return found


def steady(steps: int, **more: float) -> dict[int, dict[str, float]]:
    return {step: {"loss": 1.0 + 1.0 / step, "accuracy": step / steps * 90, **more} for step in range(1, steps + 1)}


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", picture[16:24])


def letters(svg: str) -> str:
    """All that is written in an SVG; it must be well-formed."""
    return " ".join(ET.fromstring(svg.encode()).itertext())


def test_the_page_is_a_sheet_of_paper(store: Store) -> None:
    run = fill(store, steady(60, learning_rate=1e-4, tokens_per_sec=900.0))
    assert size(figures.png(figures.portrait(store, run))) == (1240, 1753)


def test_the_page_tells_all_that_was_asked_of_it(store: Store) -> None:
    run = fill(store, steady(60, learning_rate=1e-4, tokens_per_sec=900.0))
    examples = [{"step": 60, "prompt": "p" * 60, "golden": "g", "model_output": "o", "matches": True}]
    store.update_run(run.id, total_steps=120, data={"samples": {"recent_examples": examples}})
    found = store.run("my-run")
    assert found is not None
    written = letters(figures.svg(figures.portrait(store, found)))
    for words in (
        "my-run",
        "step 60 of 120 (50 %)",
        "mean of 50 steps",
        "Accuracy (%)",
        "Throughput (tokens/s)",
        "Learning rate (log)",
        "Loss against accuracy, coloured by step",
        "Last 500 steps",
        "match",
        "p" * 39 + "…",
    ):
        assert words in written
    assert "p" * 40 not in written


@pytest.mark.parametrize("draw", [figures.png, figures.svg, figures.html], ids=["png", "svg", "html"])
@pytest.mark.parametrize(
    "rows",
    [
        {},
        {5: {"loss": 1.0, "accuracy": 50.0, "learning_rate": 1e-4}},
        {step: {"loss": math.nan, "accuracy": math.inf, "learning_rate": -1.0} for step in range(9)},
        {step: {"loss": 1e300 if step % 2 else -1e300, "tokens_per_sec": 0.0} for step in range(9)},
        {step: {"loss": 0.0, "accuracy": 0.0} for step in range(9)},
        {2**52 + step: {"loss": 10.0**step} for step in range(9)},
    ],
    ids=["empty", "one", "nan", "huge", "zero", "steep"],
)
def test_anything_can_be_drawn_without_a_warning(store: Store, rows: dict[int, Any], draw: Any) -> None:
    run = fill(store, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(figures.portrait(store, run))


def test_what_a_run_says_stays_text(store: Store) -> None:
    run = fill(store, steady(20), name=HOSTILE)
    examples = [{"step": 1, "prompt": HOSTILE, "golden": "]]>&amp;<img src=x onerror=alert(1)>", "model_output": "$"}]
    store.update_run(run.id, data={"samples": {"recent_examples": examples}})
    (found,) = store.runs()
    told = figures.portrait(store, found)
    assert figures.png(told)
    svg, html = figures.svg(told), figures.html(told)
    for document in (svg, html):
        assert "<script" not in document
        assert "<img" not in document
        assert "\x00" not in document
        assert "\u202e" not in document
        assert "$\\frac{x$" in document
    assert "script" not in {element.tag.rpartition("}")[2] for element in ET.fromstring(svg.encode()).iter()}


def test_the_letters_of_an_svg_have_a_kind_where_their_font_is_not(store: Store) -> None:
    svg = figures.svg(figures.portrait(store, fill(store, steady(20))))
    families = re.findall(r"font-family: ([^;\"]+)", svg)
    assert families
    assert all(family.endswith((", sans-serif", ", monospace")) for family in families)


def test_a_vector_picture_is_no_finer_than_a_printer(store: Store) -> None:
    told = figures.portrait(
        store, fill(store, {step: {"loss": 1.0} for step in range(99)}, name='a d="1.23456" x="1.23456"')
    )
    svg = figures.svg(told)
    assert not re.search(r' (?:d|x|y)="[^"]*\.\d\d\d', "".join(re.findall("<(?:path|use) [^>]*>", svg)))
    # Words keep all their digits.
    assert "1.23456" in letters(svg)


def test_the_document_needs_nothing_from_elsewhere_and_follows_the_light(store: Store) -> None:
    html = figures.html(figures.portrait(store, fill(store, steady(20))))
    assert "default-src 'none'" in html
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", html)
    assert "url(" not in re.sub(r"url\(#\w+\)", "", html)
    assert not re.search(r"<script|\son\w+=|javascript:|@import", html)
    assert "prefers-color-scheme: dark" in html
    # Every colour of ours follows it.
    assert not re.search(r"style=\"[^\"]*#(?:16191f|0072b2|ffffff)", html)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_spike_of_one_step_is_in_the_picture_of_a_long_run(store: Store) -> None:
    run = fill(store, {step: {"loss": 50.0 if step == 4321 else 1.0} for step in range(30_000)})
    curve = figures.portrait(store, run).curves["loss"]
    assert len(curve.points) <= portraits.POINTS
    assert max(point.max for point in curve.points) == 50.0


def test_means_are_of_fifty_steps_where_rows_are_many(store: Store) -> None:
    run = fill(store, {step: {"loss": float(step)} for step in range(1, 5001)})
    curve = figures.portrait(store, run).curves["loss"]
    assert curve.reach == 50
    assert len(curve.points) <= portraits.POINTS
    step, mean = curve.means[-1]
    assert (step, mean) == (5000, sum(range(4951, 5001)) / 50)


def test_means_of_few_rows_are_of_five(store: Store) -> None:
    run = fill(store, {step: {"loss": 1.0} for step in range(0, 2000, 100)})
    assert figures.portrait(store, run).curves["loss"].reach == 500


def test_nan_spoils_no_mean_and_is_marked(store: Store) -> None:
    run = fill(store, {1: {"loss": 1.0}, 2: {"loss": math.nan}, 3: {"loss": 3.0}})
    curve = figures.portrait(store, run).curves["loss"]
    assert curve.means == ((1, 1.0), (2, 1.0), (3, 2.0))
    assert curve.bad == (2,)


def test_what_a_restart_went_back_over_is_told_apart(store: Store) -> None:
    fill(store, {step: {"loss": 9.0} for step in range(1, 101)})
    run = fill(store, {step: {"loss": 1.0} for step in range(61, 81)}, attempt=2)
    store.begin_attempt(run.id, 2, 61, 2000.0, "resumed")
    told = figures.portrait(store, run)
    curve = told.curves["loss"]
    assert [point.step for point in curve.points] == list(range(1, 81))
    assert {point.last for point in curve.points if point.step > 60} == {1.0}
    assert [point.step for point in curve.undone] == list(range(61, 101))
    assert told.attempts == (61,)


def test_anomalies_and_snapshots_are_marked_on_every_chart(store: Store) -> None:
    run = fill(store, steady(60))
    for step, severity in ((20, "critical"), (30, "warning"), (40, "info")):
        store.add_event(at=1.0, kind="loss_spike", message="m", run_id=run.id, step=step, severity=severity)
    store.add_event(at=1.0, kind="checkpoint_saved", message="m", run_id=run.id, step=50)
    kept = Snapshot(
        name="s",
        path=store.path.parent / "s",
        run="my-run",
        created_at="2025-11-12T14:30:22+00:00",
        reason="r",
        triggers=("loss_spike",),
        step=20,
        loss=None,
        accuracy=None,
        checkpoint_step=None,
        bytes=1,
        pinned=False,
        state=SnapshotState.OK,
    )
    store.index_snapshots(store.path.parent, [kept])
    told = figures.portrait(store, run)
    assert [(mark.step, mark.severity) for mark in told.marks] == [(20, "critical"), (30, "warning"), (40, "info")]
    assert told.snapshots == (20,)
    written = letters(figures.svg(told))
    assert all(words in written for words in ("critical anomaly", "warning", "noticed", "snapshot"))


def test_anomalies_of_a_detector_from_elsewhere_are_marked_too(store: Store) -> None:
    run = fill(store, steady(60))
    store.add_event(at=1.0, kind="odd_gradient", message="m", run_id=run.id, step=20, severity="warning")
    assert figures.portrait(store, run).marks == ()
    change = IncidentChange(
        "k",
        "odd_gradient",
        "odd",
        Change.OPENED,
        Severity.WARNING,
        1.0,
        20,
        20,
        20,
        anomalies=1,
        reason="r",
        message="m",
    )
    store.save_incident(run.id, change)
    told = figures.portrait(store, run)
    assert [mark.kind for mark in told.marks] == ["odd_gradient"]
    assert (told.incidents, told.open_incidents) == (1, 1)


def test_a_picture_of_the_past_knows_nothing_later(store: Store) -> None:
    run = fill(store, steady(100))
    store.add_event(at=1.0, kind="loss_spike", message="m", run_id=run.id, step=90, severity="warning")
    told = figures.portrait(store, run, upto=50)
    assert told.step == 50
    assert told.marks == ()
    assert told.best_step == 50


def test_a_masked_loss_of_zero_was_never_the_best(store: Store) -> None:
    run = fill(store, {step: {"loss": 0.0 if step == 7 else 2.0 - step / 100} for step in range(1, 101)})
    told = figures.portrait(store, run, upto=50)
    assert (told.best, told.best_step) == (1.5, 50)


def test_accuracy_is_paired_with_the_nearest_loss(store: Store) -> None:
    rows: dict[int, dict[str, float]] = {step: {"loss": float(step)} for step in range(0, 100, 10)}
    rows[34] = {"accuracy": 70.0}
    assert figures.portrait(store, fill(store, rows)).pairs() == [(30.0, 70.0, 34)]


def test_speed_is_that_of_the_steps_where_the_trainer_tells_none(store: Store) -> None:
    told = figures.portrait(store, fill(store, steady(10)))
    assert told.speed.metric == "steps_per_sec"
    assert set(told.speed.values) == {1.0}


def test_single_pictures_come_by_name(store: Store) -> None:
    run = fill(store, steady(30))
    drawn = figures.plots(store, run, ["loss", "recent"])
    assert list(drawn) == ["loss", "recent"]
    assert {size(picture) for picture in drawn.values()} == {(1050, 540)}
    with pytest.raises(UsageError, match="there is no picture nope"):
        figures.plots(store, run, ["nope"])


def test_a_server_has_them_drawn_elsewhere(store: Store) -> None:
    run = fill(store, steady(30))
    assert {size(one) for one in Child(store.path, run.id, ["loss"]).pictures().values()} == {(1050, 540)}
    with pytest.raises(UsageError, match="there is no picture nope"):
        Child(store.path, run.id, ["nope"])
    with pytest.raises(SmartmonError, match=r"drawing failed: .*there is no run 99"):
        Child(store.path, 99, ["loss"]).pictures()
    with pytest.raises(SmartmonError, match="given up"):
        Child(store.path, run.id, ["loss"]).pictures(0.01)


def test_a_server_hears_that_matplotlib_is_missing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "matplotlib.py").write_text("raise ModuleNotFoundError('no', name='matplotlib')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'absent'}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ModuleNotFoundError):
        Child(store.path, fill(store, steady(3)).id, ["loss"]).pictures()


def test_drawing_leaves_matplotlib_as_it_was(store: Store) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert figures.png(figures.portrait(store, fill(store, steady(5))))
    assert dict(matplotlib.rcParams) == before


def test_a_users_own_style_changes_nothing(store: Store) -> None:
    import matplotlib

    told = figures.portrait(store, fill(store, steady(5)))
    plain = figures.png(told)
    with matplotlib.rc_context({"lines.linewidth": 20.0, "font.size": 40.0, "text.usetex": True}):
        assert figures.png(told) == plain


def test_nothing_is_drawn_beside_the_axes_it_belongs_to(store: Store) -> None:
    rows: dict[int, dict[str, float]] = {
        step: {"loss": 1.0, **({"accuracy": 50.0} if step < 20 else {})} for step in range(200)
    }
    run = fill(store, rows)
    for step in range(150, 160):
        store.add_event(at=1.0, kind="loss_spike", message="m", run_id=run.id, step=step, severity="critical")
    told = figures.portrait(store, run)
    for name, marks in (("loss", 4), ("accuracy", 0)):
        (axes,) = chart(name, told, (7.0, 3.6)).axes
        low, high = axes.get_xlim()
        drawn = [step for line in axes.get_lines() if line.get_marker() == "v" for step in line.get_xdata()]
        assert all(low <= step <= high for step in drawn)
        # Ten in a row would be a bar across the chart.
        assert len(drawn) <= marks


def test_a_long_name_and_a_long_headline_stay_on_the_paper(store: Store) -> None:
    run = fill(store, steady(60), name="W" * 200)
    data = {"best_metric": "W" * 200, "best_loss": 1e-9, "best_loss_step": 2**50}
    store.update_run(run.id, total_steps=2**53, data=data)
    (found,) = store.runs()
    with canvas.drawing():
        figure = page._page(figures.portrait(store, found), draw=True)
        figure.draw_without_rendering()
        wide = [text.get_window_extent().x1 / figure.bbox.width for text in figure.texts]
    assert max(wide) < 0.95


def test_letters_that_no_font_has_are_explained(store: Store) -> None:
    run = fill(store, steady(20))
    store.update_run(run.id, data={"samples": {"recent_examples": [{"step": 1, "prompt": "\U00016a00"}]}})
    (found,) = store.runs()
    with canvas.drawing():
        figure = page._page(figures.portrait(store, found), draw=True)
    assert any("no font on this machine has" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("lowest", [1e-12, 1e-3, 0.9e-2, 1e-2], ids=["steep", "decade", "near", "flat"])
def test_the_axis_of_the_learning_rate_has_some_ticks_and_not_too_many(store: Store, lowest: float) -> None:
    rows = {step: {"learning_rate": max(lowest, 1e-2 * (1 - step / 99))} for step in range(100)}
    told = figures.portrait(store, fill(store, rows))
    with canvas.drawing():
        (axes,) = chart("learning_rate", told, (7.0, 3.6)).axes
        low, high = axes.get_ylim()
        ticks = [tick for tick in axes.yaxis.get_majorticklocs() if low <= tick <= high]
    assert 2 <= len(ticks) <= 8


def test_a_chart_by_itself_says_whose_it_is_and_what_its_marks_mean(store: Store) -> None:
    run = fill(store, steady(30))
    store.add_event(at=1.0, kind="loss_spike", message="m", run_id=run.id, step=20, severity="critical")
    with canvas.drawing():
        figure = page._alone("loss", figures.portrait(store, run))
    assert figure.get_suptitle() == "my-run"
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["critical anomaly"]


def test_what_matters_is_marked_however_often_something_was_noticed(store: Store) -> None:
    run = fill(store, steady(60))
    store.add_event(at=1.0, kind="loss_spike", message="m", run_id=run.id, step=7, severity="critical")
    with store.transaction():
        for step in range(500):
            store.add_event(at=2.0, kind="plateau", message="m", run_id=run.id, step=step, severity="info")
    assert (7, "critical") in [(mark.step, mark.severity) for mark in figures.portrait(store, run).marks]
