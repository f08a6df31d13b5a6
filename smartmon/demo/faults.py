"""Real trouble for a real training: callbacks that spoil a step, so that what follows is the model's own doing.

For the demonstration and for tests. Each takes the first step it spoils, counted from 1 as logs count. The figures are
those of the task in `tiny`, at step 150 of a run that has come down to a loss of 0.15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

Batch = dict[str, Any]


class LearningRateFault(TrainerCallback):  # type: ignore[misc]
    """Multiplies the learning rate by `factor` for `steps` steps, in the optimizer and in the schedule.

    So the log shows it, as it would with a wrong schedule. A hundred times for one step: loss 6.7, and it comes back
    slowly; for three steps it does not come back.
    """

    def __init__(self, step: int, factor: float = 100.0, steps: int = 1) -> None:
        self.step, self.factor, self.steps = step, factor, steps

    def on_step_begin(
        self, _args: Any, state: Any, _control: Any, *, optimizer: Any, lr_scheduler: Any, **_kwargs: Any
    ) -> None:
        """Raise it before the first of the steps, and lower it after the last."""
        coming = state.global_step + 1
        if coming not in (self.step, self.step + self.steps):
            return
        factor = self.factor if coming == self.step else 1 / self.factor
        lr_scheduler.base_lrs = [rate * factor for rate in lr_scheduler.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= factor
        lr_scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # what the log says


class GarbageBatch(TrainerCallback):  # type: ignore[misc]
    """Puts a random token in place of every one of `steps` batches: one batch gives loss 7.3, and 0.23 a step later."""

    def __init__(self, step: int, steps: int = 1, *, seed: int = 0) -> None:
        self.steps, self.seed = range(step, step + steps), seed

    def on_train_begin(self, _args: Any, state: Any, _control: Any, *, model: Any, **_kwargs: Any) -> None:
        """Stand before the model's forward pass."""
        import torch

        noise = torch.Generator().manual_seed(self.seed)  # its own: the training's random numbers stay as they were
        size = model.config.vocab_size

        def spoil(batch: Batch) -> Batch:
            ids, labels = batch["input_ids"], batch["labels"]
            garbage = torch.randint(0, size, ids.shape, generator=noise).to(ids.device)
            return {**batch, "input_ids": garbage, "labels": garbage.where(labels != -100, labels)}

        _before_forward(model, state, self.steps, spoil)


class WrongLabels(TrainerCallback):  # type: ignore[misc]
    """Has each row of `steps` batches learn what stands in the next row, as a shuffled column does: loss 8 to 13."""

    def __init__(self, step: int, steps: int = 5) -> None:
        self.steps = range(step, step + steps)

    def on_train_begin(self, _args: Any, state: Any, _control: Any, *, model: Any, **_kwargs: Any) -> None:
        """Stand before the model's forward pass."""
        _before_forward(model, state, self.steps, lambda batch: {**batch, "labels": batch["labels"].roll(1, dims=0)})


class PoisonedBatch(TrainerCallback):  # type: ignore[misc]
    """Makes the loss of one batch NaN: so are its gradients, so are the weights after it, so is every later loss."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_begin(self, _args: Any, state: Any, _control: Any, *, model: Any, **_kwargs: Any) -> None:
        """Stand behind the model's forward pass."""

        def poison(module: Any, _words: Any, output: Any) -> None:
            if module.training and state.global_step + 1 == self.step:
                output.loss = output.loss * float("nan")

        model.register_forward_hook(poison)


def _before_forward(model: Any, state: Any, steps: range, spoil: Callable[[Batch], Batch]) -> None:
    def hook(module: Any, words: Any, batch: Batch) -> tuple[Any, Batch] | None:
        spoilt = module.training and state.global_step + 1 in steps
        return (words, spoil(batch)) if spoilt else None

    model.register_forward_pre_hook(hook, with_kwargs=True)
