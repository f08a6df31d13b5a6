"""From an example to tokens, of which those of the answer are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from smartmon.text import clean
from smartmon.trainer.chat import Chat, Span, beginning, give_template
from smartmon.trainer.spellings import Example, Message

_WRITTEN = ("[INST]", "<|im_start|>", "<|start_header_id|>", "<start_of_turn>")
"""Marks of templates: a prompt that holds one was put through a template before."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A row's text and the stretches of it that are learned, in characters."""

    text: str
    spans: tuple[Span, ...]
    bare: bool = False
    """No template wrote it: what the tokenizer puts before a text, and the end of text after it, are still to come."""


class Masker:
    """Makes rows of a tokenizer's tokens. `notes` are the decisions taken on the way, for people, each once."""

    def __init__(self, tokenizer: Any, *, system_prompt: str | None = None, assistant_only: bool = True) -> None:
        self.notes: list[str] = []
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt
        self._assistant_only = assistant_only
        self._chat: Chat | None = None
        self._beginning = beginning(tokenizer)
        self._special = (*(token for token in tokenizer.all_special_tokens if token.strip()), *_WRITTEN)

    def mark(self, row: Example) -> Marked:
        """Return a row's text and what of it is learned; raise `BadRow`, and `Unclear` if that cannot be told.

        With `assistant_only` that is what the assistant said, or the completion; else everything. A prompt and its
        completion are the user's and the assistant's message where the model has a chat template, unless a template
        wrote the prompt; else completion follows prompt as they stand.
        """
        row = self.conversation(row)
        if not row.messages:
            text = row.prompt + row.completion
            return Marked(text, ((len(row.prompt) if self._assistant_only else 0, len(text)),), bare=True)
        chat = self._template()
        if not self._assistant_only:
            text = chat.render(row.messages, row.tools)
            return Marked(text, ((0, len(text)),))
        if not any(row.learned):
            return Marked("", ())
        text, spans = chat.answers(row.messages, row.tools)
        return Marked(text, tuple(span for span, learned in zip(spans, row.learned) if learned))

    def conversation(self, row: Example) -> Example:
        """Return the row as the model sees it: a pair as messages, the system prompt put in, or put elsewhere."""
        if row.prompt and self._tokenizer.chat_template and not any(mark in row.prompt for mark in self._special):
            self._note("prompt and completion become messages of the chat template")
            asked, said = {"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.completion}
            row = Example((asked, said), (True,))
        if not row.messages:
            return row
        messages = row.messages
        if self._system_prompt and messages[0]["role"] != "system":
            messages = ({"role": "system", "content": self._system_prompt}, *messages)
        if messages[0]["role"] == "system" and not self._template().has_system:
            messages = self._folded(messages)
        return replace(row, messages=messages)

    def encode(self, rows: Sequence[Marked]) -> list[tuple[list[int], list[Span]]]:
        """Return each row's tokens and the places of those that are learned, as (from, to).

        A token that lies across the edge of a stretch is learned.
        """
        if not rows:
            return []
        texts = [row.text for row in rows]
        # No special tokens: a template writes its own, and a second beginning of text would be wrong.
        found = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
        if found.encodings is None:
            places = [self._by_prefix(row, ids) for row, ids in zip(rows, found["input_ids"])]
        else:
            places = [_by_offsets(row, encoding) for row, encoding in zip(rows, found.encodings)]
        return [self._closed(row, list(ids), spans) for row, ids, spans in zip(rows, found["input_ids"], places)]

    def _closed(self, row: Marked, ids: list[int], spans: list[Span]) -> tuple[list[int], list[Span]]:
        """Put the beginning and the end of text around what no template wrote, where they are not there already."""
        if not row.bare:
            return ids, spans
        put = [] if ids[: len(self._beginning)] == self._beginning else self._beginning
        end = self._tokenizer.eos_token_id
        tail = [] if end is None or ids[-1:] == [end] else [end]
        moved = [(begin + len(put), stop + len(put)) for begin, stop in spans]
        moved[-1:] = [(begin, stop + len(tail)) for begin, stop in moved[-1:]]
        return [*put, *ids, *tail], moved

    def _by_prefix(self, row: Marked, ids: Sequence[int]) -> list[Span]:
        """For a tokenizer that cannot say where its tokens come from: by the tokens of what comes before."""
        found = []
        for begin, end in row.spans:
            (first, _whole), (last, whole) = self._shared(row, begin, ids), self._shared(row, end, ids)
            found.append((first, last if whole else last + 1))
        return found

    def _shared(self, row: Marked, char: int, ids: Sequence[int]) -> tuple[int, bool]:
        """With how many of its tokens the text before a character is written too, and whether those are all."""
        head = self._tokenizer(row.text[:char], add_special_tokens=False, verbose=False)["input_ids"] if char else []
        same = next((at for at, pair in enumerate(zip(head, ids)) if pair[0] != pair[1]), min(len(head), len(ids)))
        return same, same == len(head)

    def _template(self) -> Chat:
        if self._chat is None:
            self._note(give_template(self._tokenizer))
            self._chat = Chat(self._tokenizer)
        return self._chat

    def _folded(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Put the system message at the head of the first message of the user."""
        self._note("no system role in the template; it goes into the user's first message")
        system, *rest = messages
        at = next((at for at, message in enumerate(rest) if message["role"] == "user"), None)
        if at is not None:
            rest[at] = rest[at] | {"content": f"{system['content']}\n\n{rest[at]['content']}"}
        return tuple(rest)

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(clean(text))


def _by_offsets(row: Marked, encoding: Any) -> list[Span]:
    return [(_first(row, encoding, begin), _last(row, encoding, end)) for begin, end in row.spans]


def _first(row: Marked, encoding: Any, char: int) -> int:
    """The first token that holds this character, or the next that any token holds: blanks may belong to none."""
    for at in range(char, len(row.text)):
        token: int | None = encoding.char_to_token(at)
        if token is not None:
            return token
    return len(encoding)


def _last(row: Marked, encoding: Any, char: int) -> int:
    """The place after the last token that begins before this character.

    Looked for from behind, since one character may be several tokens.
    """
    token = _first(row, encoding, char)
    return token + 1 if token < len(encoding) and encoding.token_to_chars(token)[0] < char else token
