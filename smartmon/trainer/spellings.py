"""What a row of a dataset means: the spellings that people have for conversations, pairs and plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
}
_PASSED = ("tool_calls", "tool_call_id", "name", "reasoning_content", "thinking")
"""Other keys of a message that chat templates read."""

_KNOWN = 'expected "messages", "prompt" and "completion", or "text"'


class BadRow(ValueError):
    """Why a row is not used, as a fact that completes "line 3 ..."."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a conversation, or a prompt with its completion, or a text (a completion without a prompt)."""

    messages: tuple[Message, ...] = ()
    learned: tuple[bool, ...] = ()
    """For each assistant message in turn, whether it is learned."""
    tools: tuple[Any, ...] = ()
    prompt: str = ""
    completion: str = ""


def example(value: Any) -> Example:
    """Return what a row means; raise `BadRow`.

    Beside `messages`, `prompt` with `completion`, and `text` it knows ShareGPT's `conversations` (`from`, `value`) and
    Alpaca's `instruction`, `input` and `output`. Of these the first that is there counts.
    """
    if not isinstance(value, dict):
        raise BadRow(f"is {_kind(value)}, not an object; {_KNOWN}")
    for key in ("messages", "conversations", "conversation"):
        if key in value:
            messages = _messages(value[key], key)
            return _conversation(_with_system(messages, value), value)
    if "prompt" in value:
        return _pair(value)
    if "instruction" in value:
        return _alpaca(value)
    if "text" in value:
        if not _text(value, "text").strip():
            raise BadRow('has an empty "text"')
        return Example(completion=value["text"])
    found = ", ".join(f'"{key}"' for key in list(value)[:5]) or "no key at all"
    raise BadRow(f"has {found}; {_KNOWN}")


def shown(messages: tuple[Message, ...]) -> tuple[dict[str, str], ...]:
    """Return messages as a person reads them: role and content alone."""
    return tuple({"role": message["role"], "content": message.get("content") or ""} for message in messages)


def _pair(value: dict[str, Any]) -> Example:
    key = next((key for key in ("completion", "response", "chosen") if key in value), "")
    if not key:
        raise BadRow('has a "prompt" and no "completion"')
    if key == "chosen":
        raise BadRow('has "prompt" and "chosen", a preference; keep the chosen answer as "completion"')
    prompt, completion = value["prompt"], value[key]
    if isinstance(prompt, list) and isinstance(completion, list):
        asked = _messages(prompt, "prompt")
        return _conversation([*asked, *_messages(completion, key)], value, begin=len(asked))
    if isinstance(prompt, list) or isinstance(completion, list):
        raise BadRow(f'has a list of messages in only one of "prompt" and "{key}"')
    if not _text(value, key).strip():
        raise BadRow(f'has an empty "{key}"')
    return Example(prompt=_text(value, "prompt"), completion=completion)


def _alpaca(value: dict[str, Any]) -> Example:
    key = next((key for key in ("output", "response", "completion") if key in value), "")
    if not key:
        raise BadRow('has an "instruction" and no "output"')
    asked = [_text(value, "instruction"), _text(value, "input") if value.get("input") else ""]
    question = "\n\n".join(part for part in asked if part.strip())
    if not question or not _text(value, key).strip():
        raise BadRow(f'has an empty "{key if question else "instruction"}"')
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": value[key]}]
    return _conversation(_with_system(messages, value), value)


def _with_system(messages: list[Message], value: dict[str, Any]) -> list[Message]:
    """Put the row's own "system" in front, where the messages have none."""
    system = value.get("system")
    if not isinstance(system, str) or not system.strip() or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


def _conversation(messages: list[Message], value: dict[str, Any], begin: int = 0) -> Example:
    """A conversation of which the assistant's messages from `begin` on are learned, but for those of weight 0."""
    tools = value.get("tools") or ()
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRow('has "tools" that are not a list of objects')
    weights = [(message["role"], message.pop("weight", 1)) for message in messages]
    learned = [place >= begin and weight != 0 for place, (role, weight) in enumerate(weights) if role == "assistant"]
    return Example(tuple(messages), tuple(learned), tuple(tools))


def _messages(value: Any, key: str) -> list[Message]:
    if not isinstance(value, list):
        raise BadRow(f'has {_kind(value)} in "{key}", not a list of messages')
    if not value:
        raise BadRow(f'has an empty list in "{key}"')
    return [_message(item, f'message {number} of "{key}"') for number, item in enumerate(value, 1)]


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise BadRow(f"{where} is {_kind(value)}, not an object")
    said = value.get("role", value.get("from"))
    if said is None:
        raise BadRow(f'{where} has no "role"')
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise BadRow(f"{where} has the role {said!r}; expected system, user, assistant or tool")
    message = {"role": role, "content": _content(value.get("content", value.get("value")), where)}
    message |= {name: value[name] for name in _PASSED if value.get(name) is not None}
    if role == "assistant" and "weight" in value:
        message["weight"] = value["weight"]
    if message["content"] is None:
        if not message.get("tool_calls"):
            raise BadRow(f'{where} has no "content"')
        message["content"] = ""
    elif role in ("assistant", "user") and not message["content"].strip() and not message.get("tool_calls"):
        raise BadRow(f"{where} ({role}) is empty")
    return message


def _content(value: Any, where: str) -> str | None:
    """The text of a message: a string, or parts of which each is text."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRow(f'{where} has {_kind(value)} as "content", not text')
    parts = []
    for part in value:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else _kind(part)
            raise BadRow(f"{where} has a part that is no text ({kind})")
        parts.append(text)
    return "".join(parts)


def _text(value: dict[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise BadRow(f'has {_kind(text)} in "{key}", not text')
    return text


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
