"""Looks at what a model answers while it trains: the golden answer of a sample, and what it would say instead.

A look is greedy and draws no random number; it leaves the model's modes, the losses and the gradients as they would
have been. It can end between any two tokens, and looks together keep to a share of the training's time. Standard
library only: torch is asked for when a model is there.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smartmon.trainer import decoding
from smartmon.trainer.compare import compare, exact
from smartmon.trainer.samples import Sample, samples_from

__all__ = ["DetailCollector", "Sample", "samples_from"]

Publish = Callable[[Mapping[str, Any], bool], None]

_REFRESH = 0.25
"""Seconds between two versions of an answer that is being generated."""
_GIVE_UP = 3
"""Looks in a row that fail before there are no more: one that runs out of memory costs time each time."""
_EXAMPLES = 5
_PACKED = ("Linear4bit",)
"""Layers whose mode stays: in evaluation, some of bitsandbytes' pack their weights on a CPU and lose the gradient."""


@dataclass
class _Look:
    """One look, as far as it got."""

    sample: Sample
    golden: tuple[int, ...]
    record: dict[str, Any]
    begun: float
    golden_text: list[str] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    ended: str = ""
    """Why the answer ended: `end` as the model wanted, `length`, `time` or `error`; nothing while it comes."""


class DetailCollector:
    """Asks the model one sample after another, and publishes the answer while it comes and when it is there.

    `every` (steps; 0 never looks), `max_tokens` of an answer, `limit` (seconds a look may take) and `share` (of the
    training's time) bound what it costs. `publish(record, done)` gets each version of a record.
    """

    def __init__(
        self,
        tokenizer: Any,
        samples: Sequence[Sample],
        publish: Publish,
        *,
        every: int = 50,
        max_tokens: int = 128,
        limit: float = 10.0,
        share: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = 0.0
        """Seconds spent on looks in all."""
        self.looks = 0
        self.skipped = 0
        """Looks left out because those before took their share of the time."""
        self._tokenizer, self._samples, self._publish = tokenizer, list(samples), publish
        self._every, self._most, self._limit, self._share = every, max_tokens, limit, share
        self._clock = clock
        self._begun: float | None = None
        self._asked: int | None = None
        self._looked: int | None = None
        self._failed = 0
        self._examples: list[dict[str, Any]] = []

    def due(self, step: int, *, evaluated: bool = False) -> bool:
        """Return whether to look now: each `every` steps and after an evaluation, while the share of time allows.

        Call it at each step. The time of one long look (`limit`) is free, so that short trainings are looked at too;
        past that, what looks took is waited off.
        """
        now = self._clock()
        if self._begun is None:
            self._begun = now
        before = step - 1 if self._asked is None else self._asked
        self._asked = step
        if not self._samples or self._every <= 0 or self._failed >= _GIVE_UP or step == self._looked:
            return False
        if not evaluated and step // self._every <= before // self._every:
            return False
        if self.seconds > self._limit + self._share * (now - self._begun):
            self.skipped += 1
            return False
        return True

    def collect(self, model: Any, step: int, *, epoch: float | None = None, **facts: Any) -> dict[str, Any] | None:
        """Look at the next sample, and return the record; None where there is no sample.

        `facts` (`train_loss`, `eval_loss`, `learning_rate`, ...) go into the record as they are. Nothing is raised:
        what went wrong stands in the record as `error`.
        """
        if not self._samples:
            return None
        begun = self._clock()
        if self._begun is None:
            self._begun = begun
        look = self._begin(step, epoch, facts, begun)
        self._looked = step
        problem = ""
        try:
            self._ask(decoding.unwrapped(model), look)
        except Exception as error:  # noqa: BLE001 - a look must never end a training, whatever the model is
            problem = _told(error)
        if problem:
            # Only now, when the error holds no tensor any more.
            look.ended = look.ended or "error"
            _free_memory()
        self._failed = self._failed + 1 if problem else 0
        return self._end(look, problem)

    def status(self) -> dict[str, Any]:
        """Return the newest samples in the words of the status file, which `prediction_mismatch` goes by."""
        if not self._examples:
            return {}
        newest = self._examples[-1]
        return {
            "current_prompt": newest["prompt"],
            "golden_answer": newest["golden"],
            "model_answer": newest["model_output"],
            "answer_matches": newest["matches"],
            "recent_examples": list(self._examples),
        }

    def _begin(self, step: int, epoch: float | None, facts: Mapping[str, Any], begun: float) -> _Look:
        place = self.looks % len(self._samples)
        sample = self._samples[place]
        record = {
            "status": "training",
            "step": step,
            "epoch": epoch,
            "train_loss": None,
            "eval_loss": None,
            "learning_rate": None,
            "gpu_memory": _gpu_memory(),
            **facts,
            "sample_idx": place,
            "samples": len(self._samples),
            "row": sample.index,
        }
        return _Look(sample, sample.golden_ids, record, begun)

    def _ask(self, model: Any, look: _Look) -> None:
        look.record["prompt"] = self._prompt(look.sample)
        if decoding.is_sharded(model):
            raise RuntimeError("the model is sharded over the GPUs, and one process alone cannot ask it")
        stops = decoding.stop_ids(model, self._tokenizer)
        look.golden, closed = _until(look.sample.golden_ids, stops)
        look.golden_text = decoding.pieces(self._tokenizer, look.golden)
        with _undisturbed(model):
            # Without an end of its own an answer goes as far as the golden one; with one, it may ramble a little.
            most = min(self._most, 2 * len(look.golden) + 8 if closed else len(look.golden))
            self._say(look)
            refresh = look.begun + _REFRESH
            for token in decoding.tokens(model, look.sample.prompt_ids, most=most, stops=stops, choose=decoding.greedy):
                look.predicted.append(token)
                now = self._clock()
                if token in stops:
                    look.ended = "end"
                elif now - look.begun > self._limit:
                    look.ended = "time"
                    break
                elif now >= refresh:
                    refresh = now + _REFRESH
                    self._say(look)
            look.ended = look.ended or ("length" if closed or len(look.predicted) < len(look.golden) else "end")
            if self._clock() - look.begun < self._limit:
                look.record |= _teacher_forced(model, look.sample.prompt_ids, look.golden[: self._most])

    def _prompt(self, sample: Sample) -> dict[str, Any]:
        if sample.messages:
            return {"messages": [dict(message) for message in sample.messages]}
        return {"text": str(self._tokenizer.decode(list(sample.prompt_ids)))}

    def _say(self, look: _Look) -> None:
        self._publish(look.record | self._answer(look) | {"generating": True} | self._cost(look), False)

    def _answer(self, look: _Look) -> dict[str, Any]:
        """Return what is there of the answer, beside the golden one."""
        golden, predicted = (
            str(self._tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in (look.golden, look.predicted)
        )
        ended = look.ended == "end"
        texts = look.golden_text, decoding.pieces(self._tokenizer, look.predicted)
        said = compare(look.golden, look.predicted, *texts, ended=ended)
        same = exact(golden, predicted, ended=ended) if look.ended else None
        return {"golden": golden, "predicted": predicted, **said, "exact": same, "ended": look.ended or None}

    def _cost(self, look: _Look) -> dict[str, Any]:
        now = self._clock()
        spent, elapsed = self.seconds + now - look.begun, now - (self._begun or 0.0)
        return {
            "seconds": round(now - look.begun, 3),
            "share": round(spent / elapsed, 4) if elapsed > 0 else None,
            "looks": self.looks + 1,
            "skipped": self.skipped,
            "timestamp": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        }

    def _end(self, look: _Look, problem: str) -> dict[str, Any] | None:
        """Publish the whole record, and account for the time that it took."""
        record: dict[str, Any] = look.record
        try:
            if problem and self._failed >= _GIVE_UP:
                problem += f"; no more looks, as {_GIVE_UP} failed in a row"
            record = record | self._answer(look) | {"generating": False} | ({"error": problem} if problem else {})
            record |= self._cost(look)
            self._remember(record)
            self._publish(record, True)
        except Exception as error:  # noqa: BLE001 - see collect
            record = record | {"error": _told(error)}
        self.looks += 1
        self.seconds += self._clock() - look.begun
        return record

    def _remember(self, record: Mapping[str, Any]) -> None:
        loss, matches = record.get("golden_loss"), record.get("exact")
        if loss is None or not math.isfinite(loss) or matches is None:
            return
        prompt = record["prompt"]
        asked = prompt["messages"][-1]["content"] if prompt.get("messages") else prompt.get("text")
        told = {"golden": record["golden"], "model_output": record["predicted"], "matches": matches, "loss": loss}
        self._examples = [*self._examples[1 - _EXAMPLES :], {"step": record["step"], "prompt": asked, **told}]


def _until(golden: Sequence[int], stops: frozenset[int]) -> tuple[tuple[int, ...], bool]:
    """Return the golden ids up to the one that ends an answer, and whether there is one.

    Templates write more behind it, such as a line end, which no model is asked for.
    """
    place = next((place for place, token in enumerate(golden) if token in stops), None)
    return (tuple(golden), False) if place is None else (tuple(golden[: place + 1]), True)


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Have the model answer as it would in use, and leave no trace: each layer's mode, random numbers, autocast.

    In evaluation mode neither dropout nor gradient checkpointing is at work, so the cache can be.
    """
    import torch

    modes = [(module, module.training) for module in model.modules()]
    gpus = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    with torch.random.fork_rng(devices=gpus), _eagerly():
        try:
            for module, _ in modes:
                if type(module).__name__ not in _PACKED:
                    module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            # Weights that were cast here without a gradient must not be found again by a training step.
            torch.clear_autocast_cache()


def _eagerly() -> Any:
    """Return a context in which compiled models run as they are written: answers have a new shape at each token."""
    import torch

    stance = getattr(getattr(torch, "compiler", None), "set_stance", None)
    return stance("force_eager") if stance is not None else contextlib.nullcontext()


def _teacher_forced(model: Any, prompt: Sequence[int], golden: Sequence[int]) -> dict[str, Any]:
    """Return the mean loss (nats a token) of the golden answer, and the share of its tokens foreseen, in percent."""
    import torch

    ids = torch.tensor([[*prompt, *golden]], device=decoding.input_device(model))
    with torch.no_grad():
        extra = decoding.keywords(model, keep=len(golden) + 1, cache=False)
        logits = model(input_ids=ids, **extra).logits[0, -len(golden) - 1 : -1].float()
        wanted = ids[0, -len(golden) :].to(logits.device)
        loss = float(torch.nn.functional.cross_entropy(logits, wanted))
        foreseen = float((logits.argmax(-1) == wanted).float().mean())
    return {"golden_loss": loss, "golden_accuracy": round(100 * foreseen, 2)}


def _told(error: Exception) -> str:
    """Return an error in one line; running out of memory in words of our own."""
    if "OutOfMemory" in type(error).__name__:
        return "the GPU ran out of memory during this look; the training goes on"
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:500]


def _free_memory() -> None:
    """Give back what a failed look had allocated, so that the next step finds it."""
    import torch

    with contextlib.suppress(Exception):
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _gpu_memory() -> str | None:
    import torch

    with contextlib.suppress(Exception):
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            return f"{torch.cuda.memory_allocated() / 1e9:.2f}GB"
    return None
