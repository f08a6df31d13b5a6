"""How fast a training goes, and what its forward passes tell: token accuracy, tokens, rows, a loss that is NaN."""

from __future__ import annotations

import contextlib
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

_ROWS = 50
"""Rows that the remaining time is estimated from: evaluations among them are part of the pace."""
_FOLD = 64
"""Values that are kept one by one before they are added up; each is a tensor of its own."""
_WAITING = 16
"""Passes that wait to be added up; each keeps its mask."""
_IN_PLACE = re.compile("MaskedLM|TokenClassification|Encoder", re.IGNORECASE)
"""Models whose output at a place is about that place, not the next one."""


class Pace:
    """Steps a second between two rows, and the seconds that remain at the pace of the last rows."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._spans: deque[tuple[int, float]] = deque(maxlen=_ROWS)

    def row(self, step: int, at: float) -> float | None:
        """Return the steps a second since the last row; None for the first one, and where a run went back."""
        last, self._last = self._last, (step, at)
        if last is None:
            return None
        if step <= last[0] or at <= last[1]:
            if step < last[0]:
                self._spans.clear()
            return None
        self._spans.append((step - last[0], at - last[1]))
        return (step - last[0]) / (at - last[1])

    def aside(self, seconds: float) -> None:
        """Leave out a time in which nothing was to be done: a pause."""
        if self._last is not None:
            self._last = (self._last[0], self._last[1] + seconds)

    def remaining(self, steps: int) -> float | None:
        """Return the seconds that so many more steps will take."""
        done = sum(span[0] for span in self._spans)
        return max(0, steps) * sum(span[1] for span in self._spans) / done if done else None


@dataclass(frozen=True)
class Totals:
    """What forward passes came to: sums, of this process or of all."""

    loss: float = 0.0
    losses: float = 0.0
    matches: float = 0.0
    """Trained tokens that the model found the likeliest."""
    targets: float = 0.0
    tokens: float = 0.0
    """Tokens that are no padding."""
    rows: float = 0.0
    aux: float = 0.0
    auxes: float = 0.0

    def values(self) -> list[float]:
        """Return the sums in order, to be added to those of other processes."""
        return list(astuple(self))

    @property
    def accuracy(self) -> float | None:
        """Share of the trained tokens that were the likeliest, in percent."""
        return 100 * self.matches / self.targets if self.targets else None


class Sums:
    """Adds up scalars that stay on their device: nothing waits for a GPU before `read`."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Any]] = {}
        self._numbers: dict[str, float] = {}
        self._passes: list[tuple[Any, Any, Any, Any]] = []

    def passed(self, loss: Any, shape: Any, mask: Any, places: Any) -> None:
        """Note a forward pass: its detached loss, the shape of its ids, its attention mask and position ids, or None.

        They are added up a few passes later, together: by then a hook would pay three times as much for each of them.
        """
        self._passes.append((loss, shape, mask, places))
        if len(self._passes) >= _WAITING:
            self._settle()

    def _settle(self) -> None:
        for loss, shape, mask, places in self._passes:
            if loss is not None:
                self.add(loss=loss if loss.dim() == 0 else loss.mean(), losses=1)
            if shape is not None:
                packed = mask is None and places is not None and shape[0] == 1
                self.add(tokens=mask.sum() if mask is not None else shape.numel())
                self.add(rows=places.eq(0).sum() if packed else shape[0])
        self._passes.clear()

    def add(self, **values: Any) -> None:
        """Add numbers, and tensors of one element."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._numbers[name] = self._numbers.get(name, 0.0) + value
                continue
            kept = self._kept.setdefault(name, [])
            kept.append(value)
            if len(kept) >= _FOLD:
                kept[:] = [_total(kept)]

    def read(self) -> Totals:
        """Return the sums so far; this waits for the GPU."""
        self._settle()
        tensors = {name: float(_total(kept)) for name, kept in self._kept.items() if kept}
        return Totals(**(self._numbers | {k: v + self._numbers.get(k, 0.0) for k, v in tensors.items()}))

    def forget(self) -> None:
        """Begin anew, without a look at what there was."""
        self._kept, self._numbers, self._passes = {}, {}, []

    def drain(self) -> Totals:
        """Return the sums and begin anew."""
        found = self.read()
        self._kept, self._numbers = {}, {}
        return found


class Meter:
    """A forward hook that adds up what each pass tells, without waiting for it.

    The loss of every pass is added up: Hugging Face shows a NaN loss as 0.0 by default, and a sum with a NaN in it is
    NaN. Tokens are compared where `comparing` is set, and in every pass of an evaluation.
    """

    def __init__(self, model: Any, *, compiled: bool = False) -> None:
        """`compiled`: whether the model is, or will be, compiled with its hooks."""
        self.comparing = False
        self.off = False
        """Set while somebody else uses the model."""
        self.problem: Exception | None = None
        """What went wrong in the hook, which then does nothing any more."""
        self.training, self.evaluation = Sums(), Sums()
        self._learning: Callable[[], bool] = sys.modules["torch"].is_grad_enabled
        self._compiled = compiled or hasattr(model, "_orig_mod") or bool(getattr(model, "_compiled_call_impl", None))
        self._shift = 0 if in_place(model) else 1
        hook = _undisturbed(self._seen) if compiled else self._seen
        self._handle = model.register_forward_hook(hook, with_kwargs=True)

    def close(self) -> None:
        """Take the hook off the model."""
        with contextlib.suppress(Exception):
            self._handle.remove()

    def _seen(self, module: Any, _given: Any, inputs: Mapping[str, Any], output: Any) -> None:
        if self.off:
            return
        try:
            training = module.training
            if inputs.get("labels") is None and not (training and self._learning()):
                return  # an answer that is generated, or a reference that is asked: TRL does both while it trains
            sums = self.training if training else self.evaluation
            loss, ids = _of(output, "loss"), inputs.get("input_ids")
            sums.passed(
                # One of a CUDA graph is written over by the next pass.
                None if loss is None else loss.detach().clone() if self._compiled else loss.detach(),
                None if ids is None else ids.shape,
                _flat(inputs.get("attention_mask")),
                _flat(inputs.get("position_ids")),
            )
            if self.comparing or not training:
                self._compare(sums, inputs, output)
        except Exception as problem:  # noqa: BLE001 - somebody else's model and batch
            self.problem, self.off = problem, True

    def _compare(self, sums: Sums, inputs: Mapping[str, Any], output: Any) -> None:
        logits = _of(output, "logits")
        if (aux := _of(output, "aux_loss")) is not None:
            sums.add(aux=aux.detach(), auxes=1)
        labels, shift = inputs.get("labels"), self._shift
        if inputs.get("shift_labels") is not None:
            labels, shift = inputs["shift_labels"], 0
        # Fused losses give no logits, and some models only those of the last tokens.
        if labels is None or logits is None or logits.dim() != 3 or logits.shape[:-1] != labels.shape:
            return
        length = labels.shape[1]
        wanted = labels[:, shift:].to(logits.device)
        # Where nothing is to be learned the label is -100.
        learned = wanted >= 0
        right = _likeliest(logits.detach()[:, : length - shift], wanted)
        sums.add(matches=(right & learned).sum(), targets=learned.sum())


def is_language_model(model: Any) -> bool:
    """Whether the model's loss is that of the next word, or a hidden one: then e to its power means something."""
    return bool(re.search("LM|ConditionalGeneration", type(_inner(model)).__name__))


