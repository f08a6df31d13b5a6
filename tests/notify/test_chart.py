"""The chart beside an alert: drawn by the sending child of numbers, and never in the way of the words."""

from __future__ import annotations

import base64
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smartmon.notify import chart
from smartmon.notify import send as sending
from smartmon.notify.process import run
from smartmon.notify.redact import Redactor
from smartmon.records import Change, IncidentChange, Severity
from smartmon.store import Store
from tests.notify.servers import Mailbox, Receiver
from tests.test_outbox import NOW, Desk

SPIKE = IncidentChange(
    key="loss_spike-1-300",
    kind="loss_spike",
    family="loss",
    change=Change.OPENED,
    severity=Severity.CRITICAL,
    at=300.0,
    step=300,
    start_step=300,
    end_step=300,
    anomalies=1,
    reason="loss_spike_200pct",
    message="loss 3 at step 300",
    metric="loss",
    value=3.0,
    expected=1.0,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "smartmon.db") as store:
        yield store


def told(store: Store, change: IncidentChange = SPIKE, *, name: str = "my-run") -> dict[str, Any] | None:
    row = store.ensure_run(name, store.path.parent / "r", store.path.parent, 1.0)
    with store.transaction():
        for step in range(1, 301):
            values = {"loss": 3.0 if step == 300 else 1.0 + step / 1000, "accuracy": 50.0 + step / 10}
            store.append(row.id, 1, step, float(step), values)
        store.add_event(
            at=300.0, kind="loss_spike", message="m", run_id=row.id, step=300, severity="critical", data={"limit": 1.3}
        )
    return chart.describe(store, row.id, name, change)


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", picture[16:24])


def test_it_shows_what_came_before_the_anomaly_and_what_was_expected(store: Store) -> None:
    shown = told(store)
    assert shown is not None
    assert (shown["value"], shown["expected"], shown["limit"], shown["step"]) == (3.0, 1.0, 1.3, 300)
    steps = [point[0] for point in shown["points"]]
    assert len(steps) > 100
    assert steps[-1] == 300
    # Whatever the buckets, the spike itself is there.
    assert max(point[3] for point in shown["points"]) == 3.0


def test_of_another_metric_it_shows_the_loss_as_well(store: Store) -> None:
    shown = told(store, replace(SPIKE, kind="accuracy_drop", metric="accuracy", value=math.nan, expected=80.0))
    assert shown is not None
    assert shown["metric"] == "accuracy"
    assert len(shown["loss"]) > 100


@pytest.mark.parametrize("change", [Change.RESOLVED, Change.REMINDER, Change.UPDATED])
def test_only_news_has_a_picture(store: Store, change: Change) -> None:
    assert told(store, replace(SPIKE, change=change)) is None


def test_a_run_without_rows_has_none(store: Store) -> None:
    row = store.ensure_run("empty", store.path.parent / "e", store.path.parent, 1.0)
    assert chart.describe(store, row.id, "empty", SPIKE) is None


@pytest.mark.parametrize("name", ["my-run", "$\\frac{", "<b>@everyone</b>", "训练\u202e🙂", "x" * 5000])
def test_it_is_small_whatever_the_run_is_called(store: Store, name: str) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    shown = told(store, name=name)
    assert shown is not None
    picture = chart.draw(shown)
    assert size(picture) == (800, 500)
    assert len(picture) < 60_000


@pytest.mark.parametrize("value", [None, math.inf, 1e300])
def test_what_cannot_be_drawn_is_marked_at_its_step(store: Store, value: float | None) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    shown = told(store)
    assert shown is not None
    points = [[299, 1.0, 1.0, 1.0], [300, value, value, value]]
    assert size(chart.draw({**shown, "value": value, "limit": value, "points": points})) == (800, 500)


