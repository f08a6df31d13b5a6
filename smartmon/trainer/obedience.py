"""How a training by Hugging Face's Trainer does what is wished for: by flags that the Trainer obeys, and by waiting."""

from __future__ import annotations

import time
from typing import Any

from smartmon.trainer.control import WORDS
from smartmon.trainer.wishes import SIGNAL, Wishes
from smartmon.trainer.writer import StatusWriter

_HELD = 0.2
"""Seconds between two looks at what is wished for during a pause."""


class Obedience:
    """Obeys at the end of a step, and answers in the status. Every process has one, and all decide alike."""

    def __init__(self, wishes: Wishes, writer: StatusWriter | None) -> None:
        """`writer` is None in every process but the first."""
        self.wishes, self._writer = wishes, writer
        self.stopped = ""
        """`control` or `signal` once the training was asked to stop."""
        self.seconds = 0.0
        """Seconds spent in pauses."""
        self.off = False
        """Set where not every process has one of these."""
        self._paused = False
        self._saved = -1

    def after_step(self, state: Any, control: Any) -> None:
        """Do what was wished for during the step."""
        if self.off:
            return
        wished = self.wishes.step()
        if not wished and not self.wishes.refused:
            return
        step = state.global_step
        self._refuse()
        if "resume" in wished and "pause" not in wished:
            self._answer("resume", f"nothing to resume: it is training, at step {step}")
        if "checkpoint" in wished:
            self._save(step, control)
        if wished & {"stop", SIGNAL}:
            self._stop(wished, step, control)
        elif "pause" in wished:
            self._answer("pause", f"paused at step {step}")
            self._paused = True
            if not control.should_save:
                self._hold(step, control)

    def after_save(self, state: Any, control: Any) -> None:
        """Go on with a pause in which a checkpoint was asked for."""
        self._saved = state.global_step
        if self._paused:
            self._hold(state.global_step, control)

    def acknowledge(self, word: str, identity: str, result: str) -> None:
        """Show in the status what became of a write of the control file."""
        if self._writer is not None:
            self._writer.update(control_ack={"word": word, "id": identity, "result": result, "at": time.time()})

    def _hold(self, step: int, control: Any) -> None:
        """Wait until something else is wished for. For a checkpoint the wait is left, and goes on after it."""
        begun = time.monotonic()
        if self._writer is not None:
            self._writer.update("paused")
        while True:
            wished = self.wishes.now()
            self._refuse()
            if wished & {"stop", SIGNAL}:
                self._paused = False
                self._stop(wished, step, control)
                break
            if "resume" in wished:
                self._paused = False
                self._answer("resume", f"resumed at step {step}")
                break
            self._answer("pause", f"paused at step {step}")
            if "checkpoint" in wished and self._save(step, control):
                break
            time.sleep(_HELD)
        if self._writer is not None:
            self._writer.update("training")
        self.seconds += time.monotonic() - begun

    def _save(self, step: int, control: Any) -> bool:
        """Have a checkpoint saved; return whether there is not one of this step already."""
        if self._saved == step:
            self._answer("checkpoint", f"there is a checkpoint of step {step} already")
            return False
        control.should_save = True
        self._answer("checkpoint", f"saving a checkpoint at step {step}")
        return True

    def _stop(self, wished: frozenset[str], step: int, control: Any) -> None:
        self.stopped = "control" if "stop" in wished else "signal"
        control.should_training_stop = True
        control.should_save = self._saved != step
        self._answer("stop", f"stopping at step {step}, with a checkpoint")
        self._answer("pause", "not paused: it was asked to stop as well")

    def _refuse(self) -> None:
        while self.wishes.refused:
            wish = self.wishes.refused.popleft()
            self.acknowledge(wish.word, wish.id, f"unknown: it is none of {', '.join(WORDS)}")

    def _answer(self, word: str, result: str) -> None:
        """Acknowledge the wishes for a word that came from the control file."""
        for wish in [wish for wish in self.wishes.taken if wish.word == word]:
            self.wishes.taken.remove(wish)
            self.acknowledge(word, wish.id, result)
