"""A real QLoRA training for the daemon to watch, by what `smartmon train` calls, with faults in it.

Run: `python -m tests.e2e.qlora SETTINGS FAULTS`, both JSON: settings by name, faults as `{"class": [arguments]}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from smartmon.demo import faults
from smartmon.errors import SmartmonError
from smartmon.trainer.run import train
from smartmon.trainer.settings import TrainSettings
from tests.e2e.world import until


class PauseUntilKept(TrainerCallback):  # type: ignore[misc]
    """Pauses after a step until the daemon has kept a checkpoint.

    Of a model of real size, 25 steps take minutes. Those of this one take a second, and on a busy machine its rotation
    would be quicker than any watcher can be.
    """

    def __init__(self, step: int, snapshots: str, checkpoint: str) -> None:
        self.step, self.snapshots, self.checkpoint = step, Path(snapshots), checkpoint

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        if state.global_step == self.step:
            until(lambda: any(self.snapshots.glob(f"[!.]*/*/{self.checkpoint}")), patience=60)


SPOILERS = {"PauseUntilKept": PauseUntilKept, **vars(faults)}

if __name__ == "__main__":
    settings = TrainSettings.model_validate_json(sys.argv[1])
    spoilers = [SPOILERS[name](*arguments) for name, arguments in json.loads(sys.argv[2]).items()]
    try:
        train(settings, callbacks=spoilers)
    except SmartmonError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
