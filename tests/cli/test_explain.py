"""`smartmon doctor --explain`: how the log of every trainer is read, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from tests.cli.test_replay_formats import played
from tests.e2e.trainer import Trainer
from tests.e2e.trainers import TRAINERS, DeepSpeed, HuggingFace4, Mapped, Megatron, Torchtune, Verl

each_trainer = pytest.mark.parametrize("kind", TRAINERS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def words(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--explain", *map(str, argv)])
    out, err = capsys.readouterr()
    assert (caught.value.code or 0, err) == (code, "")
    return out


def files(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> list[dict[str, Any]]:
    document = json.loads(words(capsys, *argv, "--json", code=code))
    assert document["path"] == str(argv[0])
    return document["files"]


def points_in_log(trainer: Trainer) -> list[int]:
    """The steps that the log which a replay reads has."""
    points = trainer.points[trainer.died if isinstance(trainer, Torchtune) else 0 :]
    return [step for _, step, _ in points]


@each_trainer
def test_the_log_of_a_trainer_is_named_with_its_metrics(
    kind: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trainer = played(kind, tmp_path / "train")
    (file,) = files(capsys, trainer.path, *kind.options)
    assert file["format"] == kind.form
    assert kind.dialect in (file["dialect"] or "")
    assert file["why"]
    steps = points_in_log(trainer)
    assert file["steps"] == [steps[0], steps[-1]]
    values = {metric["name"]: metric["values"] for metric in file["metrics"]}
    # DeepSpeed has its learning rate in a file beside it.
    assert kind.names - values.keys() <= ({"learning_rate"} if kind is DeepSpeed else set())
    assert values[kind.main] == len(steps)


@each_trainer
def test_the_words_fit_eighty_columns_and_say_the_same(
    kind: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    trainer = played(kind, tmp_path / "train")
    monkeypatch.chdir(trainer.folder)
    text = words(capsys, kind.log, *kind.options)
    assert text.startswith(f"{kind.log}\n  read as   {kind.form}")
    assert max(map(len, text.splitlines()[1:])) < 80
    assert all(f"\n  {name} " in text for name in kind.names if kind is not DeepSpeed)


def test_what_a_metric_was_written_as_stands_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = words(capsys, played(Megatron, tmp_path / "train").path)
    assert "  loss                                    64         NaN  lm loss\n" in text
    assert "  consumed samples                        64      40,960\n" in text


def test_what_was_left_out_is_counted_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (file,) = files(capsys, played(HuggingFace4, tmp_path / "train").path)
    left = {each["what"]: each["example"] for each in file["ignored"]}
    assert left["lines without metrics"] == "***** Running training *****"
    assert left["drawings of progress bars"].endswith("[00:00<?, ?it/s]")
    text = words(capsys, tmp_path / "gone.txt", code=4)
    assert "not read  it is not there" in text


def test_objects_that_were_taken_apart_were_not_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (file,) = files(capsys, played(Verl, tmp_path / "train").path)
    assert file["ignored"] == []
    assert file["keys"]["actor/grad_norm"] == "grad_norm"


def test_a_text_among_the_numbers_is_told_without_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = words(capsys, played(Mapped, tmp_path / "train").path, *Mapped.options)
    assert "  left out  note: no number, such as: 'x'\n" in text


def test_a_run_is_explained_log_by_log_and_who_gives_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer = played(HuggingFace4, tmp_path / "train")
    told = files(capsys, trainer.folder)
    assert [(each["format"], each["rank"]) for each in told] == [("text", "text"), ("trainer_state", "state")]
    assert words(capsys, trainer.folder).endswith(
        "\n\nWhere several logs of one run have a metric, the first of them gives it.\n"
    )


def test_an_older_log_beside_the_one_that_is_read_is_not_passed_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trainer = played(Torchtune, tmp_path / "train")
    newer, older = files(capsys, trainer.folder)
    assert (Path(newer["path"]).name, newer["format"]) == ("log_1795247000.txt", "text")
    assert (Path(older["path"]).name, older["format"]) == ("log_1795246000.txt", None)
    assert older["why"] == "log_1795247000.txt beside it is newer: each start begins a log"


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        ("", [], "it is empty"),
        ("hello\n" * 5, [], "For the lines of any other: smartmon replay --pattern"),
        ('{"a": 1}\n{"a": 2}\n', [], "Say what its keys mean: smartmon replay --key"),
    ],
)
def test_a_file_that_nothing_reads_is_said_to_be_so_with_the_next_thing_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, options: list[str], why: str
):
    path = tmp_path / "thing"
    path.write_text(content)
    (file,) = files(capsys, path, *options, code=4)
    assert why in file["why"]
    assert "not read" in words(capsys, path, code=4)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ('{"n": 1, "ce": 2.5}\n{"n": 2, "ce": 2.25}\n', "jsonl"),
        ("n,ce\n1,2.5\n2,2.25\n", "csv"),
    ],
)
def test_a_file_becomes_a_log_by_what_its_keys_are_said_to_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, form: str
):
    path = tmp_path / "thing"
    path.write_text(content)
    (file,) = files(capsys, path, "--key", "n=step", "--key", "ce=loss")
    assert (file["format"], file["steps"]) == (form, [1, 2])
    assert {"name": "loss", "values": 2, "latest": 2.25} in file["metrics"]
