"""What a training is fed: the rows of its settings, split for evaluation, and how they are laid out for the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import UsageError
from smartmon.trainer.data import Collator, Corpus, Rows, Table, read_rows, split
from smartmon.trainer.packing import decide, pack, pack_length
from smartmon.trainer.settings import TrainSettings


class Feed:
    """The rows of one training."""

    def __init__(
        self,
        settings: TrainSettings,
        tokenizer: Any,
        max_length: int,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Read the datasets; `progress` is told how many rows it has got to.

        Raises DataError for rows that cannot be used, UsageError for settings that contradict each other.
        """
        self._settings, self._max_length, self._progress = settings, max_length, progress
        self.tokenizer = tokenizer
        """With the chat template that the rows were read by, also where it had none of its own."""
        corpus = self._read(settings.dataset)
        # Its lines have a name of up to ten columns before each.
        self.summary = [f"{line[:10].strip()}: {line[10:]}".removeprefix(": ") for line in corpus.summary()]
        """Lines for people about what was read."""
        self.evaluation: Table | None = None
        """Rows to evaluate on; None where there are none."""
        self.rows: Table = corpus.rows
        """Rows to train on."""
        self._split()
        self.longest = max(self.rows.lengths())
        """Tokens of the longest row."""
        self.batch_size = settings.batch_size
        """What a device takes at once: rows, or packs of them."""
        self.train = Rows(self.rows)
        self.collator = Collator(tokenizer.pad_token_id)
        self.decision = ""

    def _split(self) -> None:
        settings, found = self._settings, None
        if settings.eval_steps and settings.eval_dataset is not None:
            found = self._read(settings.eval_dataset).rows
        elif settings.eval_steps:
            self.rows, found = split(self.rows, settings.eval_fraction, settings.seed)
        self.evaluation = found if found is not None and len(found) else None
        if self.evaluation is None and settings.early_stopping is not None:
            raise UsageError(
                "early stopping goes by evaluations, and there are none; give --eval-dataset, or an --eval-fraction "
                "and --eval-steps above 0"
            )

    @property
    def eval_rows(self) -> Rows | None:
        """The rows to evaluate on, as the Trainer takes them."""
        return None if self.evaluation is None else Rows(self.evaluation)

    def arrange(self, model: Any) -> None:
        """Decide whether the rows are packed, which takes a look at how the model treats packs."""
        settings = self._settings
        packed, self.decision = decide(settings.packing, self.rows, settings.batch_size, model, seed=settings.seed)
        if packed:
            length = pack_length(self.rows, settings.batch_size)
            self.train = Rows(self.rows, pack(self.rows, length, settings.seed))
            self.batch_size = 1

    def plan(self, total: int, world_size: int) -> str:
        """Say in one line what the steps are made of."""
        settings = self._settings
        each = f"{self.batch_size} row{'s' if self.batch_size > 1 else ''}"
        if self.train.packs is not None:
            each = f"a pack of about {len(self.rows) / len(self.train):.0f} rows"
        each += f" x {settings.grad_accum} batches" if settings.grad_accum > 1 else ""
        each += f" x {world_size} processes" if world_size > 1 else ""
        evaluated = 0 if self.evaluation is None else len(self.evaluation)
        return (
            f"{text.count(total)}, each of {each}; "
            f"{text.count(len(self.rows))} row{'' if len(self.rows) == 1 else 's'} to train on, "
            f"{text.count(evaluated)} to evaluate on"
        )

    def _read(self, path: Path) -> Corpus:
        return read_rows(
            path,
            self.tokenizer,
            max_length=self._max_length,
            system_prompt=self._settings.system_prompt,
            assistant_only=self._settings.assistant_only,
            strict=self._settings.strict,
            progress=self._progress,
        )
