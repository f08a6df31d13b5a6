"""The rows to train on: read, named where they are bad, tokenised, counted, and split for evaluation."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from smartmon.errors import DataError
from smartmon.text import clean, count
from smartmon.trainer.chat import Unclear
from smartmon.trainer.collate import Collator, Rows
from smartmon.trainer.masking import Marked, Masker
from smartmon.trainer.packing import Pack, pack
from smartmon.trainer.reading import Found, Problem, read_again, read_values
from smartmon.trainer.rows import IGNORED, Messages, Row, Table
from smartmon.trainer.spellings import BadRow, Example, example, shown

__all__ = ["IGNORED", "Collator", "Corpus", "Pack", "Problem", "Row", "Rows", "Table", "pack", "read_rows", "split"]

BATCH = 512
"""Rows tokenised at once: enough for every core of a fast tokenizer, and little memory."""

MOST_DROPPED = 0.2
"""Share of the rows that may be dropped before it is no longer the dataset that was meant."""

NO_ANSWER, CUT, UNCLEAR = "no answer", "cut", "unclear"
_DROPPED = {
    NO_ANSWER: "without an answer of the assistant",
    CUT: "cut off before the answer",
    UNCLEAR: "whose answer the chat template does not show in one piece",
}
_ADVICE = {
    NO_ANSWER: "check the roles of the messages, or learn every token (--all-tokens)",
    CUT: "allow more tokens (--max-length), or shorten what comes before the answers",
    UNCLEAR: "mark the answer with {% generation %} in the template, or learn every token (--all-tokens)",
}
_MOST_NAMED = 100
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Corpus:
    """What a dataset's file holds for one tokenizer."""

    path: Path
    rows: Table
    max_length: int
    problems: list[Problem] = field(default_factory=list)
    """The first hundred of the bad rows."""
    bad: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Good rows from which nothing can be learned, by reason."""
    cut: int = 0
    """Rows that were longer than `max_length`, and are kept."""
    notes: list[str] = field(default_factory=list)
    """Decisions that were taken about the rows."""

    @property
    def total(self) -> int:
        """Rows in the file, the bad ones included."""
        return len(self.rows) + self.bad + self.dropped.total()

    def summary(self) -> list[str]:
        """Lines for people: rows, tokens, lengths, and the first problems."""
        lengths = sorted(self.rows.lengths())
        tokens, trained = sum(lengths), self.rows.trained()
        left_out = [f"{count(self.bad)} bad"] if self.bad else []
        left_out += [f"{count(number)} {_DROPPED[reason]}" for reason, number in self.dropped.items()]
        of = f" of {count(self.total)}" if left_out else ""
        middle, high, most = (lengths[round(part * (len(lengths) - 1))] for part in (0.5, 0.95, 1))
        cut = f"; {count(self.cut)} cut to that" if self.cut else ""
        return [
            f"rows      {count(len(self.rows))}{of}",
            *(f"left out  {what}" for what in left_out),
            f"tokens    {count(tokens)}, of which {count(trained)} ({100 * trained / tokens:.0f} %) are learned",
            f"lengths   half up to {count(middle)}, 95 % up to {count(high)}, longest {count(most)}{cut}",
            f"          {histogram(lengths)}",
            *(f"note      {note}" for note in self.notes),
            *(f"bad row   {problem}" for problem in self.problems[:5]),
            *([f"          and {count(self.bad - 5)} more"] if self.bad > 5 else []),
        ]


def read_rows(
    path: Path,
    tokenizer: Any,
    *,
    max_length: int,
    system_prompt: str | None = None,
    assistant_only: bool = True,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Read a dataset. Rows longer than `max_length` tokens are cut at their end.

    A tokenizer without a chat template is given one once a row needs it. `progress` is told how many rows were read.
    Raises `DataError` for a file that holds no rows, a bad row if `strict`, and when nothing is left to learn from or
    more than a fifth of the rows were dropped.
    """
    masker = Masker(tokenizer, system_prompt=system_prompt, assistant_only=assistant_only)
    reader = _Reader(path, masker, max_length)
    for batch in _batches(read_values(path), BATCH):
        reader.take(batch)
        if progress is not None:
            progress(reader.seen)
    corpus = Corpus(
        path, reader.rows, max_length, reader.problems, reader.bad, reader.dropped, reader.cut, masker.notes
    )
    _check(corpus, strict)
    return corpus


