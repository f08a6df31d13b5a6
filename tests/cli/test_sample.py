"""`smartmon sample`: one prompt, a file, a pipe, a conversation."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from smartmon.cli.talk import Talk
from smartmon.demo import tiny
from smartmon.trainer.sample import Question


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training directory with a model beside it and an adapter."""
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    from tests.trainer.adapters import make_adapter

    folder = tmp_path_factory.mktemp("sample")
    model = tiny.build_model(folder / "model", hidden=64, layers=2)
    make_adapter(folder / "current_model", model, system_prompt="Answer in JSON.")
    return folder


def test_the_answer_alone_is_on_standard_output(base_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "sample", "-C", base_dir, "-p", "What is 1 plus 2?", "--max-tokens", "6")
    assert code == 0
    assert out.strip()
    assert "What is" not in out
    assert [line.partition(":")[0] for line in err.splitlines()] == ["adapter", "base", "(cut after 6 tokens)"]


def test_the_system_prompt_of_the_training_is_asked_with(base_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sample", base_dir / "current_model", "-p", "Hm?", "--max-tokens", "2", "--json"]
    _, trained, _ = run(capsys, *asked)
    _, other, _ = run(capsys, *asked, "--system-prompt", "Be kind.")
    _, none, _ = run(capsys, *asked, "--system-prompt", "")
    systems = [json.loads(out)["answers"][0]["messages"][0]["content"] for out in (trained, other, none)]
    assert systems == ["Answer in JSON.", "Be kind.", "Hm?"]


def test_each_line_of_a_pipe_is_a_prompt(
    base_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 1 plus 2?\n\nPlease send 3 tea.\n"))
    _, out, _ = run(capsys, "sample", "-C", base_dir, "--max-tokens", "3")
    assert [line for line in out.splitlines() if line.startswith("> ")] == [
        "> What is 1 plus 2?",
        "> Please send 3 tea.",
    ]


def test_a_file_is_answered_beside_its_right_answers(
    base_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.write_dataset(tmp_path / "asked.jsonl", 2)
    asked = ["sample", "-C", base_dir, "--file", path, "--compare", "--max-tokens", "3"]
    _, out, _ = run(capsys, *asked)
    heads = [line.partition(":")[0] for line in out.splitlines() if line.startswith(("golden:", "base:", "adapter:"))]
    assert heads == ["golden", "base", "adapter"] * 2
    document = json.loads(run(capsys, *asked, "--json")[1])
    assert {"prompt", "messages", "golden", "base_answer", "answer", "ended", "tokens", "seconds"} <= set(
        document["answers"][0]
    )
    assert document["base_model"] == str(base_dir / "model")


def test_what_cannot_be_asked_is_one_sentence(
    base_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, code, words in [
        (["-C", tmp_path, "-p", "a"], 2, "current_model: it is not there"),
        ([base_dir / "model", "-p", "a", "--compare"], 2, "this is a whole model"),
        ([base_dir, "-p", "a", "--file", "b"], 2, "give one"),
        (["-C", base_dir, "-p", " "], 2, "--prompt is empty"),
        (["-C", base_dir, "--file", tmp_path / "none.txt"], 21, "No such file"),
        (["-C", base_dir, "-p", "word " * 300], 2, "more than the model can read"),
        (["-C", base_dir, "-p", "a", "--base-model", tmp_path / "none"], 2, "there is no model folder"),
    ]:
        found = run(capsys, "sample", *argv)
        assert found[0] == code
        assert words in found[2].splitlines()[-1]
        assert "Traceback" not in found[2]


class Parrot:
    """Says its lines in turn, whatever it is asked; a line of None is Ctrl-C in the middle of an answer."""

    def __init__(self, *lines: str | None, room: int = 100) -> None:
        self.lines, self.room = list(lines), room
        self.heard: list[list[str]] = []

    def fits(self, question: Question, most: int) -> bool:
        return len(question.messages) <= self.room

    def answer(self, question: Question, answer: Any, **_options: Any) -> Iterator[str]:
        self.heard.append([message["content"] for message in question.messages] or [question.text])
        line = self.lines.pop(0)
        answer.text = "half" if line is None else line
        yield answer.text
        if line is None:
            raise KeyboardInterrupt
        answer.ended = "end"


def converse(parrot: Parrot, monkeypatch: pytest.MonkeyPatch, *typed: object, **options: Any) -> None:
    """Hold a conversation with what a person types: lines, Ctrl-C and Ctrl-D as the exceptions that they are."""
    lines = iter(typed)

    def read(_prompt: str) -> str:
        line = next(lines)
        if isinstance(line, type):
            raise line
        return str(line)

    monkeypatch.setattr("builtins.input", read)
    Talk(parrot, lambda _logits: 0, most=10, **options).converse()
    assert next(lines, None) is None, "the conversation ended too early"


def test_a_conversation_remembers_until_it_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    parrot = Parrot("one", "two", "three")
    converse(parrot, monkeypatch, "a", "b", "", "/new", "c", EOFError)
    assert parrot.heard == [["a"], ["a", "one", "b"], ["c"]]


def test_ctrl_c_ends_an_answer_and_what_was_said_of_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    parrot = Parrot(None, "two")
    converse(parrot, monkeypatch, "a", "b", KeyboardInterrupt, "/quit")
    assert parrot.heard == [["a"], ["a", "half", "b"]]


def test_ctrl_c_twice_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    parrot = Parrot("one")
    converse(parrot, monkeypatch, "a", KeyboardInterrupt, KeyboardInterrupt)
    assert parrot.heard == [["a"]]


def test_a_long_conversation_forgets_its_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parrot = Parrot("one", "two", "three", room=3)
    converse(parrot, monkeypatch, "a", "b", "c", EOFError)
    assert parrot.heard[-1] == ["b", "two", "c"]
    assert "forgotten" in capsys.readouterr().err


def test_without_a_template_each_line_is_a_text_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    parrot = Parrot("one", "two")
    converse(parrot, monkeypatch, "a", "b", EOFError, raw=True, system="unused")
    assert parrot.heard == [["a"], ["b"]]


def test_an_answer_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    Talk(Parrot("\x1b[2Jgone\n"), lambda _logits: 0, most=10).ask(Question(text="a"))
    assert "\\x1b[2Jgone\n" in capsys.readouterr().out


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Example: smartmon sample" in run(capsys, "sample", "--help")[1]
