"""Packing: short rows laid end to end, so that no arithmetic is spent on padding. When it pays, and how it is done."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from smartmon.errors import UsageError
from smartmon.text import count
from smartmon.trainer.isolation import packing_isolates
from smartmon.trainer.rows import Table

MULTIPLE = 8
"""Padded rows are as long as a multiple of this: what tensor cores like."""

LONGEST_PACK = 8192
"""Tokens. Attention that keeps rows apart by a mask needs room for the square of it: 64 MB here."""

LEAST_WASTE = 0.15
"""Share of padding above which packing pays for the mask that it needs."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows, by their places in the table, that make one input together."""

    rows: tuple[int, ...]
    length: int
    """Tokens of all of them."""


def pack(rows: Table, max_length: int, seed: int) -> list[Pack]:
    """Lay every row whole into one of few packs of at most `max_length` tokens; the same for the same seed.

    Best fit decreasing: from the longest row to the shortest, each goes where it leaves the least room; equally long
    ones in an order drawn with `seed`. At most 11/9 of the fewest packs possible, and one more (Johnson 1974). Raises
    ValueError for a row longer than a pack.
    """
    lengths = rows.lengths()
    if lengths and max(lengths) > max_length:
        raise ValueError(f"a row of {max(lengths)} tokens does not fit into a pack of {max_length}")
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)  # noqa: S311  # the order of rows needs no cryptography
    order.sort(key=lambda place: -lengths[place])
    packs: list[list[int]] = []
    rooms: list[list[int]] = [[] for _ in range(max_length + 1)]  # packs by the room that is left in them
    free = 0  # bit n: some pack has room for exactly n tokens
    for place in order:
        length = lengths[place]
        fitting = free >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = rooms[room].pop()
            if not rooms[room]:
                free &= ~(1 << room)
        else:
            room, chosen = max_length, len(packs)
            packs.append([])
        packs[chosen].append(place)
        rooms[room - length].append(chosen)
        free |= 1 << (room - length)
    return [Pack(tuple(found), sum(lengths[place] for place in found)) for found in packs]


def pack_length(rows: Table, batch_size: int, max_length: int) -> int:
    """Return the tokens of a pack that stands for a batch: what `batch_size` rows have on average.

    So as many rows as without packing make an optimizer step, and one pack is one batch. Never under the longest row,
    and above `max_length` only up to `LONGEST_PACK`.
    """
    lengths = rows.lengths()
    wanted = round(batch_size * sum(lengths) / len(lengths))
    return max(*lengths, min(wanted, max(max_length, LONGEST_PACK)), 1)


def padding_share(lengths: Sequence[int], batch_size: int, seed: int = 0, batches: int = 200) -> float:
    """Return the share of a padded batch that is padding, on average over batches drawn at random."""
    draw = random.Random(seed)  # noqa: S311
    padded = real = 0
    for _ in range(batches):
        batch = draw.sample(lengths, min(batch_size, len(lengths)))
        real += sum(batch)
        padded += -(-max(batch) // MULTIPLE) * MULTIPLE * len(batch)
    return 1 - real / padded


def decide(
    choice: Literal["auto", "on", "off"], rows: Table, batch_size: int, model: Any, *, seed: int = 0
) -> tuple[bool, str]:
    """Return whether to pack, and why in a sentence. Raises `UsageError` for "on" where rows would see each other."""
    if choice == "off":
        return False, "rows are padded, as asked"
    share = padding_share(rows.lengths(), batch_size, seed)
    if choice == "auto" and share < LEAST_WASTE:
        return False, f"rows are padded: only {100 * share:.0f} % of a batch of {count(batch_size)} is padding"
    safe, reason = packing_isolates(model)
    if not safe and choice == "on":
        raise UsageError(f"rows cannot be packed for this model: {reason}; leave packing to auto, or off")
    if not safe:
        return False, f"rows are padded: packed, {reason}"
    would = f"{100 * share:.0f} % of a padded batch of {count(batch_size)} would be padding"
    return True, f"rows are packed: {would}; {reason}"
