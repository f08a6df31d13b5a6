"""`smartmon train`: its words, its settings file, its exit codes."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from smartmon.cli.train import TEST, train
from smartmon.cli.train_settings import settings_of
from smartmon.errors import ConfigError, UsageError
from smartmon.trainer import lock
from smartmon.trainer.settings import TrainSettings

NEEDED: dict[str, Any] = {"dataset": "data.jsonl", "model": "model"}


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    from smartmon.demo import tiny

    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_dataset(folder / "inbox" / "data.jsonl", 60)
    return tiny.build_model(folder / "model", hidden=64, layers=2)


def test_every_setting_is_an_option() -> None:
    options = inspect.signature(train).parameters
    assert set(TrainSettings.model_fields) <= set(options)
    assert set(options) - set(TrainSettings.model_fields) == {"config", "test", "plan", "as_json"}


def test_help_shows_the_defaults_that_hold() -> None:
    default = TrainSettings.model_validate(NEEDED).model_dump(mode="json")
    for name, parameter in inspect.signature(train, eval_str=True).parameters.items():
        shown = parameter.annotation.__metadata__[0].show_default
        held = default.get(name)
        if isinstance(held, (int, float)) and not isinstance(held, bool):
            assert float(shown) == held, name
        elif isinstance(held, str) and name in ("resume", "lr_scheduler", "optimizer", "packing", "detail_limit"):
            assert shown == held, name


def test_the_command_line_beats_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('dataset = "rows.jsonl"\nmodel = "owner/name"\nlora_r = 4\nepochs = 3\ndetail_limit = "2m"\n')
    settings = settings_of({"epochs": 2.0, "target_modules": ["q_proj,v_proj", "o_proj"]}, path)
    assert (settings.epochs, settings.lora_r, settings.lora_alpha) == (2.0, 4, 32)
    assert settings.detail_limit == 120
    assert settings.dataset == tmp_path / "rows.jsonl"
    assert settings.model == "owner/name"
    assert settings.target_modules == ("q_proj", "v_proj", "o_proj")


def test_a_test_run_is_short_unless_the_command_line_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("[train]\nmax_steps = 1000\nlogging_steps = 50\n")
    settings = settings_of(NEEDED | {"logging_steps": 2}, path, below=TEST)
    assert (settings.max_steps, settings.logging_steps, settings.detail_steps) == (5, 2, 2)


def test_every_problem_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('dataset = "rows.jsonl"\nlearnin_rate = 1\nbatch_size = 0\n')
    with pytest.raises(ConfigError) as told:
        settings_of({"model": "model", "eval_fraction": 2.0}, path)
    assert str(told.value).splitlines() == [
        f"{path} has 3 problems",
        "",
        "           --eval-fraction  must be less than 1 (got 2)",
        '  line 2:  learnin_rate     unknown key; did you mean "learning_rate"?',
        "  line 3:  batch_size       must be at least 1 (got 0)",
    ]


def test_what_is_missing_is_named_as_the_option_that_gives_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "train")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "smartmon: the command line has 2 problems",
        "",
        "    --dataset  is missing",
        "    --model    is missing",
    ]


def test_a_settings_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        settings_of(NEEDED, tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="is not TOML"):
        settings_of(NEEDED, tmp_path / "bad.toml")


def test_without_the_packages_that_train_it_says_how_to_install_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("transformers", "torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text('{"text": "a"}\n')
    code, _out, err = run(capsys, "train", "--dataset", "data.jsonl", "--model", "model")
    assert code == 2
    assert "pip install 'smartmon[train]'" in err


def test_the_words_that_people_know_work_as_they_stand(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").symlink_to(model.parent / "inbox")
    (tmp_path / "model").symlink_to(model)
    words = "train --dataset inbox/data.jsonl --model model --output-dir adapters/test --epochs 1 --use-qlora --json"
    code, out, err = run(capsys, *words.split())
    outcome = json.loads(out)
    assert code == 0
    assert (outcome["state"], outcome["step"]) == ("completed", outcome["total_steps"])
    assert outcome["adapter"] == str(tmp_path / "adapters/test/adapter_model.safetensors")
    assert "completed at step" in err
    assert (tmp_path / "status" / "training_status.json").exists()


def test_a_test_run_trains_five_steps_beside_the_real_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = model.parent / "inbox" / "data.jsonl"
    code, out, _err = run(capsys, "train", "--dataset", dataset, "--model", model, "--base-dir", tmp_path, "--test")
    assert code == 0
    assert "completed at step 5 of 5" in out
    assert (tmp_path / "test_model" / "checkpoint-5").is_dir()
    assert not (tmp_path / "current_model").exists()
    assert len((tmp_path / "logs" / "training_detail.jsonl").read_text().splitlines()) >= 1
    if importlib.util.find_spec("matplotlib") is None:
        assert "pip install 'smartmon[plots]'" in out
    else:
        drawn = {path.name for path in (tmp_path / "training_viz").glob("*.png")}
        assert drawn == {"training_step_000002.png", "training_step_000004.png", "training_latest.png"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--dataset", "absent.jsonl"), 21, "absent.jsonl"),
        (("--model", "absent"), 2, "absent"),
        (("--resume", "checkpoint-7"), 22, "checkpoint-7"),
        (("--lora-r", "0"), 2, "--lora-r  must be at least 1"),
        (("--packing", "perhaps"), 2, "perhaps"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, words: tuple[str, str], code: int, told: str
) -> None:
    dataset = model.parent / "inbox" / "data.jsonl"
    given = {"--dataset": dataset, "--model": model, "--base-dir": tmp_path} | dict([words])
    found, _out, err = run(capsys, "train", *(part for pair in given.items() for part in pair))
    assert found == code
    assert told in err
    assert "Traceback" not in err


def test_a_second_training_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = model.parent / "inbox" / "data.jsonl"
    with lock.held([tmp_path]):
        code, _out, err = run(capsys, "train", "--dataset", dataset, "--model", model, "--base-dir", tmp_path)
    assert code == 5
    assert "another training (pid" in err
