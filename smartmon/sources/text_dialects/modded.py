"""modded-nanogpt in its generations, and the `main.log` of llm.c, whose keys its first generation took over."""

from __future__ import annotations

import math
import re
from typing import ClassVar

from smartmon.sources.text_dialects.base import Dialect, Record, value

_PAIR = re.compile(r"(?<!\w)([A-Za-z]\w{0,80}(?: seen)?)[:=]\s?([^\s,:=]+)")


class ModdedNanoGPT(Dialect):
    """`step:123/1390 train_loss:3.5 train_time:762ms step_avg:33ms`; later ones print times between evaluations."""

    key = "modded-nanogpt"
    name = "modded-nanogpt"
    hit = re.compile(r"(?:^|[\s\]>)])step:\d+/\d+,? .{0,200}?\b(?:(?:avg_)?train_loss|val_loss):")
    _line = re.compile(r"(?:^|[\s\]>)])step:(\d+)/(\d+)(?![\d.]),?(.*)|^\[train step (\d+)\](.*)")

    def parse(self, text: str) -> Record | None:
        """Return the record of a step."""
        found = self._line.search(text)
        if found is None:
            return None
        step, total, rest, other, others = found.groups()
        record: Record = {"step": int(step or other)}
        for name, number in _PAIR.findall(rest or others):
            amount = value(number)
            # Times are `nan` until the warm-up is over: nothing is known yet, and nothing is wrong.
            if amount is not None and not (math.isnan(amount) and name in ("train_time", "step_avg")):
                record[name.replace(" ", "_")] = amount
        if len(record) == 1:
            return None
        if total:
            record["total_steps"] = float(total)
        return record


class LlmcLog(Dialect):
    """`s:250 tel:3.5`, `s:251 trl:3.4 lr:0.0001 norm:0.9`, `s:250 eval:0.29`."""

    key = "llm.c-log"
    name = "llm.c main.log"
    hit = re.compile(r"^s:\d+ (?:tel|trl):\S+")
    _line = re.compile(r"^s:(\d+) (.*)")
    _names: ClassVar = {"tel": "eval_loss", "trl": "loss", "norm": "grad_norm"}

    def parse(self, text: str) -> Record | None:
        """Return the record of a step."""
        found = self._line.match(text)
        if found is None:
            return None
        record: Record = {"step": int(found[1])}
        for name, number in _PAIR.findall(found[2]):
            amount = value(number)
            if amount is not None:
                record[self._names.get(name, name)] = amount
        return record if len(record) > 1 else None


class Llmc(Dialect):
    """`step 1/19560 | loss 10.95 (+nanz)| norm 15.36 (+nanz)| lr 0.00e+00 | 3320.36 ms | 157900 tok/s`.

    `val loss 3.5` stands on a line of its own and belongs to the step before.
    """

    key = "llm.c"
    name = "llm.c"
    hit = re.compile(r"^step\s+\d+/\d+\s*\| (?:train )?loss \S+")
    _line = re.compile(r"^step\s+(\d+)/(\d+)\s*\| ((?:train )?loss .*)")
    _val = re.compile(r"^val loss (\S+)$")
    _term = re.compile(r"^(train loss|loss|norm|lr) (\S+)")
    _speed = re.compile(r"(?<![\d.])([\d.]{1,30}) (ms|tok/s)")

    def parse(self, text: str) -> Record | None:
        """Return the record of a step or of an evaluation."""
        alone = self._val.match(text)
        if alone is not None:
            amount = value(alone[1])
            return None if amount is None else {"step": int(self.state.get("step") or 0), "val_loss": amount}
        found = self._line.match(text)
        if found is None:
            return None
        record: Record = {"step": int(found[1]), "total_steps": float(found[2])}
        for part in found[3].split("|"):
            term = self._term.match(part.strip())
            amount = value(term[2]) if term else None
            if term and amount is not None:
                record[{"norm": "grad_norm", "train loss": "loss"}.get(term[1], term[1])] = amount
        for number, unit in self._speed.findall(found[3]):
            pace = value(number)
            if pace:
                record |= {"tok/sec": pace} if unit == "tok/s" else {"time_ms": pace, "steps_per_sec": 1000 / pace}
        self.state["step"] = int(found[1])
        return record
