"""What the Hugging Face Trainer prints: one dict of metrics per log, between the redrawings of a progress bar.

The dict has no step. The bar that follows it is exact, for `tqdm.write` draws it anew; the one before may lag a few
steps behind. So a dict waits for the bar after it, if there are bars at all. Several dicts without a bar between them
mean that stdout goes through a buffer and the bar does not: they are then spread evenly over the steps between the
last known one and the bar.

What this gets wrong: steps of buffered output, by up to one logging interval; bars whose total is that of the
evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from smartmon.sources.text_dialects.base import Dialect, Logged, Record, State, Written, value, written

_PAIR = re.compile(r"'([^']{1,200})': (?:'([^']*)'|(tensor\([^)]*\)|[^\s,'{}\[\]]+))")
_TOKEN = re.compile(r"(\{'[^{}]{0,8000}\})|(: )? {0,3}\d{1,3}%\|[^|{}]{0,300}\|\s*(\d+)/(\d+) \[")
_BAR_END = re.compile(r"(?:it/s|s/it)(?:, [^\]]*)?\]")
_EPOCHS = re.compile(r"Num Epochs = ([\d,]+)")
_STEPS = re.compile(r"Total (?:optimization )?steps = ([\d,]+)")
_STEP_KEYS = ("step", "global_step", "global_step/max_steps", "iteration", "current_steps")
_USUAL = ("loss", "reward", "train_runtime")
_HELD, _HELD_CHARS = 200, 65536
_CUT = 4000


class HuggingFace(Dialect):
    """Versions 4 (numbers, bare `nan`) and 5 (strings of four digits), axolotl's `debug.log`, TRL, ms-swift."""

    key = "huggingface"
    name = "Hugging Face Trainer"
    hit = re.compile(
        r"\{(?=[^{}]*'epoch': )(?=[^{}]*'(?:[\w/]*loss|reward|learning_rate)': )(?![^{}]*'train_runtime')[^{}]*\}"
    )

    def line(self, text: str, end: int) -> list[Logged]:
        """Return the records whose step this line settles."""
        if "%|" not in text and "{'" not in text and "}" not in text:
            self._banner(text)
            return []
        text = self._mended(text)
        found: list[Logged] = []
        for token in _TOKEN.finditer(text):
            if token[1]:
                found += self._dict(token[1], end, written(text))
            elif not token[2]:
                found += self._bar(int(token[3]), int(token[4]))
        return found

    def listen(self, text: str) -> None:
        """Take note of bars and banners before the first dict."""
        if "%|" not in text:
            self._banner(text)
        for token in _TOKEN.finditer(text) if "%|" in text else ():
            if not token[1] and not token[2]:
                self._bar(int(token[3]), int(token[4]))

    def flush(self) -> list[Logged]:
        """Give the waiting dicts the bar before them."""
        return list(self._settle(None))

    def _banner(self, text: str) -> None:
        """Learn from `Num Epochs = 3` and `Total optimization steps = 375` how many steps make an epoch."""
        if " = " not in text:
            return
        for key, pattern in (("epochs", _EPOCHS), ("total", _STEPS)):
            if (found := pattern.search(text)) and (amount := value(found[1])):
                self.state[key] = int(amount)

    def _mended(self, text: str) -> str:
        """Join a dict that bars were drawn into: a buffer of stdout ends anywhere, also within a dict."""
        opened, closed = text.rfind("{'"), text.find("}")
        cut = self.state.get("cut")
        if cut and closed >= 0 and (text.find("{'") < 0 or closed < text.find("{'")):
            bars = [bar.end() for bar in _BAR_END.finditer(text, 0, closed)]
            begin = bars[-1] if bars else 0
            self.state["cut"] = None
            text = text[:begin] + cut + text[begin:]
        elif opened >= 0 and text.find("}", opened) < 0:
            self.state["cut"] = text[opened : opened + _CUT]
        return text

    def _bar(self, step: int, total: int) -> list[Logged]:
        main = self.state.get("main")
        if main is not None and total != main:
            self.state["other"] = [step, total]
            return []
        self.state |= {"bar": [step, total], "drawn": True, "other": None, "doubt": 0}
        return list(self._settle(step)) if self.state.get("held") else []

    def _dict(self, text: str, end: int, at: Written | None) -> list[Logged]:
        record = record_of(text)
        if record is None:
            return []
        state = self.state
        held = state.setdefault("held", [])
        if "loss" in record and state.get("bar"):
            self._choose_bar()
        if any(key in record for key in _STEP_KEYS):
            return [Logged(record, end, at)]
        if state.get("bar") and (held or state.get("drawn")):
            held.append([text, end, at and [at.at, at.zoned]])
            over = "train_runtime" in record  # no bar moves after that
            if not over and len(held) < _HELD and sum(len(each[0]) for each in held) < _HELD_CHARS:
                return []
            return list(self._settle(None))
        return [Logged(self._placed(record, self._unbarred(record)), end, at)]

    def _choose_bar(self) -> None:
        """Take the last bar before the first training dict for the run's; another once only that one is drawn."""
        state = self.state
        state["main"] = state["bar"][1]
        if other := state.get("other"):
            state["doubt"] = int(state.get("doubt") or 0) + 1
            if state["doubt"] > 1:
                state |= {"bar": other, "main": other[1], "other": None, "doubt": 0, "drawn": True}

    def _settle(self, bar: int | None) -> Iterator[Logged]:
        """Give steps to the dicts that waited, now that the bar has been drawn again."""
        held, state = self.state.get("held") or [], self.state
        if not held:
            return
        state |= {"held": [], "drawn": bar is not None}
        records = [record_of(text) or {} for text, _, _ in held]
        step = state["bar"][0] if bar is None and state.get("bar") else bar or 0
        steps = [step] if len(held) == 1 else spread(records, int(state.get("step") or 0), step)
        for record, found, (_, end, at) in zip(records, steps, held):
            yield Logged(self._placed(record, found), end, Written(*at) if at else None)

    def _placed(self, record: Record, step: int) -> Record:
        self.state["step"] = step
        total = self.state.get("main") or self.state.get("total")
        record = record | {"step": step}
        return record | {"total_steps": float(total)} if total and "train_runtime" not in record else record

    def _unbarred(self, record: Record) -> int:
        """Return the step of a dict that no bar tells about: by its epoch, else how many were logged before it."""
        epoch, state = record.get("epoch"), self.state
        bar, last = state.get("bar"), int(state.get("step") or 0)
        if "loss" not in record:
            return max(last, bar[0]) if bar and bar[0] >= last else last
        if (pace := _pace(state)) and isinstance(epoch, float):
            return round(epoch * pace)
        if bar:
            return last + 1
        state["index"] = int(state.get("index", -1)) + 1
        return int(state["index"])


