"""Megatron-LM and Megatron-DeepSpeed: iteration lines and the lines of an evaluation."""

from __future__ import annotations

import math
import re

from smartmon.sources.text_dialects.base import Dialect, Record, count, value

_ITERATION = re.compile(r"iteration\s+(\d+)(?:/\s*(\d+))?\s*\|")
_VALIDATION = re.compile(r"validation loss at (?:iteration (\d+)|the end of training)([^|]*)\|")
_LOSSES = ("lm loss", "lm-loss", "loss")


class Megatron(Dialect):
    """A term of the loss is printed only if it is not NaN, so a NaN loss is a loss that is missing.

    The counts of NaN and of skipped iterations are of the interval since the last line, not of the run. An interval
    of skipped iterations alone (fp16 looking for its loss scale) averaged nothing: its loss is unknown, not NaN.
    """

    key = "megatron"
    name = "Megatron-LM"
    hit = re.compile(r"\biteration\s+\d+(?:/\s*\d+)?\s*\|.{0,600}\b(?:elapsed time per iteration|learning rate|loss)\b")

    def parse(self, text: str) -> Record | None:
        """Return the record of an iteration or of an evaluation."""
        if "iteration" not in text and "validation" not in text:
            return None
        evaluation = _VALIDATION.search(text)
        if evaluation is not None:
            return self._evaluation(evaluation, text)
        found = _ITERATION.search(text)
        if found is None:
            return None
        record = _terms(text[found.end() :])
        if not record:
            return None
        self._loss(record)
        self.state["step"] = int(found[1])
        pace = record.get("elapsed time per iteration (ms)")
        if isinstance(pace, float) and pace > 0:
            record["steps_per_sec"] = 1000 / pace
        if found[2]:
            record["total_steps"] = float(found[2])
        return {"step": int(found[1])} | record

    def _loss(self, record: Record) -> None:
        """Put the loss under its usual name, and NaN where it vanished."""
        name = next((name for name in _LOSSES if name in record), None)
        skipped, bad = record.get("number of skipped iterations"), record.get("number of nan iterations")
        if name is not None:
            loss = record.pop(name)
            self.state["loss"] = True
            if loss or not skipped:
                record["lm loss"] = loss
        elif bad or (self.state.get("loss") and not skipped):
            record["lm loss"] = math.nan

    def _evaluation(self, found: re.Match[str], text: str) -> Record | None:
        step = int(found[1]) if found[1] else count(self.state, "step")
        kind = "test" if "test" in found[2] else "eval"
        names = {"lm loss value": "loss", "lm loss ppl": "perplexity"}
        terms = {names.get(key.lower(), key): term for key, term in _terms(text[found.end() :]).items()}
        return {"step": step} | {f"{kind}_{key}": term for key, term in terms.items()} if terms else None


def _terms(text: str) -> Record:
    record: Record = {}
    for part in text.split("|"):
        # Names hold brackets and slashes, and some a colon.
        name, colon, written = part.rpartition(":")
        if not colon:
            continue
        try:
            record[name.strip()] = float(written)
        except ValueError:
            if (number := value(written.strip())) is not None:
                record[name.strip()] = number
    return record
