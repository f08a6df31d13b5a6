"""Every option of `smartmon run` does what its help says, on real files."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.world import Daemon, Receiver, Run, notifier, started, until

QUICK = '[snapshots]\nsettle = "200ms"\n'


def log_of(values: list[float], key: str = "loss", stride: int = 100) -> list[dict[str, object]]:
    return [{"step": stride * (index + 1), key: value} for index, value in enumerate(values)]


def fired(tmp_path: Path, rows: list[dict[str, object]], *options: str) -> list[tuple[str, int]]:
    """(kind, step) of the anomalies that a first look at a young run finds."""
    run = Run(tmp_path / "train")
    run.log(rows)
    daemon = Daemon(run.base, *options, config=QUICK)
    done = daemon.once()
    assert done.returncode == 0, done.stderr
    kinds = ("loss_spike", "accuracy_drop", "best_model", "divergence", "nonfinite")
    return [(kind, step) for kind, step in daemon.rows("select kind, step from events order by id") if kind in kinds]


@pytest.mark.parametrize(("rise", "fires"), [(1.205, True), (1.19, False)])
def test_loss_spike_threshold(tmp_path: Path, rise: float, fires: bool):
    seen = fired(tmp_path, log_of([1.0] * 6 + [rise]), "--loss-spike-threshold", "0.2")
    assert (("loss_spike", 700) in seen) == fires


@pytest.mark.parametrize(("accuracy", "fires"), [(69.9, True), (70.1, False)])
def test_accuracy_drop_threshold(tmp_path: Path, accuracy: float, fires: bool):
    rows = log_of([75.0] * 6 + [accuracy], "accuracy_percent")
    assert (("accuracy_drop", 700) in fired(tmp_path, rows, "--accuracy-drop-threshold", "5")) == fires


@pytest.mark.parametrize(("window", "fires"), [("3", True), ("10", False)])
def test_loss_window(tmp_path: Path, window: str, fires: bool):
    """With three values, two rising steps of two are a divergence; with ten the window is not yet full."""
    seen = fired(tmp_path, log_of([1.00, 1.02, 1.04, 1.06, 1.08, 1.10]), "--loss-window", window)
    assert any(kind == "divergence" for kind, _step in seen) == fires


@pytest.mark.parametrize(("least", "snapshots"), [("1", 3), ("250", 2), ("10000", 1)])
def test_min_steps_between_saves_holds_per_kind(tmp_path: Path, least: str, snapshots: int):
    run = Run(tmp_path / "train")
    run.checkpoint(50)
    calm = [1.0, 1.01, 1.0, 0.99, 1.0]
    values = [*calm, 1.9, 1.0, 1.9, 1.0, 1.9]
    run.log(log_of(values))
    daemon = Daemon(run.base, "--min-steps-between-saves", least, config=QUICK)
    daemon.once()
    kept = [row for row in daemon.cli("snapshots", "list") if "loss_spike" in row["reason"]]
    assert len(kept) == snapshots


def test_an_accuracy_drop_is_kept_although_a_spike_was_kept_just_before(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.checkpoint(50)
    rows = [{"step": 100 * (i + 1), "loss": 1.0, "accuracy_percent": 75.0} for i in range(6)]
    rows[4] |= {"loss": 1.9}
    rows[5] |= {"accuracy_percent": 50.0}
    run.log(rows)
    daemon = Daemon(run.base, config=QUICK)
    daemon.once()
    assert sorted(row["reason"].rsplit("_", 1)[0] for row in daemon.cli("snapshots", "list")) == [
        "accuracy_drop",
        "loss_spike",
    ]


def test_a_profile_sets_the_threshold_and_the_command_line_beats_it(tmp_path: Path):
    rows = log_of([1.0] * 6 + [1.15])
    assert ("loss_spike", 700) in fired(tmp_path / "a", rows, "--profile", "conservative")
    assert ("loss_spike", 700) not in fired(
        tmp_path / "b", rows, "--profile", "conservative", "--loss-spike-threshold", "0.3"
    )


def test_without_the_noise_guard_every_spike_is_sent(tmp_path: Path):
    run = Run(tmp_path / "train")
    noisy = [1.0, 1.3, 0.8, 1.2, 0.9, 1.25, 0.85] * 3
    run.log(log_of([*noisy, 1.45], stride=1))
    with Receiver() as receiver:
        Daemon(run.base, "--no-noise-guard", config=notifier(receiver)).once()
        assert [text for text in receiver.texts if text.startswith("loss spike")]


def test_a_past_is_not_news(tmp_path: Path):
    """Started beside a run 60,000 steps in: nothing is copied, nobody is paged, all is on record."""
    run = Run(tmp_path / "train")
    run.checkpoint(60_000)
    now = time.time()
    rows: list[dict[str, object]] = [
        {"step": step, "loss": 3.0 if step % 5000 == 0 else 1.0, "timestamp": now - (60_100 - step)}
        for step in range(100, 60_001, 100)
        if step < 59_000
    ]
    run.log(rows)
    with Receiver() as receiver:
        daemon = Daemon(run.base, config=notifier(receiver))
        assert daemon.once().returncode == 0
        assert receiver.texts == []
    assert daemon.cli("snapshots", "list") == []
    spikes = daemon.events("loss_spike")
    assert len(spikes) == 11
    assert all(historic for *_rest, historic in spikes)


def test_what_happened_while_the_daemon_was_down_is_news(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.checkpoint(100)
    now = time.time()
    rows = [{"step": 100 * (i + 1), "loss": 1.0, "timestamp": now - 7200 + i} for i in range(8)]
    run.log(rows)
    with Receiver() as receiver:
        daemon = Daemon(run.base, config=notifier(receiver))
        daemon.once()
        run.log([{"step": 900, "loss": 3.0, "timestamp": now - 7191}])
        daemon.once()
        titles = [text.splitlines()[0] for text in receiver.texts]
    assert [title for title in titles if "spike" in title] == ["loss spike +200.0 % at step 900 - train"]


def test_a_new_run_is_found_while_the_daemon_runs(tmp_path: Path):
    base = tmp_path / "train"
    base.mkdir()
    with started(base, config='[monitor]\npoll_interval = "500ms"\n') as daemon:
        (base / "later" / "deep").mkdir(parents=True)
        (base / "later" / "deep" / "training_log.jsonl").write_text('{"step": 7, "loss": 1.0}\n')
        until(lambda: daemon.rows("select 1 from runs where name = 'later/deep' and step = 7"))


def test_several_base_dirs_share_one_database_and_keep_their_own_snapshots(tmp_path: Path):
    first, second = Run(tmp_path / "one"), Run(tmp_path / "two")
    for run in (first, second):
        run.checkpoint(50)
        run.log(log_of([1.0] * 6 + [1.9]))
    daemon = Daemon(first.base, "--base-dir", str(second.base), config=QUICK)
    assert daemon.once().returncode == 0
    assert {name for (name,) in daemon.rows("select name from runs")} == {"one", "two"}
    for run in (first, second):
        assert len(list((run.base / "snapshots").glob("anomaly_*loss_spike*"))) == 1
    status = Daemon(second.base, config=QUICK).cli("status")
    assert {row["run"] for row in status["runs"]} == {"one", "two"}


def test_a_second_daemon_is_refused_with_5(tmp_path: Path):
    run = Run(tmp_path / "train")
    with started(run.base):
        done = Daemon(run.base).once()
    assert done.returncode == 5
    assert "already watches" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_within_five_seconds(tmp_path: Path, number: int):
    run = Run(tmp_path / "train")
    with started(run.base) as daemon:
        assert daemon.process is not None
        daemon.process.send_signal(number)
        assert daemon.process.wait(timeout=5) == 0
    assert [kind for (kind,) in daemon.rows("select kind from events order by id")][-1] == "daemon_stopped"


def test_sighup_takes_a_good_config_and_refuses_a_bad_one(tmp_path: Path):
    run = Run(tmp_path / "train")
    with started(run.base, config="[monitor]\nstats_every = 500\n") as daemon:
        assert daemon.process is not None
        daemon.config.write_text("[monitor]\nstats_evry = 500\n")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: b"config.refused" in daemon.log.read_bytes())
        daemon.config.write_text('[monitor]\nstatus_interval = "200ms"\n')
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: b"config.reloaded" in daemon.log.read_bytes())
        run.status(3, loss=1.0)
        until(lambda: daemon.rows("select 1 from runs where step = 3"))
        assert daemon.stop() == 0


def test_the_watchdog_is_fed_while_all_is_well(tmp_path: Path):
    run = Run(tmp_path / "train")
    import socket
    import subprocess

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.settimeout(20)
        daemon = Daemon(run.base)
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "1000000"}
        process = subprocess.Popen(daemon.command("run"), stderr=subprocess.DEVNULL, env=env)
        try:
            heard = []
            while heard.count("WATCHDOG=1") < 2:
                heard.append(sock.recv(4096).decode())
            process.terminate()
            while heard[-1] != "STOPPING=1":
                heard.append(sock.recv(4096).decode())
        finally:
            process.terminate()
            assert process.wait(10) == 0
    assert any(message.startswith("READY=1\nSTATUS=watching") for message in heard)


def test_the_log_has_the_two_greppable_words(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.log(log_of([1.0] * 6 + [1.9]))
    Daemon(run.base, config=QUICK).once()
    (log,) = (run.base / "logs").glob("smart_monitor_????????.log")
    text = log.read_text()
    assert "ALERT reason=loss_spike_90.0pct" in text
    assert "Monitoring: Step 500" in text


def test_json_logs_are_json(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.log(log_of([1.0] * 6 + [1.9]))
    done = Daemon(run.base, "--log-format", "json", config=QUICK).once()
    assert "ALERT" in {json.loads(line)["event"] for line in done.stderr.splitlines()}


def test_no_planted_secret_is_found_anywhere(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.log(log_of([1.0] * 6 + [1.9]))
    secret = "hunter2SECRETtoken"
    config = QUICK + f'[[notifiers]]\nname = "phone"\nurl = "json://user:{secret}@127.0.0.1:9/{secret}path"\n'
    daemon = Daemon(run.base, "--log-level", "debug", config=config)
    done = daemon.once()
    spoken = done.stdout + done.stderr
    for words in (["status"], ["events", "list"], ["alerts", "list"], ["config", "show"]):
        spoken += json.dumps(daemon.cli(*words))
    assert secret not in spoken
    for path in run.base.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_once_says_3_when_an_alert_of_this_time_did_not_arrive(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.log(log_of([1.0] * 6 + [1.9]))
    nowhere = '[[notifiers]]\nname = "phone"\nurl = "json://127.0.0.1:9/"\n'
    daemon = Daemon(run.base, config=QUICK + nowhere)
    assert daemon.once().returncode == 3
    daemon.config.write_text(QUICK)
    assert daemon.once().returncode == 0


def test_patterns_stand_for_base_dirs(tmp_path: Path):
    for name in ("a", "b"):
        Run(tmp_path / "data" / name / "run").log(log_of([1.0, 0.9]))
    daemon = Daemon(tmp_path / "x", config=QUICK)
    daemon.base = tmp_path / "data" / "*" / "run"
    assert daemon.once().returncode == 0
    assert {row["run"] for row in daemon.cli("status")["runs"]} == {"run", "b/run"}
    assert (tmp_path / "data" / ".smartmon" / "smartmon.db").exists()