def record_of(text: str) -> Record | None:
    """Return the pairs of a printed dict, or None where it logs nothing. Bare `nan`, strings and tensors are read."""
    record: Record = {}
    for key, quoted, bare in _PAIR.findall(text):
        amount = value(bare or quoted)
        if quoted and (amount is None or ":" in quoted or "/" in quoted):
            record[key] = quoted  # `0:32:48`, `37/1000`
        elif amount is not None:
            record[key] = amount
    usual = any(key.rpartition("/")[2].endswith(_USUAL) and type(record[key]) is float for key in record)
    return record if usual or ("epoch" in record and any(key.startswith("eval_") for key in record)) else None


def spread(records: list[Record], last: int, step: int) -> list[int]:
    """Return the steps of records that were printed together while the bar went from `last` to `step`.

    Training is logged at even steps, and the bar may have gone on since the last of them: whole intervals are counted
    from `last`, and what remains is left for the next time. An evaluation is of the step of the training before it.
    """
    start = last if last <= step else 0
    total = sum("loss" in record for record in records)
    interval = (step - start) // max(1, total)
    steps, done = [], 0
    for record in records:
        done += "loss" in record
        steps.append(start + (done * interval or (step - start) * done // max(1, total)))
    if "train_runtime" in records[-1]:
        steps[-1] = step
    return steps


def _pace(state: State) -> float | None:
    """Return the steps of an epoch, where the trainer has told both totals."""
    total, epochs = state.get("total"), state.get("epochs")
    return total / epochs if total and epochs else None
