"""Which rows of a data set are asked: a prompt, and the golden answer to it. Standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONG = 2048
"""Tokens of a prompt past which another row is taken, if there is one: its cache would take memory for nothing."""
_TRIES = 8
"""Rows that are tried for each sample that is wanted."""
_NOT_LEARNED = -100
"""The label of a token that is only read."""

Message = dict[str, str]


@dataclass(frozen=True)
class Sample:
    """A question with a known answer."""

    index: int
    """The row of the data set."""
    messages: tuple[Message, ...]
    """The conversation up to the golden answer, by role; empty where only text is known."""
    prompt_ids: tuple[int, ...]
    golden_ids: tuple[int, ...]


def samples_from(dataset: Sequence[Any], tokenizer: Any, number: int = 8) -> list[Sample]:
    """Return up to `number` samples, evenly spread over a data set, the same each time; none where nothing fits.

    A row is a mapping or has attributes. Of `input_ids` and `labels` the last stretch that is learned is the golden
    answer, as everything before it is the conversation that leads there; of `messages`, or `prompt` and `completion`,
    the last thing the assistant says; of a text its second half.
    """
    if isinstance(dataset, Mapping):
        dataset = next(iter(dataset.values()), ())
    try:
        length = len(dataset)
    except TypeError:
        return []  # a stream: what is read from it would be missed by the training
    tries = min(length, number * _TRIES)
    # Every eighth of these first, so that samples are spread over the rows even where each of them fits.
    order = itertools.chain(*(range(first, tries, _TRIES) for first in range(_TRIES)))
    found: list[Sample] = []
    long: list[Sample] = []
    for index in (place * length // tries for place in order):
        sample = _sample(dataset[index], tokenizer, index)
        if sample is not None:
            (found if len(sample.prompt_ids) <= _LONG else long).append(sample)
        if len(found) >= number:
            break
    return found or sorted(long, key=lambda sample: len(sample.prompt_ids))[:number]


def _sample(row: Any, tokenizer: Any, index: int) -> Sample | None:
    messages, text = _conversation(row), _field(row, "text")
    ids, labels = _ids(_field(row, "input_ids")), _ids(_field(row, "labels"))
    if len(ids) > 1 and len(labels) == len(ids):
        return _of_labels(ids, labels, messages, tokenizer, index) or _halved(ids, index)
    try:
        if messages and getattr(tokenizer, "chat_template", None):
            return _of_messages(messages, tokenizer, index)
        if not ids and isinstance(text, str):
            ids = _ids(tokenizer(text)["input_ids"])
        elif not ids and isinstance(_field(row, "prompt"), str) and isinstance(_field(row, "completion"), str):
            return _of_texts(_field(row, "prompt"), _field(row, "completion"), tokenizer, index)
    except Exception:  # noqa: BLE001 - templates raise what they like for a row they refuse
        return None
    return _halved(ids, index)


def _of_labels(
    ids: Sequence[int], labels: Sequence[int], messages: Sequence[Message], tokenizer: Any, index: int
) -> Sample | None:
    # What is learned from the first or second token on, which begins the text, has no question before it.
    spans = [span for span in _spans(labels) if span[0] > 1]
    if not spans:
        return None
    begin, end = spans[-1]
    if len(spans) > 1 and end == len(ids) and end - begin < 2:
        begin, end = spans[-2]  # the row was cut where the last answer had hardly begun
    golden = tuple(ids[begin:end])
    before = _before(messages, str(tokenizer.decode(list(golden), skip_special_tokens=True)).strip())
    return Sample(index, before, tuple(ids[:begin]), golden)


def _spans(labels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where each stretch begins that is learned, and where it ends."""
    places = itertools.groupby(range(len(labels)), key=lambda place: labels[place] != _NOT_LEARNED)
    for learned, group in places:
        if learned:
            stretch = list(group)
            yield stretch[0], stretch[-1] + 1


def _before(messages: Sequence[Message], golden: str) -> tuple[Message, ...]:
    """Return the conversation up to the golden answer, which may be cut; nothing where it is not found in it."""
    for place in range(len(messages) - 1, 0, -1):
        message = messages[place]
        if message["role"] == "assistant" and golden and message["content"].strip().startswith(golden):
            return tuple(messages[:place])
    return ()


def _of_messages(messages: Sequence[Message], tokenizer: Any, index: int) -> Sample | None:
    last = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    if not last:
        return None
    asked = [dict(message) for message in messages[:last]]
    answered = [*asked, dict(messages[last])]
    prompt = _ids(tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=False))
    whole = _ids(tokenizer.apply_chat_template(answered, tokenize=True, return_dict=False))
    # Some templates write a finished answer otherwise than one that is asked for.
    agree = whole[: len(prompt)] == prompt
    golden = whole[len(prompt) :] if agree else _plain_ids(messages[last]["content"], tokenizer)
    return Sample(index, tuple(asked), tuple(prompt), tuple(golden)) if prompt and golden else None


def _of_texts(prompt: str, completion: str, tokenizer: Any, index: int) -> Sample | None:
    asked, golden = _ids(tokenizer(prompt)["input_ids"]), _plain_ids(completion, tokenizer)
    if asked and asked[-1] == tokenizer.eos_token_id:
        asked.pop()
    return Sample(index, (), tuple(asked), tuple(golden)) if asked and golden else None


def _plain_ids(text: str, tokenizer: Any) -> list[int]:
    ids = _ids(tokenizer(text, add_special_tokens=False)["input_ids"])
    end = tokenizer.eos_token_id
    return ids if end is None else [*ids, end]


def _halved(ids: Sequence[int], index: int) -> Sample | None:
    middle = len(ids) // 2
    return Sample(index, (), tuple(ids[:middle]), tuple(ids[middle:])) if middle else None


def _conversation(row: Any) -> list[Message]:
    """Return the messages of a row, also where they lie in `prompt` and `completion`; none that are not plain text."""
    found = _field(row, "messages")
    if found is None and isinstance(_field(row, "prompt"), list) and isinstance(_field(row, "completion"), list):
        found = [*_field(row, "prompt"), *_field(row, "completion")]
    if not isinstance(found, list | tuple):
        return []
    plain = all(
        isinstance(one, Mapping) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in found
    )
    return [{"role": one["role"], "content": one["content"]} for one in found] if plain else []


def _field(row: Any, name: str) -> Any:
    return row.get(name) if isinstance(row, Mapping) else getattr(row, name, None)


def _ids(value: Any) -> list[int]:
    """Return ids as a list, whether they came as a list, a tuple, a tensor or an array; none for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) and all(isinstance(one, int) for one in value) else []
