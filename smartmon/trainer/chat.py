"""A tokenizer's chat template: the text of a conversation, and which characters of it the assistant said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from smartmon.trainer.spellings import BadRow, Message

Span = tuple[int, int]
"""From a character to another, as slices count."""

PLAIN = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}### Assistant:\n"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% elif message['role'] == 'system' %}{{ message['content'] }}"
    "{% else %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}{% endif %}{{ '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""For a model without a template. Its marks are plain words: those of ChatML would be new tokens, untrained in a frozen
vocabulary, and the model's own end of text closes an answer, so that generation stops there as it is."""

_PROBE = "Quokka"
"""A text that no template holds by itself."""


class Unclear(BadRow):
    """The template does not show which part of its text is the answer."""


class Chat:
    """What a chat template makes of conversations."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tagged = re.search(r"\{%-?\s*generation\b", tokenizer.get_chat_template()) is not None
        self._system: bool | None = None

    @property
    def has_system(self) -> bool:
        """Whether it shows system messages. Some templates refuse them (Gemma's), some leave them out."""
        if self._system is None:
            asked = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}]
            try:
                self._system = _PROBE in self.render(asked)
            except BadRow:
                self._system = False
        return self._system

    def render(self, messages: Sequence[Message], tools: Sequence[Any] = (), *, prompt: bool = False) -> str:
        """Return the text of a conversation, with the beginning of an answer if `prompt`; raise `BadRow`."""
        return self._rendered(messages, tools, prompt=prompt)[0]

    def answers(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> tuple[str, list[Span]]:
        """Return the text and, for each assistant message in turn, the stretch of it that the assistant said.

        The stretch is the one that the template marks with `{% generation %}`. Where it marks none, the text must
        begin with the conversation up to the answer, as it is when the answer is asked for, and with the conversation
        up to its end; the stretch lies between. Raises `Unclear` where neither is so.
        """
        said = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        text, marked = self._rendered(messages, tools, tagged=self._tagged)
        if len(marked) == len(said):
            return text, marked
        return text, [self._between(text, messages, tools, place) for place in said]

    def _between(self, text: str, messages: Sequence[Message], tools: Sequence[Any], place: int) -> Span:
        try:
            head = self.render(messages[:place], tools, prompt=True)
            body = self.render(messages[: place + 1], tools)
        except BadRow:  # some refuse a conversation that begins with an answer
            return self._replaced(text, messages, tools, place)
        if text.startswith(head) and text.startswith(body) and len(head) < len(body):
            return len(head), len(body)
        return self._replaced(text, messages, tools, place)

    def _replaced(self, text: str, messages: Sequence[Message], tools: Sequence[Any], place: int) -> Span:
        """Find an answer by putting another in its place: what stays the same around it is not the answer.

        For templates that show an answer differently once the conversation goes on, such as Qwen3's, which leave out
        what the model thought. What closes the answer belongs to it.
        """
        other = [*messages]
        other[place] = {"role": "assistant", "content": _PROBE}
        try:
            whole, until = self.render(other, tools), self.render(other[: place + 1], tools)
        except BadRow:
            raise Unclear("is not shown in parts by the chat template") from None
        before, _, after = whole.rpartition(_PROBE) if whole.count(_PROBE) == 1 else ("", "", "")
        closing = until.rpartition(_PROBE)[2]
        end = len(text) - len(after)
        if not before or not (text.startswith(before) and text.endswith(after) and len(before) < end):
            raise Unclear("has an answer that the chat template does not show in one piece")
        return len(before), end + (len(closing) if after.startswith(closing) else 0)

    def _rendered(
        self, messages: Sequence[Message], tools: Sequence[Any], *, prompt: bool = False, tagged: bool = False
    ) -> tuple[str, list[Span]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        # The tokenizer's own method gives no characters, and its mask of tokens runs to the row's end where the last
        # character of an answer has no token.
        try:
            texts, spans = render_jinja_template(
                conversations=[[dict(message) for message in messages]],
                tools=list(tools) or None,
                chat_template=self._tokenizer.get_chat_template(tools=list(tools) or None),
                return_assistant_tokens_mask=tagged,
                add_generation_prompt=prompt,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError) as error:
            raise BadRow(f"is refused by the chat template: {error}") from None
        return texts[0], [(begin, end) for begin, end in spans[0]] if tagged else []


def give_template(tokenizer: Any) -> str:
    """Give a tokenizer without a chat template `PLAIN`, which is then saved with it; return the decision, or ""."""
    if tokenizer.chat_template:
        return ""
    tokenizer.chat_template = ("{{ bos_token }}" if beginning(tokenizer) else "") + PLAIN
    return "no chat template; ### User: and ### Assistant: serve, and are saved"


def beginning(tokenizer: Any) -> list[int]:
    """Return the tokens that the tokenizer puts before any text by itself."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    at = next((at for at in range(len(full)) if full[at : at + len(bare)] == bare), 0)
    return list(full[:at])
