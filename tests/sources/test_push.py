"""What Hugging Face's Trainer pushes, as a source: steps move the run on, values count once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartmon.records import RunState, SourceRank
from smartmon.sources import FoundRun, SourceSpec
from smartmon.sources.push import path_of, place_of, recognises, spec_for, with_pushes
from tests.sources.conftest import NOW, Reader


def write(path: Path, at: float = NOW, remaining: int | None = 42, **metrics: object) -> Path:
    """What the receiver stores of a post with these metrics; the callback turns each into text."""
    percent = 11 if "current_step" in metrics else 0 if not metrics else 100
    status: dict[str, Any] = {"lastUpdatedTime": "2033-05-18T03:33:20+00:00", "progressPercentage": percent}
    if remaining is not None:
        status["estimatedRemainingSeconds"] = remaining
    if metrics:
        status["metrics"] = [{"name": name, "value": str(value)} for name, value in metrics.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": path.stem, "received_at": at, "trainerStatus": status}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_of(tmp_path, "exp")


@pytest.fixture
def push(path: Path) -> Reader:
    return Reader(SourceSpec("push", "push", path, SourceRank.TEXT))


def test_a_post_is_understood(path: Path, push: Reader):
    write(path, NOW - 1, loss="2.346", grad_norm=1.2, learning_rate=1e-4, current_step=11, total_steps=100,
          current_epoch=0.1)  # fmt: skip
    (row,) = push.read()
    assert (row.step, row.at, row.timed, row.rank) == (11, NOW - 1, True, SourceRank.TEXT)
    assert dict(row.values) == {
        **{"loss": 2.346, "grad_norm": 1.2, "learning_rate": 1e-4, "total_steps": 100.0, "epoch": 0.1},
        "eta_seconds": 42.0,
    }
    assert push.status is not None
    told = push.status
    assert (told.state, told.step, told.total_steps, told.epoch) == (RunState.RUNNING, 11, 100, 0.1)


@pytest.mark.parametrize(("text", "value"), [("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf)])
def test_what_is_not_finite_is_a_value_and_survives_the_cursor(path: Path, push: Reader, text: str, value: float):
    write(path, loss=text, current_step=11)
    (row,) = push.read()
    assert row.values["loss"] == value or (math.isnan(row.values["loss"]) and math.isnan(value))
    write(path, loss=text, current_step=12)
    push.restart()
    (row,) = push.read()
    assert "loss" not in row.values


def test_a_value_counts_once_and_the_step_every_time(path: Path, push: Reader):
    """At step 13 the trainer still repeats what it logged at step 10."""
    told = []
    for step, loss in ((10, 2.0), (11, 2.0), (13, 2.0), (20, 1.5), (21, 1.5)):
        write(path, loss=loss, current_step=step)
        told += [(row.step, row.values.get("loss")) for row in push.read()]
        push.restart()
    assert told == [(10, 2.0), (11, None), (13, None), (20, 1.5), (21, None)]


def test_a_loss_that_stays_nan_counts_in_every_log_row(path: Path, push: Reader):
    """The epoch is that of the log row, the current epoch that of the step."""
    told = []
    for step, epoch in ((10, 0.1), (11, 0.1), (13, 0.1), (20, 0.2), (21, 0.2), (30, 0.3)):
        write(path, loss="nan", eval_loss="nan", epoch=epoch, current_step=step, current_epoch=step / 100)
        told += [(row.step, sorted(name for name in row.values if "loss" in name)) for row in push.read()]
        push.restart()
    both, train = ["eval_loss", "loss"], ["loss"]
    assert told == [(10, both), (11, []), (13, []), (20, train), (21, []), (30, train)]


def test_after_a_new_start_the_same_values_are_news(path: Path, push: Reader):
    write(path, loss=2.0, learning_rate=1e-4, current_step=50)
    push.read()
    write(path, loss=2.0, learning_rate=1e-4, current_step=3)
    (row,) = push.read()
    assert (row.step, row.values["loss"]) == (3, 2.0)


def test_the_first_post_tells_the_total_and_no_step(path: Path, push: Reader):
    write(path, remaining=None, total_steps=500)
    assert push.read() == []
    assert push.status is not None
    assert push.status.total_steps == 500
    write(path, current_step=1)
    assert [row.step for row in push.read()] == [1]


def test_the_last_post_belongs_to_the_last_step_and_its_means_are_no_points(path: Path, push: Reader):
    write(path, loss=2.0, current_step=98, total_steps=100)
    push.read()
    write(path, remaining=0, loss=1.9, eval_loss=2.2, train_loss=2.7, train_runtime=60.5, total_flos=1e15)
    (row,) = push.read()
    assert (row.step, dict(row.values)) == (98, {"loss": 1.9, "eval_loss": 2.2, "eta_seconds": 0.0})
    assert push.status is not None
    assert push.status.state is RunState.COMPLETED


def test_it_says_nothing_of_the_state_where_a_status_file_does(path: Path):
    push = Reader(SourceSpec("push", "push", write(path, current_step=5), SourceRank.TEXT, options={"state": False}))
    push.read()
    assert push.status is not None
    assert push.status.state is None


def test_the_same_post_is_read_once_even_after_a_restart(path: Path, push: Reader):
    write(path, loss=2.0, current_step=98)
    assert len(push.read()) == 1
    push.restart()
    assert push.read() == []
    assert push.source.stamp() == push.source.stamp()


@pytest.mark.parametrize(
    "status",
    [
        None, [], "x", {"metrics": {}}, {"metrics": [1, None, {}, {"name": 5, "value": "1"}, {"name": "loss"}]},
        {"metrics": [{"name": "loss", "value": "n/a"}, {"name": "current_step", "value": "-3"}]},
        {"metrics": [{"name": "current_step", "value": "1e300"}], "estimatedRemainingSeconds": "soon"},
        {"metrics": [{"name": "accuracy_percent", "value": "50"}, {"name": "eval_accuracy", "value": "0.5"}]},
    ],
)  # fmt: skip
def test_nonsense_is_left_out(path: Path, push: Reader, status: object):
    write(path)
    path.write_text(json.dumps({"run": "exp", "received_at": "?", "trainerStatus": status}))
    assert push.read() == []
    assert push.notes == []


def test_both_accuracies_of_one_post_keep_their_units(path: Path, push: Reader):
    write(path, accuracy_percent=50, eval_accuracy=0.5, current_step=1)
    push.read()
    write(path, accuracy_percent=50, eval_accuracy=0.6, current_step=2)
    (row,) = push.read()
    assert (row.percent, dict(row.values)) == (False, {"eval_accuracy": 0.6})


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"{" * 5000])
def test_an_unreadable_file_is_told_once(path: Path, push: Reader, content: bytes):
    write(path)
    path.write_bytes(content)
    for seconds in (0, 3, 6, 9, 60):
        assert push.read(NOW + seconds) == []
    (note,) = push.notes
    assert note.kind == "status_unreadable"
    write(path, current_step=5)
    assert len(push.read(NOW + 90)) == 1


def test_a_missing_file_is_waited_for(push: Reader):
    assert push.read() == []
    assert push.notes == []


def test_it_says_what_it_read(path: Path, push: Reader):
    write(path, loss=2.0, mystery=1, note="text", current_step=98)
    push.read()
    account = push.source.account  # type: ignore[attr-defined]
    assert (account.dialect, account.rows) == ("Hugging Face push", 1)
    assert account.metrics == {
        "loss": "loss",
        "mystery": "mystery",
        "current_step": "step",
        "eta_seconds": "eta_seconds",
    }
    assert account.ignored == {"metrics that are no numbers": (1, "note = text")}


def test_its_files_are_known_by_what_they_hold(path: Path):
    assert "trainerStatus" in recognises(write(path, loss=1).read_bytes(), path)
    assert recognises(b'{"status": "training", "current_step": 5}', path) == ""
    assert recognises(b"{", path) == ""


@pytest.mark.parametrize("name", ["exp", "a/b c", "..", "ü/\x00x", "x" * 5000, "%2e%2e/etc", "a\nb"])
def test_every_name_of_a_run_has_a_file_of_its_own_in_the_folder(tmp_path: Path, name: str):
    path = path_of(tmp_path, name)
    assert path.parent == tmp_path / "push"
    assert len(path.name) < 255
    write(path)
    spec = spec_for(tmp_path, name)
    assert spec is not None
    assert spec.path == path
    assert spec_for(tmp_path, name + "2") is None


class TestRuns:
    """A run that was pushed is one, even where nothing else tells of it yet."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        (tmp_path / "train" / "new").mkdir(parents=True)
        return tmp_path / "train"

    @pytest.fixture
    def store(self, tmp_path: Path) -> Callable[[str], None]:
        def put(name: str) -> None:
            write(path_of(tmp_path, name))
            path = path_of(tmp_path, name)
            path.write_text(json.dumps({**json.loads(path.read_text()), "run": name}))

        return put

    def test_a_known_run_gets_the_source(self, tmp_path: Path, base: Path, store: Callable[[str], None]):
        run = FoundRun("old", base / "old", base, ())
        assert with_pushes([run], tmp_path, [base]) == [run]
        store("old")
        ((spec,),) = [one.sources for one in with_pushes([run], tmp_path, [base])]
        assert (spec.format, spec.rank, dict(spec.options)) == ("push", SourceRank.TEXT, {})

    def test_a_status_file_goes_before(self, tmp_path: Path, base: Path, store: Callable[[str], None]):
        status = SourceSpec("status/training_status.json", "status", base / "s.json")
        store("old")
        (run,) = with_pushes([FoundRun("old", base / "old", base, (status,))], tmp_path, [base])
        assert [dict(spec.options) for spec in run.sources] == [{}, {"state": False}]

    @pytest.mark.parametrize(("name", "folder"), [("train", "."), ("new", "new")])
    def test_a_folder_without_anything_in_it_becomes_a_run(
        self, tmp_path: Path, base: Path, store: Callable[[str], None], name: str, folder: str
    ):
        store(name)
        (run,) = with_pushes([], tmp_path, [base])
        assert (run.name, run.path, run.base_dir) == (name, base / folder, base)

    @pytest.mark.parametrize("name", ["gone", "../train", "new/../new", ".smartmon", "", "/etc", "new/"])
    def test_nothing_outside_of_the_base_dir_does(
        self, tmp_path: Path, base: Path, store: Callable[[str], None], name: str
    ):
        (base / ".smartmon").mkdir()
        assert place_of(name, [base]) is None
        store(name)
        assert with_pushes([], tmp_path, [base]) == []

    def test_a_link_is_not_followed_out_of_the_base_dir(self, tmp_path: Path, base: Path):
        (tmp_path / "other").mkdir()
        (base / "link").symlink_to(tmp_path / "other")
        assert place_of("link", [base]) is None

    def test_a_torn_file_hides_no_other_run(self, tmp_path: Path, base: Path, store: Callable[[str], None]):
        store("new")
        (tmp_path / "push" / "a.json").write_text("{")
        assert [run.name for run in with_pushes([], tmp_path, [base])] == ["new"]
