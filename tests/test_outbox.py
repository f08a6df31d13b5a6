"""The outbox, end to end: a real database, the real child, real receivers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smartmon import outbox
from smartmon.config import Config, load
from smartmon.notify import routing
from smartmon.outbox import Outbox
from smartmon.records import Change, IncidentChange, Severity
from smartmon.store import Store
from tests.notify.servers import Receiver, silent_port, until
from tests.notify.servers import receiver as serve

NOW = 1_762_954_222.0

CRASH = IncidentChange(
    key="crashed-1-5",
    kind="crashed",
    family="run",
    change=Change.OPENED,
    severity=Severity.CRITICAL,
    at=NOW,
    step=5,
    start_step=5,
    end_step=5,
    anomalies=1,
    reason="crashed",
    message="CUDA out of memory",
    notify=True,
)
SPIKE = replace(CRASH, key="loss_spike-1-5", kind="loss_spike", family="loss", severity=Severity.WARNING)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serve() as server:
        yield server


class Desk:
    """A store, a config and an outbox over one folder."""

    def __init__(self, folder: Path, **notifiers: str) -> None:
        self.folder = folder
        self.cancelled = False
        self.store = Store.open(folder / "state" / "smartmon.db")
        self.configure("".join(f'[[notifiers]]\nname = "{name}"\nurl = "{url}"\n' for name, url in notifiers.items()))

    def configure(self, toml: str) -> None:
        file = self.folder / "smartmon.toml"
        file.write_text(toml)
        self.config: Config = load(file, base_dirs=[self.folder], environ={})
        self.outbox = Outbox(
            self.store, self.config, cancel=lambda: self.cancelled, beat=lambda: None, rng=lambda: 0.999_999
        )

    def arrive(self, change: IncidentChange, run: str = "my-run", now: float = NOW) -> int:
        row = self.store.ensure_run(run, self.folder / run, self.folder, now)
        with self.store.transaction():
            incident = self.store.save_incident(row.id, change)
            routing.enqueue(self.store, self.config, row, change, incident, None, now)
        return row.id

    def drain(self, now: float) -> None:
        while self.outbox.deliver_one(now):
            pass

    @property
    def states(self) -> list[str]:
        return [row.state for row in self.store.deliveries(limit=1000)]

    def events(self, kind: str) -> list[Any]:
        return self.store.events(kinds=(kind,))


@pytest.fixture
def desk(tmp_path: Path, receiver: Receiver) -> Iterator[Desk]:
    made = Desk(tmp_path, phone=receiver.url())
    yield made
    made.store.close()


def test_a_message_is_sent_once_and_the_timeline_says_so(desk: Desk, receiver: Receiver) -> None:
    desk.arrive(CRASH)
    assert desk.outbox.deliver_one(NOW)
    assert not desk.outbox.deliver_one(NOW)
    row = desk.store.deliveries()[0]
    assert receiver.titles == ["training crashed at step 5 - my-run"]
    assert f"id {row.id}" in receiver.bodies[0]["message"]
    assert (row.state, row.attempts) == ("sent", 1)
    assert desk.events("alert_delivered")[0].message == (
        "alert delivered to phone: training crashed at step 5 - my-run"
    )


def test_a_failure_is_tried_again_after_its_delay(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [500]
    desk.arrive(CRASH)
    desk.drain(NOW)
    row = desk.store.deliveries()[0]
    assert (row.state, row.attempts) == ("pending", 1)
    assert "error=500" in row.last_error
    assert NOW + 4.9 < row.next_at < NOW + 10
    assert desk.outbox.next_at(NOW) == row.next_at
    desk.drain(row.next_at)
    assert desk.states == ["sent"]
    assert len(receiver.paths) == 2


def test_retry_after_is_obeyed(desk: Desk, receiver: Receiver) -> None:
    receiver.script, receiver.headers = [429], {"Retry-After": "120"}
    desk.arrive(CRASH)
    desk.drain(NOW)
    assert desk.store.deliveries()[0].next_at >= NOW + 120


def test_a_refusal_is_final_and_shown(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [404]
    desk.arrive(CRASH)
    desk.drain(NOW)
    assert desk.states == ["dead"]
    event = desk.events("alert_failed")[0]
    assert event.severity == "warning"
    assert "phone" in event.message


def test_after_a_day_of_failures_it_gives_up(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [500] * 3
    desk.arrive(CRASH)
    for now in (NOW, NOW + 86_000, NOW + 86_401):
        desk.drain(now)
    assert desk.states == ["dead"]
    assert len(receiver.paths) == 3


def test_what_was_written_while_the_daemon_was_down_for_days_still_gets_its_tries(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.script = [500]
    desk.arrive(CRASH)
    desk.drain(NOW + 10 * 86_400)
    assert desk.states == ["pending"]
    desk.drain(NOW + 10 * 86_400 + 60)
    assert "This message is late by 10d 0h" in receiver.bodies[-1]["message"]


def test_later_messages_do_not_overtake_one_that_is_tried_again(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [500]
    desk.arrive(CRASH)
    desk.drain(NOW)
    for n in range(3):
        desk.arrive(replace(CRASH, key=f"c-{n}", step=100 + n), now=NOW + 1)
    desk.drain(NOW + 2)
    assert len(receiver.paths) == 1
    desk.drain(NOW + 3600)
    assert [title.split()[4] for title in receiver.titles] == ["5", "5", "100", "101", "102"]


def test_one_notifiers_trouble_is_not_anothers(tmp_path: Path, receiver: Receiver) -> None:
    with silent_port() as hanging:
        desk = Desk(tmp_path, stuck=f"json://127.0.0.1:{hanging}/x", phone=receiver.url())
        desk.configure((tmp_path / "smartmon.toml").read_text() + '[alerts]\ntimeout = "6s"\n')
        desk.arrive(CRASH)
        desk.arrive(replace(CRASH, key="second"))
        begun = time.monotonic()
        assert desk.outbox.deliver_one(NOW)
        assert time.monotonic() - begun < 25
    assert desk.states == ["pending", "sent", "pending", "sent"]
    desk.store.close()


def test_rows_that_a_crash_left_in_sending_go_out_with_the_same_id(desk: Desk, receiver: Receiver) -> None:
    desk.arrive(CRASH)
    delivery = desk.store.deliveries()[0].id
    desk.store.update_delivery(delivery, state="sending", attempts=1)
    assert not desk.outbox.deliver_one(NOW)
    assert desk.outbox.recover(NOW) == 1
    desk.drain(NOW)
    assert f"id {delivery}" in receiver.bodies[0]["message"]


def test_a_stop_takes_back_what_is_on_its_way_and_leaves_no_process(desk: Desk, receiver: Receiver) -> None:
    receiver.hang.clear()
    desk.arrive(CRASH)
    desk.outbox._beat = lambda: setattr(desk, "cancelled", receiver.arrived.is_set())
    begun = time.monotonic()
    assert not desk.outbox.deliver_one(NOW)
    assert time.monotonic() - begun < 10
    row = desk.store.deliveries()[0]
    assert (row.state, row.attempts) == ("pending", 0)
    until(lambda: not children())


def children() -> list[str]:
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.decode() for line in lines if b"smartmon.notify.child" in line]


def test_a_notifier_that_left_the_config_makes_its_rows_dead(desk: Desk) -> None:
    desk.arrive(CRASH)
    desk.configure("")
    desk.drain(NOW)
    row = desk.store.deliveries()[0]
    assert (row.state, row.last_error) == ("dead", "the config has no such notifier any more")


def test_a_row_that_cannot_be_worded_holds_up_no_other(desk: Desk, receiver: Receiver) -> None:
    desk.store.add_delivery(
        notifier="phone", kind="opened", severity="critical", created_at=NOW, payload={"change": {"kind": 1}}
    )
    desk.arrive(CRASH)
    desk.drain(NOW)
    assert desk.states == ["dead", "sent"]


def keep(desk: Desk, run_id: int) -> int:
    return desk.store.request_keep(
        run_id,
        1,
        5,
        at=NOW,
        kinds=["loss_spike"],
        reasons=["loss_spike_40.7pct"],
        severity="warning",
        hold=False,
        incident_keys=[SPIKE.key],
        payload={},
    )


def test_the_message_waits_for_its_snapshot_and_names_it(desk: Desk, receiver: Receiver) -> None:
    request = keep(desk, desk.arrive(SPIKE))
    assert not desk.outbox.deliver_one(NOW + 1)
    assert desk.outbox.due_soon(NOW + 1)
    desk.store.update_keep(request, state="done", snapshot="anomaly_1")
    desk.drain(NOW + 2)
    assert f"Kept: {desk.folder}/snapshots/anomaly_1" in receiver.bodies[0]["message"]
    assert "smartmon snapshots restore anomaly_1 DEST" in receiver.bodies[0]["message"]


def test_a_copy_that_takes_long_is_told_as_under_way(desk: Desk, receiver: Receiver) -> None:
    request = keep(desk, desk.arrive(SPIKE))
    desk.store.update_keep(request, state="copying", note="copying checkpoint-17500 (4.1 GB)")
    assert not desk.outbox.deliver_one(NOW + 4.9)
    desk.drain(NOW + 5)
    assert "Keeping: copying checkpoint-17500 (4.1 GB)." in receiver.bodies[0]["message"]


def test_two_hundred_runs_that_fail_at_once_make_one_message(desk: Desk, receiver: Receiver) -> None:
    for n in range(200):
        desk.arrive(CRASH, run=f"run-{n}", now=NOW + n / 200)
    assert not desk.outbox.deliver_one(NOW + 1)
    desk.drain(NOW + 6)
    assert len(receiver.titles) == 1
    assert receiver.titles[0].startswith("crashed in 200 runs: run-0, run-1, run-2")
    rows = desk.store.deliveries(limit=1000)
    assert {row.state for row in rows} == {"sent"}
    assert {row.payload.get("within", row.id) for row in rows} == {rows[0].id}
    assert f"id {rows[0].id}" in receiver.bodies[0]["message"]


def test_a_digest_that_fails_is_tried_again_as_one(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [503]
    for n in range(8):
        desk.arrive(CRASH, run=f"run-{n}")
    desk.drain(NOW + 6)
    desk.drain(NOW + 60)
    assert len(receiver.paths) == 2
    assert desk.states == ["sent"] * 8


def test_a_flapping_run_is_capped_and_its_last_word_always_arrives(desk: Desk, receiver: Receiver) -> None:
    for n in range(20):
        change = Change.RESOLVED if n % 2 else Change.OPENED
        desk.arrive(replace(SPIKE, key=f"k-{n // 2}", change=change, step=n), now=NOW + n * 2)
        desk.drain(NOW + n * 2)
    assert len(receiver.bodies) == 6
    desk.arrive(CRASH, now=NOW + 50)
    desk.drain(NOW + 50)
    assert receiver.titles[-1].startswith("training crashed")
    later = desk.outbox.next_at(NOW + 60)
    assert later is not None
    assert NOW + 3600 <= later < NOW + 3610
    desk.drain(NOW + 3700)
    assert len(receiver.bodies) == 8
    assert receiver.titles[-1].startswith("resolved: ")
    assert "13 more suppressed" in receiver.bodies[-1]["message"]
    assert set(desk.states) == {"sent"}


def test_quiet_hours_hold_a_warning_until_morning(desk: Desk, receiver: Receiver) -> None:
    night = time.mktime((2025, 11, 13, 3, 0, 0, 0, 0, -1))
    desk.configure((desk.folder / "smartmon.toml").read_text() + 'quiet_hours = "22:00-07:00"\n')
    desk.arrive(SPIKE, now=night)
    desk.arrive(CRASH, now=night)
    desk.drain(night)
    assert receiver.titles == ["training crashed at step 5 - my-run"]
    assert desk.outbox.next_at(night) == night + 4 * 3600
    desk.drain(night + 4 * 3600)
    assert "late by 4h 00m: it is from 2025-11-13 03:00:00" in receiver.bodies[1]["message"]


def hooked(desk: Desk, script: str) -> None:
    file = desk.folder / "hook.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    desk.configure('[[hooks]]\non = ["crashed"]\nrun = ["./hook.sh"]\n')


def test_a_hook_runs_once_beside_the_config(desk: Desk) -> None:
    hooked(desk, "cat >> got.json")
    desk.arrive(CRASH)
    desk.drain(NOW)
    told = json.loads((desk.folder / "got.json").read_text())
    assert (told["event"], told["kind"], told["run_path"]) == ("opened", "crashed", str(desk.folder / "my-run"))
    assert desk.events("alert_delivered")[0].message == "hook:hook.sh ran (opened crashed - my-run)"


def test_a_hook_that_fails_is_not_repeated(desk: Desk) -> None:
    hooked(desk, "echo no such room; exit 3")
    desk.arrive(CRASH)
    desk.drain(NOW)
    assert desk.states == ["dead"]
    assert desk.events("alert_failed")[0].message == (
        "hook:hook.sh failed (opened crashed - my-run): exit status 3: no such room"
    )


def test_a_hook_that_is_not_there_is_told(desk: Desk) -> None:
    desk.configure('[[hooks]]\non = ["crashed"]\nrun = ["./missing.sh"]\n')
    desk.arrive(CRASH)
    desk.drain(NOW)
    assert desk.store.deliveries()[0].last_error == "cannot start: No such file or directory"


def test_a_planted_secret_is_written_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with silent_port() as closed:
        pass
    secrets = ("pl4nted-user", "pl4nted-pass", "pl4nted-path", "pl4nted-query")
    url = f"json://pl4nted-user:pl4nted-pass@127.0.0.1:{closed}/pl4nted-path?+X=pl4nted-query"
    desk = Desk(tmp_path, phone=url, broken="tgram://pl4nted-path/")
    desk.arrive(CRASH)
    desk.drain(NOW)
    desk.store.close()
    (tmp_path / "smartmon.toml").unlink()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    out = capfd.readouterr()
    for secret in secrets:
        assert secret.encode() not in written
        assert secret not in out.out + out.err


def test_a_secret_in_a_runs_own_words_does_not_reach_another_service(tmp_path: Path, receiver: Receiver) -> None:
    desk = Desk(tmp_path, other="json://127.0.0.1:9/pl4nted-path", phone=receiver.url())
    desk.arrive(replace(CRASH, message="POST /pl4nted-path failed"))
    desk.drain(NOW)
    desk.store.close()
    assert receiver.bodies[0]["message"].startswith("Critical. POST /*** failed.")


def test_retry_makes_a_dead_row_due_as_if_it_were_new(desk: Desk, receiver: Receiver) -> None:
    receiver.script = [404]
    desk.arrive(CRASH)
    desk.drain(NOW)
    outbox.retry(desk.store, desk.store.deliveries()[0], NOW + 100_000)
    desk.drain(NOW + 100_000)
    assert desk.states == ["sent"]


def test_the_daemon_never_loads_what_the_child_needs() -> None:
    names = "{'apprise', 'requests', 'urllib.request'}"
    code = f"import sys, smartmon.outbox, smartmon.notify.heartbeat; print({names} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
