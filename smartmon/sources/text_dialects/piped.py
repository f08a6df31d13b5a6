"""Trainers that print one line of `name:value` pairs a step: torchtune and verl."""

from __future__ import annotations

import re

from smartmon.sources.text_dialects.base import Dialect, Record, value


class Torchtune(Dialect):
    """`Step 12 | loss:1.2 lr:2e-05 tokens_per_second_per_gpu:4000`; values may be `tensor(1.5)`."""

    key = "torchtune"
    name = "torchtune"
    hit = re.compile(r"(?:^|[\s\]>):|])Step \d+ \| [^\s:]+:\S")
    _line = re.compile(r"(?:^|[\s\]>):|])Step (\d+) \| (.+)")
    _pair = re.compile(r"(?<![^\s:])([^\s:]{1,200}):(tensor\([^\s)]{0,80}(?:,[^)]{0,80})?\)|\S+)")

    def parse(self, text: str) -> Record | None:
        """Return the record of a step."""
        found = self._line.search(text)
        if found is None:
            return None
        record: Record = {"step": int(found[1])}
        for name, number in self._pair.findall(found[2]):
            amount = value(number)
            if amount is not None:
                record[name] = amount
        return record if len(record) > 1 else None


class Verl(Dialect):
    """`step:3 - actor/pg_loss:0.01 - critic/score/mean:0.5 - ...`, often behind `(TaskRunner pid=1234)`."""

    key = "verl"
    name = "verl"
    hit = re.compile(r"(?:^|[\s\]>)])step:\d+ - [^\s:]+:\S")
    _line = re.compile(r"(?:^|[\s\]>)])step:(\d+) - (.+)")

    def parse(self, text: str) -> Record | None:
        """Return the record of a step."""
        found = self._line.search(text)
        if found is None:
            return None
        record: Record = {"step": int(found[1])}
        for part in found[2].split(" - "):
            # Names of validation sets may hold a colon; values never do.
            name, colon, number = part.strip().rpartition(":")
            amount = value(number) if colon else None
            if amount is not None:
                record[name] = amount
        return record if len(record) > 1 else None
