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

LEAST_GAIN = 1.1
"""How much faster a step has to be for packing to pay."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows, by their places in the table, that make one input together."""

    rows: tuple[int, ...]
    length: int
    """Tokens of all of them."""


def pack(rows: Table, length: int, seed: int) -> list[Pack]:
    """Lay every row whole into one of few packs of `length` tokens at most; the same for the same seed.

    Best fit: each row goes where it leaves the least room. Those of more than a quarter of a pack go first, from the
    longest to the shortest, in at most 11/9 of the fewest packs possible, and one more (Johnson 1974); then the others
    in an order drawn with `seed`, after which, if they opened a pack, all packs but one are three quarters full. In
    order of length they would meet their like alone, and rows of one length are often of one kind: measured, three
    times the loss after 125 steps. A row that is longer than a pack is a pack of its own.
    """
    lengths = rows.lengths()
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)  # noqa: S311  # the order of rows needs no cryptography
    order.sort(key=lambda place: min(-lengths[place], -length // 4))
    packs: list[list[int]] = []
    rooms: list[list[int]] = [[] for _ in range(length + 1)]  # packs by the room that is left in them
    free = 0  # bit n: some pack has room for exactly n tokens
    for place in order:
        size = lengths[place]
        fitting = free >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            chosen = rooms[room].pop()
            if not rooms[room]:
                free &= ~(1 << room)
        else:
            room, chosen = max(length, size), len(packs)
            packs.append([])
        packs[chosen].append(place)
        rooms[room - size].append(chosen)
        free |= 1 << (room - size)
    return [Pack(tuple(found), sum(lengths[place] for place in found)) for found in packs]


def pack_length(rows: Table, batch_size: int) -> int:
    """Return the tokens of a pack that stands for a batch: what `batch_size` rows have on average.

    So as many rows make an optimizer step as without packing, and one pack is one batch without any padding.
    """
    lengths = rows.lengths()
    return min(max(1, round(batch_size * sum(lengths) / len(lengths))), LONGEST_PACK)


def padding(lengths: Sequence[int], batch_size: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of a padded batch that is padding, and how many tokens long its rows are; both on average."""
    draw = random.Random(seed)  # noqa: S311
    real, slots, squares = 0, 0, 0
    for _ in range(200):
        batch = draw.sample(lengths, min(batch_size, len(lengths)))
        width = -(-max(batch) // MULTIPLE) * MULTIPLE
        real, slots, squares = real + sum(batch), slots + width * len(batch), squares + width * width * len(batch)
    return 1 - real / slots, squares / slots


def gain(rows: Table, batch_size: int, config: Any, seed: int = 0) -> tuple[float, float]:
    """Return the share of a padded batch that is padding, and how many times as fast packing would make a step.

    A token costs a layer of width h about 12 h² multiplications in its linear parts, and 2 h for each token that
    attention sets it against; 3 h as measured, which makes 1 + length / 4 h. Masked attention sets it against the
    whole pack, FlashAttention against its own row. Measured on a CPU at h = 128 and 768: from 0.6 to 1.6 times as
    fast, where this says from 0.6 to 1.5.
    """
    lengths = rows.lengths()
    share, width = padding(lengths, batch_size, seed)
    against: float = pack_length(rows, batch_size)
    if "flash" in (config._attn_implementation or ""):
        against = sum(length * length for length in lengths) / sum(lengths)
    quarter = 4 * config.get_text_config().hidden_size
    return share, (1 + width / quarter) / (1 - share) / (1 + against / quarter)


def decide(
    choice: Literal["auto", "on", "off"], rows: Table, batch_size: int, model: Any, *, seed: int = 0
) -> tuple[bool, str]:
    """Return whether to pack, and why in a sentence. Raises `UsageError` for "on" where rows would see each other."""
    if choice == "off":
        return False, "rows are padded, as asked"
    share, faster = gain(rows, batch_size, model.config, seed)
    would = f"{100 * share:.0f} % of a padded batch of {count(batch_size)} is padding"
    if choice == "auto" and faster < LEAST_GAIN:
        return False, f"rows are padded: {would}, and packed a step would be {faster:.1f} times as fast"
    safe, reason = packing_isolates(model)
    if not safe and choice == "on":
        raise UsageError(f"rows cannot be packed for this model: {reason}; leave packing to auto, or off")
    if not safe:
        return False, f"rows are padded: packed, {reason}"
    return True, f"rows are packed: {would}, so a step is about {faster:.1f} times as fast; {reason}"
