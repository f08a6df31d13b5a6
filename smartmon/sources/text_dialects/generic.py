"""Lines of nobody in particular that name a step and a loss: `Epoch 3/10 loss: 0.5`, `step=100 loss=2.3 lr=1e-4`."""

from __future__ import annotations

import re

from smartmon.sources.text_dialects.bars import through_epochs
from smartmon.sources.text_dialects.base import NUMBER, Dialect, Record, plain, value

_LONGEST = 2000
_STEP_WORD = r"(?:global[_ ]?step|train[_ ]?step|iter(?:ation)?s?|steps?|num_updates|epochs?|batch(?:es)?)"
_GAP = r"[\"']?\s{0,4}"
_STEP = re.compile(
    rf"({_STEP_WORD}){_GAP}[:=#]?\s{{0,9}}[\[(\"']?\s{{0,9}}(\d+(?:\.\d+)?)(?![\w.])(?:\s{{0,4}}(?:/|of)\s{{0,9}}(\d+))?"
)
_WITHIN = re.compile(r"\[\s{0,9}(\d+)/(\d+)\b")
_NAME = r"[a-z_][\w/.%]{0,80}"
_PAIR = re.compile(
    rf"(?<![\w/.%])({_NAME}(?: {_NAME}){{0,3}})(?: ?\([^()]{{0,20}}\))?{_GAP}([:=])"
    rf"\s{{0,9}}[\"']?({NUMBER})(?![\w:]*[:/]\w)"
)
_SPACED = re.compile(
    rf"((?:\b(?:train(?:ing)?|val(?:id(?:ation)?)?|eval|test|total|avg)[ _]?)?\bloss)\s{{1,9}}({NUMBER})\b"
)
_COUNTERS = ("global_step", "step", "iteration", "iter", "batch")
"""What counts steps, best first, where a line names several."""
_LOSSES = ("loss", "reward", "perplexity", "ppl", "nll", "bpb")
_ELSE = re.compile(r"(?:packet|frame|path|stop|win|heat|power|hair|blood)s?[_/]loss(?:es)?")
"""What is lost elsewhere than in training."""
_LEVELS = re.compile(r"^(?:(?:info|debug|warning|warn|error|root|main|rank) )+")
_TURNED = {"loss_train": "train_loss", "loss_val": "val_loss", "loss_valid": "val_loss", "loss_eval": "val_loss"}
_WORDS = {
    "globalstep": "global_step",
    "train_step": "step",
    "num_updates": "step",
    "steps": "step",
    "iters": "iter",
    "iterations": "iteration",
    "epochs": "epoch",
    "batches": "batch",
}


class Generic(Dialect):
    """The careful fallback: a line counts only if it has a step, an iteration, a batch or an epoch, and a loss."""

    key = "generic"
    name = "lines with a step and a loss"
    hit = re.compile(r"loss|reward|perplexity|ppl|nll|bpb", re.IGNORECASE)

    @classmethod
    def says(cls, text: str) -> bool:
        """Whether the line names a step and a loss."""
        return cls().parse(text) is not None

    def parse(self, text: str) -> Record | None:
        """Return the record of a line that names a step and a loss."""
        text = text[:_LONGEST].lower()
        if not any(word in text for word in _LOSSES):
            return None
        counters, inner = self._counters(text)
        if not counters:
            return None
        record: Record = {}
        for name, sign, number in _PAIR.findall(text):
            # `INFO step=3`: before an equals sign stands one word, before a colon there may be several.
            key = plain(_LEVELS.sub("", name) if sign == ":" else name.rpartition(" ")[2])
            if key not in _WORDS and key not in counters and (amount := value(number)) is not None:
                record.setdefault(_TURNED.get(key, key), amount)
        for name, number in _SPACED.findall(text) if "loss " in text else ():
            if (amount := value(number)) is not None:
                record.setdefault(plain(name), amount)
        if not any(word in key for key in record if not _ELSE.fullmatch(key) for word in _LOSSES):
            return None
        return record | self._step(counters, inner)

    def _counters(self, text: str) -> tuple[dict[str, tuple[float, int]], tuple[int, int] | None]:
        """Return what counts on this line (`epoch`, `step`, ...) with its total, and the place within an epoch."""
        counters: dict[str, tuple[float, int]] = {}
        inner = None
        for found in _STEP.finditer(text):
            before = text[found.start() - 1 : found.start()]
            if before.isalnum() or before in ("_", "/"):
                continue
            word = plain(found[1])
            counters.setdefault(_WORDS.get(word, word), (float(found[2]), int(found[3] or 0)))
            if word.startswith("epoch") and inner is None:
                within = _WITHIN.match(text[found.end() : found.end() + 24].lstrip(" ]):,"))
                inner = (int(within[1]), int(within[2])) if within else None
        return counters, inner

    def _step(self, counters: dict[str, tuple[float, int]], inner: tuple[int, int] | None) -> Record:
        epoch, epochs = counters.get("epoch", (None, 0))
        result: Record = {} if epoch is None else {"epoch": epoch}
        name = next((name for name in _COUNTERS if name in counters), None)
        number, total = counters[name] if name else inner or (None, 0)
        if number is None:
            if "step" in self.state:
                return result | {"step": self.state["step"]}  # it counts steps: an epoch's line belongs to the last one
            return result | {"step": int(epoch or 0)} | ({"total_steps": float(epochs)} if epochs else {})
        if epoch is None or not total or not epoch.is_integer():
            self.state["step"] = int(number)
            return result | {"step": int(number)} | ({"total_steps": float(total)} if total else {})
        self.state["step"] = through_epochs(self.state, int(epoch), int(number), total)
        return result | {"step": self.state["step"]}
