"""Tokenised rows in little memory: one array of token numbers for all of them, and where each begins."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import overload

IGNORED = -100
"""The label of a token that nothing is learned from: the value that the loss of Transformers leaves out."""

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `labels` are the `input_ids` where something is learned and `IGNORED` elsewhere, so also at the first.

    `messages` are what a person would read, with the system prompt that was put in front; empty for plain text, and
    where the file has changed since it was read. `line` counts from 1.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    messages: Messages
    line: int


class _Storage:
    """Append-only: 4 bytes a token, 40 bytes a row. Worker processes share it, since no object of it is counted."""

    def __init__(self) -> None:
        self.tokens = array("i")
        self.begins = array("q", [0])  # of row i in `tokens`; one more than there are rows
        self.spans = array("i")  # from, to: what is learned, as places in its row
        self.first_spans = array("q", [0])
        self.lines = array("q")


class Table(Sequence[Row]):
    """Rows in an order, each made when it is asked for; a selection of them shares their tokens."""

    def __init__(self, messages: Callable[[int], Messages] | None = None) -> None:
        """`messages` finds a row's conversation again, by the row's place in the file's order of whole rows."""
        self._store = _Storage()
        self._messages = messages
        self._order: array[int] | range = range(0)

    def add(self, ids: Sequence[int], spans: Iterable[tuple[int, int]], line: int) -> None:
        """Append a row of which the places `from <= place < to` of each span are learned; never the first.

        Nothing comes before the first token, so nothing predicts it: a label there would be counted and not learned.
        """
        store = self._store
        store.tokens.extend(ids)
        store.begins.append(len(store.tokens))
        for begin, end in spans:
            if (begin := max(begin, 1)) < end:
                store.spans.extend((begin, end))
        store.first_spans.append(len(store.spans))
        store.lines.append(line)
        self._order = range(len(store.lines))

    def select(self, places: Iterable[int]) -> Table:
        """Return the rows at these places, in this order."""
        part = Table(self._messages)
        part._store = self._store
        part._order = array("q", (self._order[place] for place in places))
        return part

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Table: ...
    def __getitem__(self, place: int | slice) -> Row | Table:
        if isinstance(place, slice):
            return self.select(range(*place.indices(len(self))))
        at = self._order[place]
        messages = self._messages(at) if self._messages is not None else ()
        return Row(tuple(self.input_ids(place)), tuple(self.labels(place)), messages, self._store.lines[at])

    def __iter__(self) -> Iterator[Row]:
        return (self[place] for place in range(len(self)))

    def input_ids(self, place: int) -> list[int]:
        """The tokens of a row."""
        begin, end = self._bounds(place)
        return self._store.tokens[begin:end].tolist()

    def labels(self, place: int) -> list[int]:
        """The labels of a row, as long as its tokens."""
        begin, end = self._bounds(place)
        found = [IGNORED] * (end - begin)
        for start, stop in self.spans(place):
            found[start:stop] = self._store.tokens[begin + start : begin + stop].tolist()
        return found

    def spans(self, place: int) -> list[tuple[int, int]]:
        """The places of a row that are learned, as (from, to)."""
        at = self._order[place]
        part = self._store.spans[self._store.first_spans[at] : self._store.first_spans[at + 1]]
        return list(zip(part[::2], part[1::2]))

    def lengths(self) -> array[int]:
        """Tokens of each row."""
        begins = self._store.begins
        return array("i", (begins[at + 1] - begins[at] for at in self._order))

    def trained(self) -> int:
        """Tokens of all rows from which something is learned."""
        if isinstance(self._order, range):  # all rows
            return sum(self._store.spans[1::2]) - sum(self._store.spans[::2])
        return sum(end - begin for place in range(len(self)) for begin, end in self.spans(place))

    def digest(self, place: int, salt: bytes = b"") -> bytes:
        """16 bytes that are equal for rows of equal tokens and labels, whatever the process and the machine."""
        begin, end = self._bounds(place)
        shape = array("i", (number for span in self.spans(place) for number in span))
        tokens = self._store.tokens[begin:end]
        return blake2b(b"%d:" % len(tokens) + tokens.tobytes() + shape.tobytes(), digest_size=16, key=salt).digest()

    def _bounds(self, place: int) -> tuple[int, int]:
        at = self._order[place]
        return self._store.begins[at], self._store.begins[at + 1]
