"""Asks a trained model: loads an adapter on its base, or a whole model, and yields the answer as it comes."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon.errors import DataError, TrainingError, UsageError
from smartmon.text import clean
from smartmon.trainer import decoding
from smartmon.trainer.finding import Found
from smartmon.trainer.settings import TrainSettings
from smartmon.trainer.spellings import BadRow, example, shown

Message = dict[str, str]


@dataclass(frozen=True)
class Question:
    """A conversation that waits for an answer, or the beginning of a text."""

    messages: tuple[Message, ...] = ()
    text: str = ""
    golden: str = ""
    """The right answer, where it is known."""

    @property
    def asked(self) -> str:
        """What a person sees of it."""
        return self.messages[-1]["content"] if self.messages else self.text


@dataclass
class Answer:
    """An answer as far as it has come."""

    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    ended: str = "stopped"
    """`end` as the model wanted, `length`, or `stopped` by the person."""


class Speaker:
    """A model that answers."""

    def __init__(self, model: Any, tokenizer: Any, about: Sequence[str], *, adapter: bool) -> None:
        self.about = tuple(about)
        """Sentences about what was loaded."""
        self._model, self._tokenizer, self._adapter = model, tokenizer, adapter
        self._stops = decoding.stop_ids(model, tokenizer)

    @property
    def chats(self) -> bool:
        """Whether there is a chat template."""
        return bool(self._tokenizer.chat_template)

    def ids(self, question: Question) -> list[int]:
        """Return the prompt in tokens, as trainings write it. Raises UsageError for what the template refuses."""
        if not question.messages:
            return list(self._tokenizer(question.text)["input_ids"])
        from smartmon.trainer.chat import Chat

        try:
            text = Chat(self._tokenizer).render(question.messages, prompt=True)
        except BadRow as error:
            raise UsageError(f"the conversation {error}") from None
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def fits(self, question: Question, most: int) -> bool:
        """Return whether an answer of `most` tokens fits behind the question."""
        return decoding.room(self._model, len(self.ids(question))) >= most

    def answer(
        self, question: Question, answer: Answer, *, most: int, choose: Callable[[Any], int], adapter: bool = True
    ) -> Generator[str, None, None]:
        """Yield the answer piece by piece, and keep account of it in `answer`.

        Without `adapter` the base alone speaks. Raises UsageError for a question that fills the model's context,
        TrainingError when memory is out or the weights are NaN.
        """
        ids = self.ids(question)
        if not ids or not decoding.room(self._model, len(ids)):
            length = "is empty" if not ids else f"has {len(ids):,} tokens, more than the model can read"
            raise UsageError(f"cannot answer: the prompt {length}")
        stream, begun = decoding.TextStream(self._tokenizer, special=False), time.monotonic()
        alone = self._model.disable_adapter() if self._adapter and not adapter else contextlib.nullcontext()
        with alone, _explained():
            token = None
            for token in decoding.tokens(self._model, ids, most=most, stops=self._stops, choose=choose):
                answer.tokens += 1
                answer.seconds = time.monotonic() - begun
                if token not in self._stops and (piece := stream.push(token)):
                    answer.text += piece
                    yield piece
            answer.ended = "end" if token in self._stops else "length"
            if piece := stream.flush():
                answer.text += piece
                yield piece


def load(found: Found, *, quantize: bool | None = None, threads: int | None = None) -> Speaker:
    """Load what was found, in 4 bits if `quantize`; by default as it was trained, and a whole model as it is.

    Raises UsageError for what cannot be used, TrainingError for what is damaged or too large.
    """
    from smartmon.trainer import model as models

    model = found.base if found.adapter else str(found.folder)
    bits = quantize if quantize is not None else found.adapter and found.quantized is not False
    # Nothing is trained: of the settings only those count that say how a model is loaded.
    settings = TrainSettings(dataset=Path(os.devnull), model=model, quantize=bits, max_length=1 << 24, threads=threads)
    with _explained():
        loaded = models.load(settings, adapter=found.folder if found.adapter else None, training=False)
    tokenizer = loaded.tokenizer
    if found.adapter and (found.folder / "tokenizer_config.json").is_file():
        # The training may have given it a chat template.
        tokenizer = models.load_tokenizer(settings.model_copy(update={"model": str(found.folder)}))
    return Speaker(loaded.model, tokenizer, loaded.decisions, adapter=found.adapter)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn running out of memory, and numbers that are none, into sentences."""
    try:
        yield
    except FloatingPointError as error:
        raise TrainingError(f"{error}: its weights are broken; take an earlier checkpoint, or a snapshot") from None
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise TrainingError(
            "the GPU has no room for this model beside what runs on it; wait for that, leave the model in 4 bits, or "
            "ask on the CPU: CUDA_VISIBLE_DEVICES= smartmon sample ..."
        ) from None


def chooser(temperature: float, seed: int) -> Callable[[Any], int]:
    """Return what picks the next token: the likeliest at temperature 0, else by chance, the same for one seed."""
    if not temperature:
        return decoding.greedy
    import torch

    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Any) -> int:
        decoding.greedy(logits)  # raises for NaN
        # On the CPU, whose random numbers are the same everywhere.
        chances = torch.softmax(logits.float().cpu() / temperature, -1)
        return int(torch.multinomial(chances, 1, generator=generator))

    return choose


def questions(path: Path) -> list[Question]:
    """Return what a file asks: each row of JSON Lines, whose right answers are kept, or the whole of a text.

    Raises DataError for a file that cannot be read or a row that asks nothing.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DataError(f"cannot read the prompts in {clean(path)}: {why}") from None
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        if not content.strip():
            raise DataError(f"cannot read the prompts in {clean(path)}: it is empty")
        return [Question(messages=({"role": "user", "content": content.strip()},))]
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                found.append(_question(json.loads(line)))
            except (ValueError, RecursionError) as error:
                why = str(error) if isinstance(error, BadRow) else "is no JSON"
                raise DataError(f"{clean(path)}: line {number} {clean(why)}") from None
    if not found:
        raise DataError(f"cannot read the prompts in {clean(path)}: it is empty")
    return found


def _question(row: Any) -> Question:
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and "completion" not in row:
        return Question(messages=({"role": "user", "content": row["prompt"]},))
    told = example(row)
    if not told.messages:
        return Question(text=told.prompt or told.completion, golden=told.completion if told.prompt else "")
    messages, golden = shown(told.messages), ""
    if messages[-1]["role"] == "assistant":
        messages, golden = messages[:-1], messages[-1]["content"]
    if not messages:
        raise BadRow("asks nothing: it has an answer only")
    return Question(messages=messages, golden=golden)
