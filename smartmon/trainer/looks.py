"""When a callback looks at what the model answers, and at which rows. Only the first process does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smartmon.trainer.writer import StatusWriter


@dataclass(frozen=True)
class LookSettings:
    """How often the model is asked, and what that may cost; as `SmartmonCallback` takes them."""

    steps: int = 50
    tokens: int = 128
    limit: float = 10.0
    share: float = 0.05
    samples: Sequence[Any] | None = None


class Looks:
    """Builds the collector once there are rows to look at: those of the evaluation, else of the training."""

    def __init__(self, settings: LookSettings, tokenizer: Any, writer: StatusWriter) -> None:
        self._settings, self._tokenizer, self._writer = settings, tokenizer, writer
        self._collector: Any = None
        self.off = settings.steps <= 0 or tokenizer is None

    def ready(self, rows: Callable[[], Any]) -> bool:
        """Whether there is a collector; `rows` returns a dataset to take samples from, or None as long as none is."""
        if self._collector is not None or self.off:
            return not self.off
        samples: Any = self._settings.samples
        if samples is None:
            dataset = rows()
            if dataset is None:
                return False
            from smartmon.trainer.detail import samples_from

            samples = samples_from(dataset, self._tokenizer)
        if not samples:
            self.off = True  # rows without a golden answer: an iterable dataset, or not one of a language model
            return False
        from smartmon.trainer.detail import DetailCollector

        asked = self._settings
        self._collector = DetailCollector(
            self._tokenizer,
            samples,
            lambda record, done: self._writer.detail(record, done=done),
            every=asked.steps,
            max_tokens=asked.tokens,
            limit=asked.limit,
            share=asked.share,
        )
        return True

    def due(self, step: int, *, evaluated: bool) -> bool:
        """Whether to look now; to be asked at each step."""
        return bool(self._collector.due(step, evaluated=evaluated))

    def look(self, model: Any, step: int, facts: Mapping[str, Any]) -> None:
        """Ask the model, and show what it says."""
        self._collector.collect(model, step, **facts)
        if shown := self._collector.status():
            self._writer.update(**shown)