def test_it_arrives_with_the_message(store: Store, receiver: Receiver) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    process = run(sending.start(receiver.url(), "title", "body", severity="critical", limit=30.0, chart=told(store)))
    assert sending.result(process, Redactor(), 30.0).ok
    (attached,) = receiver.bodies[0]["attachments"]
    assert (attached["filename"], attached["mimetype"]) == ("chart.png", "image/png")
    assert size(base64.b64decode(attached["base64"])) == (800, 500)


def test_a_picture_that_fails_does_not_keep_the_words_back(receiver: Receiver) -> None:
    broken = {"points": "/etc/passwd", "attach": "/etc/passwd"}
    process = run(sending.start(receiver.url(), "t", "b", severity="info", limit=20.0, chart=broken))
    assert sending.result(process, Redactor(), 20.0).ok
    assert receiver.bodies[0]["message"] == "b"
    assert receiver.bodies[0]["attachments"] == []


def test_a_picture_that_takes_long_does_not_keep_the_words_back(
    store: Store, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "matplotlib.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'slow'}:{os.environ.get('PYTHONPATH', '')}")
    process = run(sending.start(receiver.url(), "t", "b", severity="info", limit=20.0, chart=told(store)))
    assert sending.result(process, Redactor(), 20.0).ok
    assert receiver.bodies[0]["attachments"] == []


def test_it_can_be_switched_off(tmp_path: Path, receiver: Receiver) -> None:
    desk = Desk(tmp_path, phone=receiver.url())
    desk.configure(f'[alerts]\ncharts = false\n[[notifiers]]\nname = "phone"\nurl = "{receiver.url()}"\n')
    row = desk.store.ensure_run("my-run", tmp_path / "my-run", tmp_path, NOW)
    for step in range(1, 301):
        desk.store.append(row.id, 1, step, NOW + step, {"loss": 1.0})
    desk.arrive(replace(SPIKE, at=NOW, notify=True))
    desk.drain(NOW)
    assert [body["attachments"] for body in receiver.bodies] == [[]]


def test_it_arrives_in_a_mail(store: Store, mail: tuple[Mailbox, int]) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    mailbox, port = mail
    url = f"mailto://127.0.0.1:{port}?from=smartmon@example.org&to=night@example.org&mode=insecure"
    process = run(sending.start(url, "title", "body", severity="critical", limit=30.0, chart=told(store)))
    assert sending.result(process, Redactor(), 30.0).ok
    attached = [part for part in mailbox.letters[0].walk() if part.get_filename()]
    assert [(part.get_filename(), part.get_content_type()) for part in attached] == [("chart.png", "image/png")]
    assert size(attached[0].get_payload(decode=True)) == (800, 500)


def test_the_daemon_loads_no_matplotlib_to_describe_one() -> None:
    code = "import smartmon.outbox, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_service_that_refuses_the_picture_gets_the_words(store: Store, receiver: Receiver) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    receiver.script = [413]
    process = run(sending.start(receiver.url(), "t", "b", severity="info", limit=30.0, chart=told(store)))
    assert sending.result(process, Redactor(), 30.0).ok
    assert [len(body["attachments"]) for body in receiver.bodies] == [1, 0]


def test_the_outbox_sends_it_and_after_some_tries_the_words_alone(tmp_path: Path, receiver: Receiver) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")
    desk = Desk(tmp_path, phone=receiver.url())
    row = desk.store.ensure_run("my-run", tmp_path / "my-run", tmp_path, NOW)
    with desk.store.transaction():
        for step in range(1, 301):
            desk.store.append(row.id, 1, step, NOW + step, {"loss": 1.0})
    receiver.script = [500] * chart.TRIES
    desk.arrive(replace(SPIKE, at=NOW, notify=True))
    for tried in range(chart.TRIES + 1):
        desk.drain(NOW + 3600 * tried)
    assert desk.states == ["sent"]
    attached = [[one["filename"] for one in body["attachments"]] for body in receiver.bodies]
    assert attached == [["chart.png"]] * chart.TRIES + [[]]
