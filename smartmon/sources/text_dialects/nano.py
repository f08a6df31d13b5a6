"""The lines of nanoGPT, of nanochat, and of the many scripts that began as copies of them."""

from __future__ import annotations

import re
from typing import ClassVar

from smartmon.sources.text_dialects.base import NUMBER, Dialect, Record, plain, value

_PAIR = re.compile(rf"(?<![\w/])([A-Za-z][\w/]{{0,60}}(?: [\w/]{{1,60}}){{0,5}}?)[ :=]{{1,9}}({NUMBER})")


class NanoGPT(Dialect):
    """`iter 12: loss 2.5, time 123.00ms, mfu 41.20%` and `step 250: train loss 2.1, val loss 2.2`.

    The training loss of a `step` line is an estimate over many batches, made when evaluating: it is kept apart.
    """

    key = "nanogpt"
    name = "nanoGPT"
    hit = re.compile(rf"(?:^|[\s\]>):])(?:iter \d+: loss {NUMBER}, time|step \d+: train loss {NUMBER}, val loss )")
    _line = re.compile(r"(?:^|[\s\]>):])(iter|step) (\d+): ((?:train )?loss .*)")

    def parse(self, text: str) -> Record | None:
        """Return the record of an iteration or of an evaluation."""
        found = self._line.search(text)
        if found is None:
            return None
        record: Record = {"step": int(found[2])}
        for name, number in _PAIR.findall(found[3]):
            key, amount = plain(name), value(number)
            if amount is not None:
                record[key] = amount
        if found[1] == "step" and "train_loss" in record:
            record["eval_train_loss"] = record.pop("train_loss")
        if (mfu := record.get("mfu")) is not None and isinstance(mfu, float) and mfu < 0:
            del record["mfu"]  # printed as -100 % until it is known
        pace = record.pop("time", None)
        if isinstance(pace, float) and pace > 0:
            record |= {"time_ms": pace, "steps_per_sec": 1000 / pace}
        return record if len(record) > 1 else None


class Nanochat(Dialect):
    """`step 00007/00100 (7.00%) | loss: 2.1 | lrm: 1.00 | ...` and `Step 00007 | Validation bpb: 0.8123`.

    The loss is the trainer's own moving average, not that of one step. Times keep the unit they are printed in.
    """

    key = "nanochat"
    name = "nanochat"
    hit = re.compile(
        r"(?:^|[\s\]>):])[Ss]tep \d+(?:/\d+)?(?: \([\d.]+%\))? \| "
        r"(?:(?:Training |Validation )?loss: |Validation bpb: |CORE metric: |Average reward: |Pass@1: |.*\| loss: )"
    )
    _line = re.compile(r"(?:^|[\s\]>):])[Ss]tep (\d+)(?:/(\d+))?(?: \([\d.]+%\))? \|(.*)")
    _names: ClassVar = {
        "validation_bpb": "val_bpb",
        "average_reward": "reward",
        "average_sequence_length": "sequence_length",
    }
    _units: ClassVar = {"dt": "dt_ms", "total_time": "total_time_min"}

    def parse(self, text: str) -> Record | None:
        """Return the record of a step or of an evaluation."""
        found = self._line.search(text)
        if found is None:
            return None
        record: Record = {"step": int(found[1])}
        for part in found[3].replace(", ", " | ").split("|"):
            name, colon, number = part.partition(":")
            key, amount = plain(name), value(number.strip()) if colon else None
            if key and key != "eta" and amount is not None:
                record[self._names.get(key) or self._units.get(key) or key] = amount
        if len(record) == 1:
            return None
        if found[2]:
            record["total_steps"] = float(found[2])
        return record
