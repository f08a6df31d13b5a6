"""Asking a model: the answer, with and without the adapter, and what can be wrong with a question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmon.errors import DataError, TrainingError, UsageError
from smartmon.trainer.finding import find
from smartmon.trainer.sample import Answer, Question, Speaker, chooser, load, questions
from tests.trainer.adapters import make_adapter

ASKED = Question(messages=({"role": "user", "content": "What is 1 plus 2?"},))


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(folder, tiny_model, system_prompt="Answer in JSON.")
    return folder


@pytest.fixture(scope="module")
def speaker(adapter: Path) -> Speaker:
    return load(find(adapter))


def said(speaker: Speaker, question: Question = ASKED, most: int = 12, **options: Any) -> Answer:
    answer = Answer()
    options.setdefault("choose", chooser(0, 0))
    pieces = list(speaker.answer(question, answer, most=most, **options))
    assert "".join(pieces) == answer.text
    return answer


def test_the_adapter_makes_the_difference(speaker: Speaker) -> None:
    first, base, again = said(speaker), said(speaker, adapter=False), said(speaker)
    assert first.text != base.text
    assert first.text == again.text
    assert (first.tokens, first.ended) == (12, "length")


def test_a_whole_model_speaks_as_the_adapter_without_itself(speaker: Speaker, tiny_model: Path) -> None:
    whole = load(find(tiny_model), quantize=True)
    assert said(whole).text == said(speaker, adapter=False).text


def test_the_base_is_in_four_bits_as_it_was_trained_unless_asked_otherwise(adapter: Path, speaker: Speaker) -> None:
    assert any("4 bits" in line for line in speaker.about)
    assert any("not quantised" in line for line in load(find(adapter), quantize=False).about)


def test_chance_repeats_itself_for_one_seed(speaker: Speaker) -> None:
    first, again, other = (said(speaker, choose=chooser(1.0, seed)).text for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_special_tokens_are_not_shown(speaker: Speaker) -> None:
    answer = said(speaker, most=3, choose=lambda _logits: 2)
    assert (answer.text, answer.tokens, answer.ended) == ("", 1, "end")


def test_the_prompt_is_written_as_trainings_write_it(speaker: Speaker) -> None:
    text = speaker._tokenizer.decode(speaker.ids(ASKED))
    assert text == "<|im_start|>user\nWhat is 1 plus 2?<|im_end|>\n<|im_start|>assistant\n"
    assert speaker._tokenizer.decode(speaker.ids(Question(text="One"))) == "One"


@pytest.mark.parametrize(
    ("text", "words"), [("", "the prompt is empty"), ("word " * 300, "more than the model can read")]
)
def test_a_prompt_that_cannot_be_answered_is_refused(speaker: Speaker, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        said(speaker, Question(text=text))


def test_a_long_prompt_gets_what_room_is_left(speaker: Speaker) -> None:
    ids = speaker.ids(Question(text="the quick brown fox " * 100))[:250]
    question = Question(text=speaker._tokenizer.decode(ids))
    answer = said(speaker, question, most=100)
    assert answer.tokens == 256 - len(speaker.ids(question))
    assert not speaker.fits(question, 100)


def test_weights_that_are_no_numbers_are_said_to_be(speaker: Speaker) -> None:
    import torch

    with pytest.raises(TrainingError, match="its weights are broken"):
        said(speaker, choose=lambda _logits: chooser(0, 0)(torch.tensor([float("nan")])))


def test_out_of_memory_says_what_to_do(speaker: Speaker) -> None:
    import torch

    def full(_logits: Any) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="no room for this model"):
        said(speaker, choose=full)


def test_a_file_of_rows_keeps_the_right_answers(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    talk = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": talk}, {"messages": talk[:1]}, {"prompt": "c?"}, {"prompt": "d ", "completion": "e"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = questions(path)
    assert [(one.asked, one.golden) for one in found] == [("a?", "b"), ("a?", ""), ("c?", ""), ("d ", "e")]
    assert [bool(one.messages) for one in found] == [True, True, True, False]


def test_a_text_is_one_question(tmp_path: Path) -> None:
    (tmp_path / "asked.txt").write_text("What\nis this?\n")
    (one,) = questions(tmp_path / "asked.txt")
    assert one.messages == ({"role": "user", "content": "What\nis this?"},)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b'{"prompt": "a"}\n{"no": 1}', "line 2"), (b"[", "line 1 is no JSON"), (b"\xff", "not text")],
)
def test_a_file_that_asks_nothing_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        questions(path)
    with pytest.raises(DataError, match="No such file"):
        questions(tmp_path / "nowhere")