def in_place(model: Any) -> bool:
    """Whether the model's output at a place is about that place: it then compares with labels as they stand."""
    inner = _inner(model)
    config = getattr(inner, "config", None)
    return bool(getattr(config, "is_encoder_decoder", False) or _IN_PLACE.search(type(inner).__name__))


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _undisturbed(hook: Any) -> Any:
    """Keep `torch.compile` from compiling the hook into the model, where what it counts would be frozen."""
    import torch

    return torch.compiler.disable(hook) if hasattr(torch, "compiler") else hook


def _likeliest(logits: Any, wanted: Any) -> Any:
    """Return where the wanted token has the highest logit.

    To compare it with the maximum takes a CPU a tenth of the time of an argmax; but in half precision several tokens
    are often equally high, and only one of them would be said.
    """
    if logits.element_size() < 4:
        return logits.argmax(-1) == wanted
    own = logits.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return own >= logits.amax(-1)


def _flat(given: Any) -> Any:
    """Return a mask or position ids with a number for each token. Others are huge, or several, and are not kept."""
    return given if getattr(given, "ndim", 0) == 2 else None


def _of(output: Any, name: str) -> Any:
    return output.get(name) if type(output) is dict else getattr(output, name, None)


def _total(values: list[Any]) -> Any:
    import torch

    return torch.stack([value.to(values[-1].device, torch.float32) for value in values]).sum()
