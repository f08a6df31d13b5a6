"""`SmartmonCallback`: one line that lets smartmon watch a training by Hugging Face's Trainer, or TRL's.

    Trainer(..., callbacks=[SmartmonCallback("runs/mine")])

Nothing of it is ever raised into the training: a part that fails says so once and is quiet from then on. Standard
library only until the class itself is asked for, which loads Transformers.
"""

# ruff: noqa: ARG002 - each event is given the same, and uses what it needs

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smartmon.trainer.control import WORDS
from smartmon.trainer.course import Announce, Course, Metrics, Options
from smartmon.trainer.looks import LookSettings
from smartmon.trainer.parts import Parts
from smartmon.trainer.writer import StatusWriter

RUN_DIR = "SMARTMON_RUN_DIR"
"""Environment variable that says where `status/` and `logs/` go."""


class Events:
    """What the callback does at each event of a Trainer; `SmartmonCallback` is this and a `TrainerCallback`."""

    def __init__(
        self,
        base_dir: str | os.PathLike[str] | None = None,
        *,
        metrics: Metrics | None = None,
        detail_steps: int = 50,
        detail_tokens: int = 128,
        detail_limit: float = 10.0,
        detail_share: float = 0.05,
        samples: Sequence[Any] | None = None,
        expert_steps: int = 100,
        control: bool = True,
        stop_on_nonfinite: bool = False,
        announce: Announce | None = None,
        writer: StatusWriter | None = None,
    ) -> None:
        """Take what is to be watched, and how.

        - `base_dir`: where `status/` and `logs/` go; `$SMARTMON_RUN_DIR` if unset, else the Trainer's `output_dir`.
        - `metrics`: called at each logged step on the first process, returns metrics of your own. It is given those of
          `step`, `logs`, `state` and `model` that it has parameters for.
        - `detail_steps`, `detail_tokens`, `detail_limit` (seconds), `detail_share` (of the time): looks at what the
          model answers, to `samples` or else to rows of the evaluation dataset; 0 steps never looks.
        - `expert_steps`: steps between two counts of which experts a mixture of experts uses; 0 never counts.
        - `control`: obey `<base_dir>/.control`.
        - `stop_on_nonfinite`: stop when the loss is NaN, before a checkpoint is made of it.
        - `announce(folder, step)`: called on the first process once a checkpoint is there; what it returns goes into
          the status, and None says nothing.
        - `writer`: one of your own. It is then yours to close, and to say how everything ended.
        """
        self._base_dir, self._given, self._own = base_dir, writer, writer
        looks = LookSettings(detail_steps, detail_tokens, detail_limit, detail_share, samples)
        self._options = Options(metrics, announce, looks, control, stop_on_nonfinite, expert_steps)
        self.yields = False
        """Whether it leaves a training alone that has another one: `smartmon exec` gives it unasked."""
        self._parts = Parts()
        self._early: list[str] = []
        self._course: Course | None = None
        self._trainer: Callable[[], Any] = _nobody

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process begins with, where a search of parameters sends the whole Trainer."""
        return {**vars(self), "_own": self._given, "_course": None, "_trainer": _nobody}

    @property
    def stopped(self) -> str:
        """Why the training was stopped here: `control`, `signal`, `nonfinite`, or nothing if it was not."""
        return self._course.stopped if self._course is not None else ""

    def request(self, word: str) -> None:
        """Wish for `pause`, `resume`, `stop` or `checkpoint`; obeyed after the step, by all processes at once.

        For any thread and any signal handler. Raises ValueError for another word.
        """
        if word not in WORDS:
            raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
        if self._course is None:
            self._early.append(word)
        else:
            self._course.request(word)

    def guard(self, trainer: Any) -> None:
        """See exceptions leave `trainer.train`, also those that a script or a notebook catches.

        Done by itself for a callback that is given to the Trainer's constructor.
        """
        self._trainer = weakref.ref(trainer)
        # On the class: a function on the instance would have to hold it (then `del trainer` frees no memory) or not
        # hold it (then there is none in `Trainer(...).train()`).
        kind: Any = next(kind for kind in type(trainer).__mro__ if "train" in vars(kind))
        own = vars(kind)["train"]
        if getattr(own, "smartmon", False):
            return

        @functools.wraps(own)
        def train(this: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return own(this, *args, **kwargs)
            except BaseException as error:
                for callback in [each for each in this.callback_handler.callbacks if isinstance(each, Events)]:
                    callback.failed(error)
                raise

        train.smartmon = True  # type: ignore[attr-defined]
        kind.train = train

    def failed(self, error: BaseException) -> None:
        """Tell that an exception ended the training."""
        course, self._course = self._course, None
        if course is None:
            return
        self._parts("the end of the training", course.close, None)
        if course.writer is not None and self._given is None:
            course.writer.fail(error)

    # --- Events, in the order in which they come ---

    def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Find the Trainer that is being made, so as to see its exceptions."""
        self._parts("seeing exceptions", lambda: self._find(args), None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Open the files, and hook into the model."""
        self._parts("watching", lambda: self._begin(args, state, given), None)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Undo what the Trainer's own callback wants saved at the end of an epoch that broke off."""
        if self._course is not None:
            self._course.still_stopped(control)

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Get ready to measure."""
        if (course := self._course) is not None:
            self._parts("watching", lambda: course.step_begins(args, state, given.get("model")), None)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Obey what is wished for."""
        if (course := self._course) is not None:
            self._parts("watching", lambda: course.step_ends(state, control, given.get("model")), None)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **given: Any) -> None:
        """Write a row."""
        if (course := self._course) is not None and logs:
            self._parts("watching", lambda: course.logs(args, state, control, logs, given.get("model")), None)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Say that an evaluation has begun."""
        if (course := self._course) is not None:
            self._parts("watching", course.predicts, None)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **given: Any
    ) -> None:
        """Write a row of an evaluation."""
        if (course := self._course) is not None:
            self._parts("watching", lambda: course.evaluated(state, metrics or {}), None)

    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **given: Any
    ) -> None:
        """Say that a prediction is over."""
        if (course := self._course) is not None:
            self._parts("watching", course.back_to_training, None)

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Announce a checkpoint."""
        if (course := self._course) is not None:
            self._parts("watching", lambda: course.saved(args, state, control), None)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Say how it ended, and wait until that is on disk."""
        if (course := self._course) is not None:
            self._parts("the end of the training", lambda: self._end(course, state, given.get("model")), None)

    def _find(self, args: Any) -> None:
        frame = sys._getframe(1)
        for _ in range(12):
            found = frame.f_locals.get("self")
            if getattr(found, "callback_handler", None) is not None and getattr(found, "args", None) is args:
                self.guard(found)
                return
            if frame.f_back is None:
                return
            frame = frame.f_back

    def _begin(self, args: Any, state: Any, given: Mapping[str, Any]) -> None:
        others = getattr(getattr(self._trainer(), "callback_handler", None), "callbacks", ())
        if self.yields and any(isinstance(each, Events) and each is not self for each in others):
            return
        if self._course is not None:
            self._course.close()  # the Trainer began anew, with a smaller batch perhaps
        model, writer = given.get("model"), None
        if state.is_world_process_zero:
            writer = self._open(args)
            told = {"total_steps": state.max_steps, "output_dir": os.path.abspath(args.output_dir)}  # noqa: PTH100
            if self._given is None:
                told["model_name"] = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
            writer.update("training", **told)
        course = Course(self._options, args, state, model, writer)
        course.ask(given.get("processing_class") or given.get("tokenizer"))
        course.rows = lambda: _rows(self._trainer(), given)
        early, self._early = self._early, []
        for word in early:
            course.request(word)
        # Last: from here on each of them waits for the others.
        self._parts.steadfast = course.meet()
        self._course = course

    def _open(self, args: Any) -> StatusWriter:
        if self._given is not None:
            return self._given
        if self._own is None or self._own.ended:
            if self._own is not None:
                self._own.close(self._own.word)
            self._own = StatusWriter(self._base_dir or os.environ.get(RUN_DIR) or args.output_dir)
        return self._own

    def _end(self, course: Course, state: Any, model: Any) -> None:
        course.ends(state, model)
        if course.writer is not None and self._given is None:
            word = {"": "completed", "nonfinite": "crashed"}.get(course.stopped, "stopped")
            course.writer.update(word, current_step=state.global_step)
            course.writer.flush()


def _nobody() -> None:
    """Stand for a Trainer that is not known."""


def _rows(trainer: Any, given: Mapping[str, Any]) -> Any:
    """Return the rows to take samples from: of the evaluation where there is one, else those trained on."""
    dataset = getattr(trainer, "eval_dataset", None)
    if isinstance(dataset, Mapping) and not hasattr(dataset, "features"):
        dataset = next(iter(dataset.values()), None)  # several, by name
    if dataset is not None:
        return dataset
    return getattr(given.get("train_dataloader"), "dataset", None)


if TYPE_CHECKING:
    from transformers import TrainerCallback

    class SmartmonCallback(Events, TrainerCallback):
        """Watches a training by Hugging Face's Trainer or TRL's."""

else:

    def __getattr__(name: str) -> Any:
        """Make the class when it is first asked for: Transformers takes seconds to load."""
        if name != "SmartmonCallback":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from transformers import TrainerCallback

        told = {"__module__": __name__, "__doc__": Events.__init__.__doc__}
        globals()[name] = made = type(name, (Events, TrainerCallback), told)
        return made