def split(rows: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    """Return the rows to train on and those to evaluate on, about `fraction` of all; the same for the same seed.

    Which rows are evaluated depends on what they hold and not on where they stand; equal rows go to the same side. At
    least one row is left to train on, and at least one is evaluated if two differ and `fraction` is above 0.
    """
    groups: dict[bytes, list[int]] = {}
    for place in range(len(rows)) if fraction > 0 else ():
        groups.setdefault(rows.digest(place, salt=b"%d" % seed), []).append(place)
    if len(groups) < 2:
        return rows, rows.select([])
    wanted = max(1, round(fraction * len(rows)))
    chosen: set[int] = set()
    drawn = [places for _digest, places in sorted(groups.items())]
    for places in drawn[:-1]:
        if len(chosen) + len(places) <= wanted:
            chosen.update(places)
    if not chosen:
        chosen.update(sorted(drawn, key=len)[0])
    return rows.select(place for place in range(len(rows)) if place not in chosen), rows.select(sorted(chosen))


def histogram(lengths: Sequence[int], bins: int = 40) -> str:
    """Draw how many rows have which length, from 0 to the longest, in one line."""
    top = max(lengths)
    counts = Counter(min(length * bins // (top + 1), bins - 1) for length in lengths)
    most = max(counts.values())
    bars = (_BARS[counts[at] * (len(_BARS) - 1) // most] if counts[at] else " " for at in range(bins))
    return f"0 {''.join(bars)} {count(top)} tokens"


class _Reader:
    """Fills a table from what a file holds."""

    def __init__(self, path: Path, masker: Masker, max_length: int) -> None:
        self.seen, self.bad, self.cut = 0, 0, 0
        self.problems: list[Problem] = []
        self.dropped: Counter[str] = Counter()
        self._path, self._masker, self._max_length = path, masker, max_length
        self._again = _Again(path, masker)
        self.rows = Table(self._again)

    def take(self, batch: Sequence[Found]) -> None:
        """Add the rows of a batch, or count why not."""
        self.seen += len(batch)
        marked = [(found, text) for found in batch if (text := self._marked(found)) is not None]
        for (found, _text), (ids, spans) in zip(marked, self._masker.encode([text for _found, text in marked])):
            kept = [(begin, min(end, self._max_length)) for begin, end in spans]
            if not any(max(begin, 1) < end for begin, end in kept):
                self.dropped[CUT if any(begin < end for begin, end in spans) and len(ids) > 1 else NO_ANSWER] += 1
                continue
            self.cut += len(ids) > self._max_length
            self.rows.add(ids[: self._max_length], kept, found.line)
            self._again.add(found)

    def _marked(self, found: Found) -> Marked | None:
        try:
            if found.reason:
                raise BadRow(found.reason)
            marked = self._masker.mark(example(found.value))
        except Unclear:
            self.dropped[UNCLEAR] += 1
            return None
        except BadRow as error:
            self.bad += 1
            if len(self.problems) < _MOST_NAMED:
                self.problems.append(Problem(self._path, found.line, str(error)))
            return None
        if not marked.spans:
            self.dropped[NO_ANSWER] += 1
            return None
        return marked


class _Again:
    """Finds a row's conversation in the file again: kept in memory, all of them would cost more than the tokens."""

    def __init__(self, path: Path, masker: Masker) -> None:
        self._path, self._masker = path.absolute(), masker
        self._offsets, self._lengths, self._checks = array("q"), array("q"), array("L")

    def add(self, found: Found) -> None:
        self._offsets.append(found.offset)
        self._lengths.append(found.length)
        self._checks.append(found.check)

    def __call__(self, at: int) -> Messages:
        try:
            value = read_again(self._path, self._offsets[at], self._lengths[at], self._checks[at])
        except LookupError:
            return ()
        row = self._masker.conversation(example(value))
        if row.prompt:
            row = Example(({"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.completion}))
        return shown(row.messages)


def _check(corpus: Corpus, strict: bool) -> None:
    path, total = clean(corpus.path), corpus.total
    named = "".join(f"\n  {problem}" for problem in corpus.problems[:10])
    more = f"\n  and {count(corpus.bad - 10)} more" if corpus.bad > 10 else ""
    if not total:
        raise DataError(f"the dataset {path} holds no rows")
    if corpus.bad and (strict or corpus.bad == total):
        which = "every row is" if corpus.bad == total else f"{count(corpus.bad)} of {count(total)} rows are"
        skip = "" if corpus.bad == total else "; without --strict they are skipped"
        raise DataError(f"the dataset {path} cannot be used: {which} bad{skip}{named}{more}")
    dropped = corpus.dropped.total()
    if len(corpus.rows) and dropped <= MOST_DROPPED * total:
        return
    reason, number = corpus.dropped.most_common(1)[0]
    limit = f" (at most {corpus.max_length:,} tokens are kept)" if reason == CUT else ""
    raise DataError(
        f"the dataset {path} would lose {count(dropped)} of {count(total)} rows: "
        f"{count(number)} {_DROPPED[reason]}{limit}; {_ADVICE[reason]}"
    )


_Item = TypeVar("_Item")


def _batches(items: Iterable[_Item], number: int) -> Iterator[list[_Item]]:
    found = iter(items)
    while batch := list(islice(found, number)):
        yield batch
