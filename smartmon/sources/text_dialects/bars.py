"""Losses that stand inside of progress bars: tqdm's postfix (Lightning too), and Keras."""

from __future__ import annotations

import re

from smartmon.sources.text_dialects.base import NUMBER, Dialect, Record, State, value


class Tqdm(Dialect):
    """`Epoch 2:  37%|###7      | 37/100 [00:05<00:09, 6.72it/s, loss=2.30]`.

    A bar is drawn when the loss is set and again when the step is counted: of two drawings in a row with the same
    values the second says nothing new. Bars of one epoch each count on through the epochs.
    """

    key = "tqdm"
    name = "progress bars (tqdm)"
    hit = re.compile(r"\d(?:/\d{1,15}|it) \[[^\]]{0,500}loss[\w/]*=[^\]]{0,500}\]")
    _bar = re.compile(r"(\d{1,15})(?:/(\d{1,15})|it) \[([^\]]{0,1000})\]")
    _pair = re.compile(r"([A-Za-z][\w/.()% -]*)=([^\s,\]]+)")
    _rate = re.compile(r"([\d.]+)(it/s|s/it)")
    _epoch = re.compile(r"\bepoch[ :=\[(]*(\d+)", re.IGNORECASE)

    def parse(self, text: str) -> Record | None:
        """Return the record of a bar that shows something new."""
        found = self._bar.search(text)
        if found is None or "loss" not in found[3]:
            return None
        clock, _, postfix = found[3].partition(", ")
        rate = self._rate.search(clock) or self._rate.match(postfix.lstrip())
        pairs = self._pair.findall(found[3])
        shown = " ".join(f"{name}={number}" for name, number in pairs)
        number, total, state = int(found[1]), int(found[2] or 0), self.state
        twice = state.get("shown") == shown and not state.get("repeated")
        state |= {"shown": shown[:1000], "repeated": twice}
        if twice:
            return None
        record: Record = {name.strip(): amount for name, each in pairs if (amount := value(each)) is not None}
        if not any("loss" in name for name in record):
            return None
        for placeholder in ("mfu", "v_num"):
            if (record.get(placeholder) in (-100.0, -1.0)) or placeholder == "v_num":
                record.pop(placeholder, None)
        if rate and (pace := value(rate[1])):
            record["steps_per_sec"] = pace if rate[2] == "it/s" else 1 / pace
        epoch = self._epoch.search(text, 0, found.start())
        if epoch and total:
            record |= {"step": through_epochs(state, int(epoch[1]), number, total), "epoch": float(epoch[1])}
        else:
            record["step"] = number
            if total:
                record["total_steps"] = float(total)
        return record


class Keras(Dialect):
    """`Epoch 3/10`, then `100/100 - 5s - 50ms/step - loss: 0.52 - val_loss: 0.61`.

    Within an epoch Keras shows running means; only the line that ends the epoch is a point.
    """

    key = "keras"
    name = "Keras"
    hit = re.compile(rf"^(\d+)/(\d+) (?:\[[=>.]+\]|[━\u2500-\u259f ]+|-) .*\bloss: {NUMBER}")
    header = re.compile(r"^Epoch (\d+)/(\d+)$")
    _pair = re.compile(rf"([A-Za-z_][\w/]*): ({NUMBER})")

    def parse(self, text: str) -> Record | None:
        """Return the record of an epoch's last line."""
        text = text.replace("\x08", "")
        header = self.header.match(text)
        if header is not None:
            self.state |= {"epoch": int(header[1]), "epochs": int(header[2])}
            return None
        found = self.hit.match(text)
        if found is None or found[1] != found[2]:
            return None
        epoch, epochs, size = int(self.state.get("epoch", 1)), int(self.state.get("epochs", 0)), int(found[2])
        record: Record = {"step": epoch * size, "epoch": float(epoch)}
        if epochs:
            record["total_steps"] = float(epochs * size)
        for name, number in self._pair.findall(text):
            amount = value(number)
            if amount is not None and name != "ETA":
                record[name] = amount
        return record


def through_epochs(state: State, epoch: int, number: int, size: int) -> int:
    """Return a step that goes on through the epochs: as it is where the trainer counts on by itself.

    Which of the two it is shows when the epoch changes for the first time: then the count falls back, or does not.
    """
    last = state.get("last")
    state.setdefault("first", min(epoch, 1) if epoch <= 1 else epoch)
    if state.get("falls") is None and last and epoch != last[0]:
        state["falls"] = number <= last[1]
    state["last"] = [epoch, number]
    if state.get("falls") is False:
        return number
    return max(0, epoch - int(state["first"])) * size + number
