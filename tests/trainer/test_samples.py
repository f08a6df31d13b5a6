"""Which rows are asked, and what is the golden answer to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmon.demo import tiny
from smartmon.trainer.decoding import TextStream, pieces
from smartmon.trainer.samples import samples_from

TALK = [
    {"role": "user", "content": "What is 1 plus 2?"},
    {"role": "assistant", "content": '{"sum": 3}'},
    {"role": "user", "content": "Name the capital of Peru."},
    {"role": "assistant", "content": '{"capital": "Lima"}'},
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def labelled(tokenizer: Any, messages: list[dict[str, str]]) -> dict[str, Any]:
    """Return a row as trainers make it: only what the assistant says is learned."""
    told = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    labels = [token if said else -100 for token, said in zip(told["input_ids"], told["assistant_masks"])]
    return {"input_ids": told["input_ids"], "labels": labels}


def test_the_golden_answer_is_the_last_that_is_learned(tokenizer: Any) -> None:
    (sample,) = samples_from([labelled(tokenizer, TALK) | {"messages": TALK}], tokenizer)
    assert tokenizer.decode(sample.golden_ids) == '{"capital": "Lima"}<|im_end|>'
    assert tokenizer.decode(sample.prompt_ids).endswith("<|im_start|>assistant\n")
    assert list(sample.messages) == TALK[:3]


def test_tensors_and_rows_without_messages_will_do(tokenizer: Any) -> None:
    import torch

    row = {name: torch.tensor(ids) for name, ids in labelled(tokenizer, TALK).items()}
    (sample,) = samples_from([row], tokenizer)
    assert sample.messages == ()
    assert tokenizer.decode(sample.golden_ids) == '{"capital": "Lima"}<|im_end|>'


def test_of_messages_alone_the_template_makes_the_same(tokenizer: Any) -> None:
    (labels,) = samples_from([labelled(tokenizer, TALK)], tokenizer)
    (plain,) = samples_from([{"messages": TALK}], tokenizer)
    assert (plain.prompt_ids, plain.golden_ids) == (labels.prompt_ids, labels.golden_ids)
    assert list(plain.messages) == TALK[:3]


def test_prompt_and_completion_are_a_question_and_an_answer(tokenizer: Any) -> None:
    texts = {"prompt": "One plus two is ", "completion": "three"}
    talk = {"prompt": TALK[:1], "completion": TALK[1:2]}
    first, second = samples_from([texts, talk], tokenizer)
    assert tokenizer.decode(first.golden_ids) == "three<|im_end|>"
    assert list(second.messages) == TALK[:1]


@pytest.mark.parametrize("learned", [True, False])
def test_of_a_text_the_second_half_is_asked(tokenizer: Any, learned: bool) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    ids = tokenizer(text)["input_ids"]
    row = {"input_ids": ids, "labels": ids} if learned else {"text": text}
    (sample,) = samples_from([row], tokenizer)
    assert [*sample.prompt_ids, *sample.golden_ids] == ids
    assert len(sample.prompt_ids) == len(ids) // 2


@pytest.mark.parametrize(
    "dataset",
    [
        [],
        iter([{"text": "a stream"}]),
        {},
        [{"pixels": [1, 2]}],
        [{"text": ""}],
        [{"messages": [{"role": "user", "content": "no answer"}]}],
        [{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}],
        [{"messages": "not a list"}],
    ],
)
def test_where_nothing_fits_there_are_no_samples(tokenizer: Any, dataset: Any) -> None:
    assert samples_from(dataset, tokenizer) == []


def test_samples_are_spread_over_the_rows_the_same_each_time(tokenizer: Any) -> None:
    rows = list(tiny.conversations(400))
    found = samples_from(rows, tokenizer, 8)
    assert [sample.index for sample in found] == [0, 50, 100, 150, 200, 250, 300, 350]
    assert found == samples_from({"first": rows, "second": []}, tokenizer, 8)


def test_rows_that_do_not_fit_are_passed_over(tokenizer: Any) -> None:
    rows = [{"text": ""}, *tiny.conversations(3)]
    assert sorted(sample.index for sample in samples_from(rows, tokenizer, 3)) == [1, 2, 3]


def test_pieces_are_the_whole_text_and_never_half_a_character(tokenizer: Any) -> None:
    text = 'żółć 😀 {"sum": 3}'
    found = pieces(tokenizer, tokenizer(text)["input_ids"])
    assert "".join(found) == text
    assert "😀" in "".join(found[:-4])
    assert not any("\ufffd" in piece for piece in found)


def test_a_stream_that_ends_within_a_character_says_so(tokenizer: Any) -> None:
    first = tokenizer("😀")["input_ids"][:2]
    stream = TextStream(tokenizer)
    assert [stream.push(token) for token in first] == ["", ""]
    assert "\ufffd" in stream.flush()
