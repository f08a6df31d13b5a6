"""Sixteen trainings of as many trainers side by side, watched by one real daemon: each goes wrong, and each is told."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartmon.store import Store
from tests.e2e.trainer import GOOD, Trainer
from tests.e2e.trainers import TRAINERS, Board, HuggingFace4, Lightning, Megatron, Swift, begun, configured
from tests.e2e.world import PATIENCE, Daemon, Receiver, notifier, started, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WORDS = {
    "nonfinite": "is NaN at step {step}",
    "loss_spike": "loss spike +",
    "divergence": "training diverges",
    "accuracy_drop": "accuracy drop -",
}
"""What the title of an alert says."""
PORTIONS = (7, 23, 40, 41, GOOD)
UNSENT = "select 1 from deliveries where state in ('pending', 'sending')"
LATER = 0.3
"""Seconds between two portions."""


@dataclass
class Night:
    """What came of it."""

    trainers: dict[str, Trainer]
    early: list[tuple[Any, ...]]
    """What was thought worth telling while all went well."""
    status: dict[str, dict[str, Any]]
    stored: dict[str, dict[str, list[tuple[int, int, float]]]]
    """Run -> metric -> (attempt, step, value)."""
    anomalies: dict[str, list[tuple[str, int, str]]]
    """Run -> (kind, step, severity) of all that is worth telling."""
    snapshots: list[dict[str, Any]]
    texts: list[str]
    log: str


def observations(base: Path) -> dict[str, dict[str, list[tuple[int, int, float]]]]:
    """All that is stored."""
    found: dict[str, dict[str, list[tuple[int, int, float]]]] = {}
    with Store.open(base / ".smartmon" / "smartmon.db", readonly=True) as store:
        for run in store.runs():
            series = found.setdefault(run.name, {})
            for row in store.rows(run.id):
                for metric, value in row.values.items():
                    series.setdefault(metric, []).append((row.attempt, row.step, value))
    return found


def told(daemon: Daemon) -> list[tuple[Any, ...]]:
    """Run, kind, step and severity of every anomaly that is worth telling."""
    return daemon.rows(
        "select runs.name, kind, events.step, severity from events join runs on runs.id = run_id"
        " where severity != 'info' and kind not like 'incident%' order by events.id"
    )


def catch_up(daemon: Daemon, trainers: list[Trainer]) -> None:
    """Wait until the daemon knows all that was written."""

    def behind() -> list[str]:
        known = dict(daemon.rows("select name, step from runs"))
        return [f"{each.name} at {known.get(each.name)}" for each in trainers if known.get(each.name) != each.reached]

    try:
        until(lambda: not behind(), patience=2 * PATIENCE)
    except AssertionError:
        pytest.fail(f"behind: {', '.join(behind())}\n{daemon.log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    base = tmp_path_factory.mktemp("night") / "train"
    trainers = begun(base)
    config = "[alerts]\ndigest_runs = 100\n"
    with Receiver() as receiver:
        config += notifier(receiver) + configured()
        with started(base, config=config) as daemon:
            for portion in PORTIONS:
                for each in trainers:
                    each.play(portion)
                time.sleep(LATER)
            for each in trainers:
                each.finish()
            catch_up(daemon, trainers)
            early = told(daemon)
            for ahead in (3, 100):
                for each in trainers:
                    each.play(min(GOOD + ahead, len(each.losses)))
                    each.finish()
                catch_up(daemon, trainers)
            until(lambda: not daemon.rows("select 1 from keeps where state in ('pending', 'copying')"), patience=60)
            until(
                lambda: not daemon.rows("select 1 from deliveries where state in ('pending', 'sending')"), patience=90
            )
            anomalies: dict[str, list[tuple[str, int, str]]] = {}
            for run, *what in told(daemon):
                anomalies.setdefault(run, []).append(tuple(what))
            yield Night(
                {each.run: each for each in trainers},
                early,
                {run["run"]: run for run in daemon.cli("status")["runs"]},
                observations(base),
                anomalies,
                daemon.cli("snapshots", "list", "--limit", "1000"),
                receiver.texts,
                daemon.log.read_text(),
            )


each_trainer = pytest.mark.parametrize("kind", TRAINERS, ids=lambda kind: kind.__name__)


def test_nothing_else_is_taken_for_a_run(night: Night):
    assert sorted(night.status) == sorted(each.name for each in night.trainers.values())
    assert "Traceback" not in night.log


def test_a_good_training_of_any_trainer_wakes_nobody(night: Night):
    assert night.early == []


@each_trainer
def test_every_point_is_stored_once_at_its_step(night: Night, kind: type[Trainer]):
    trainer = night.trainers[kind.run]
    stored = night.stored[trainer.name][trainer.main]
    assert [point[:2] for point in stored] == [point[:2] for point in trainer.points]
    expected = [value for _, _, value in trainer.points]
    assert [value for _, _, value in stored] == pytest.approx(expected, rel=0.002, abs=1e-6, nan_ok=True)


@each_trainer
def test_the_status_has_its_step_and_its_metrics(night: Night, kind: type[Trainer]):
    trainer = night.trainers[kind.run]
    status = night.status[trainer.name]
    assert (status["state"], status["step"]) == ("running", trainer.reached)
    assert kind.names <= status["latest"].keys()
    last = trainer.points[-1][2]
    if trainer.main == "loss":
        assert status["loss"] == (None if math.isnan(last) else pytest.approx(last, rel=0.002))


@each_trainer
def test_the_trouble_is_told_at_its_step(night: Night, kind: type[Trainer]):
    trainer = night.trainers[kind.run]
    first = next(each for each in night.anomalies[trainer.name] if each[0] == kind.kind)
    assert first[1] == trainer.step(kind.at)
    assert {each[0] for each in night.anomalies[trainer.name]} == {kind.kind}
    assert [each["kind"] for each in night.status[trainer.name]["open_incidents"]] == [kind.kind]


@each_trainer
def test_the_alert_arrives_with_the_kind_and_the_step(night: Night, kind: type[Trainer]):
    trainer = night.trainers[kind.run]
    titles = [text.splitlines()[0] for text in night.texts]
    mine = [title for title in titles if title.endswith(f" - {trainer.name}")]
    step = f"{trainer.step(kind.at):,}"
    assert f"at step {step} - " in mine[0]
    assert WORDS[kind.kind].format(step=step) in mine[0]
    assert len(mine) == 1 + sum(title.startswith("now critical") for title in mine) <= 2


@each_trainer
def test_a_snapshot_holds_the_checkpoint_from_before(night: Night, kind: type[Trainer]):
    trainer = night.trainers[kind.run]
    mine = [row for row in night.snapshots if row["run"] == trainer.name and kind.kind in row["reason"]]
    assert mine[0]["step"] == trainer.step(kind.at)
    if not kind.saves:
        assert mine[0]["state"] == "no_checkpoint"
        return
    assert mine[0]["state"] == "ok"
    assert (Path(mine[0]["path"]) / "model" / kind.kept).is_file()


def test_a_checkpoint_saved_on_the_way_down_does_not_shut_out_the_last_good_one(night: Night):
    (row,) = [row for row in night.snapshots if row["run"] == Swift.run and Swift.kind in row["reason"]]
    metadata = json.loads((Path(row["path"]) / "metadata.json").read_text())
    assert (metadata["checkpoint_step"], metadata["last_good_checkpoint_step"]) == (630, 600)
    assert sorted(path.name for path in (Path(row["path"]) / "model").iterdir()) == ["checkpoint-600", "checkpoint-630"]


def test_statistics_go_forward_although_a_log_and_a_state_are_read_side_by_side(tmp_path: Path):
    trainers = begun(tmp_path / "train", [HuggingFace4, Board])
    for each in trainers:
        each.play(GOOD)
        each.finish()
    done = Daemon(tmp_path / "train", config="[monitor]\nstats_every = 100\n").once()
    assert done.returncode == 0
    for each in trainers:
        steps = [int(step) for step in re.findall(rf"Monitoring: Step (\d+) +run={each.run}\b", done.stderr)]
        assert steps == sorted(set(steps))
        assert [step // 100 for step in steps] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", [HuggingFace4, Lightning, Megatron, Board], ids=lambda kind: kind.__name__)
def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(tmp_path: Path, kind: type[Trainer]):
    """SIGKILL soon after each portion; what ends the last line is written while nobody looks."""
    base, chance = tmp_path / "train", random.Random(7)
    (trainer,) = begun(base, [kind])
    with Receiver() as receiver:
        daemon = Daemon(base, config=notifier(receiver) + configured([kind]))
        try:
            for portion in (*PORTIONS, len(trainer.losses)):
                daemon.start()
                trainer.play(portion)
                time.sleep(chance.uniform(0.0, 0.3))
                daemon.kill()
            trainer.finish()
            daemon.start()
            catch_up(daemon, [trainer])
            until(lambda: receiver.texts and not daemon.rows(UNSENT), patience=60)
            stored = observations(base)[trainer.run]["loss"]
            anomalies = told(daemon)
            replay = daemon.cli("replay", str(trainer.folder), *kind.options)["files"][0]["anomalies"]
        finally:
            daemon.close()
    assert [point[:2] for point in stored] == [point[:2] for point in trainer.points]
    assert len(anomalies) == len(set(anomalies))
    worth = [(each["kind"], each["step"], each["severity"]) for each in replay if each["severity"] != "info"]
    assert [tuple(each[1:]) for each in anomalies] == worth
    assert anomalies[0][1:3] == (kind.kind, trainer.step(kind.at))
    ids = [text.rsplit("id ", 1)[-1].split()[0] for text in receiver.texts]
    assert len({text.splitlines()[0] for text in receiver.texts}) == len(set(ids))
