"""Regular expressions that people write to read the lines of a log: which are taken, and what is wrong otherwise."""

from __future__ import annotations

import re

LONGEST_PATTERN = 1000
_ATOM = r"(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.)"


def check_pattern(text: str) -> str:
    """Return the pattern, or raise `ValueError` with a sentence that says what is wrong with it."""
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"is longer than {LONGEST_PATTERN} characters")
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if not compiled.groupindex:
        raise ValueError(r"has no named group; name what is to be read: step (?P<step>\d+) loss (?P<loss>\S+)")
    if group := _ambiguous_repetition(text):
        raise ValueError(
            f"repeats a group that holds a repetition or a choice itself, {group}, which can take for ever on a line; "
            "write .* or a set such as [ab]+ there"
        )
    return text


def _ambiguous_repetition(text: str) -> str:
    """Return the group of a pattern that is repeated without end and can match one text in several ways, if any.

    Such a group takes time that doubles with each character. One that holds no repetition, option or alternative of
    its own does not; telling the harmless ones of the others is not worth it.
    """
    stack: list[tuple[int, bool]] = []
    before = ""
    for token in re.finditer(_ATOM, text, re.DOTALL):
        char, follows = token[0], text[token.end() :]
        endless = re.match(r"[*+]|\{\d*,(?:\d\d+)?\}", follows) is not None
        varies = char == "|" or (char != "(" and re.match(r"[*+?]|\{\d", follows) is not None)
        if char == "(":
            stack.append((token.start(), False))
        elif char == ")" and stack:
            begin, inside = stack.pop()
            if inside and endless:
                return text[begin : token.end() + 1][:60]
            varies = varies or inside
        if stack and varies and not (char == "?" and before == "("):
            stack[-1] = (stack[-1][0], True)
        before = char
    return ""
