"""The training of the demonstration, a process of its own: what `smartmon train` does, with trouble provoked in it.

Run: `python -m smartmon.demo.training FOLDER`. It builds the model and the data there, trains, and says on standard
output, one JSON object a line, when it provokes something. Whoever watches learns from the training's files alone.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from smartmon.demo import tiny
from smartmon.demo.faults import LearningRateFault, PoisonedBatch
from smartmon.demo.plan import Plan
from smartmon.errors import SmartmonError
from smartmon.trainer.run import train
from smartmon.trainer.settings import TrainSettings


class Herald(TrainerCallback):  # type: ignore[misc]
    """Says what is provoked at the moment it begins."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        """Speak up before the first step of each trouble."""
        step = state.global_step + 1
        if step in self.plan.troubles:
            tell(trouble=self.plan.troubles[step], step=step)


class Pace(TrainerCallback):  # type: ignore[misc]
    """Lets no step end sooner than `least` seconds after the one before.

    A model of real size takes longer by far. This one would save and delete quicker than any watcher can look.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self._last = 0.0

    def on_step_end(self, _args: Any, _state: Any, _control: Any, **_kwargs: Any) -> None:
        """Wait for what is left of the time."""
        time.sleep(max(0.0, min(self.least, self._last + self.least - time.monotonic())))
        self._last = time.monotonic()


def tell(**facts: Any) -> None:
    """Write one line for whoever started this process."""
    print(json.dumps({"at": time.time(), **facts}), flush=True)


def main(folder: Path) -> int:
    """Play the training's part in `folder`, and return its exit code."""
    plan = Plan()
    tiny.build_model(folder / "model", hidden=plan.hidden, layers=plan.layers)
    tiny.write_dataset(folder / "data.jsonl", plan.rows)
    troubles = [LearningRateFault(plan.too_fast, 100, plan.too_fast_steps), PoisonedBatch(plan.poisoned)]
    try:
        train(
            TrainSettings(**plan.settings(folder)),
            say=lambda line: tell(said=line),
            callbacks=[Herald(plan), Pace(plan.pace), *troubles],
        )
    except SmartmonError as error:
        tell(error=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
