"""How a training ended, for those that nobody told: an uncaught exception, or a script that just ran out.

Standard library only. The hooks that were there before are called as they were.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import weakref
from types import TracebackType
from typing import Any, Protocol


class Ending(Protocol):
    """What can be told that the process ends."""

    @property
    def ended(self) -> bool:
        """Whether it knows already."""

    def fail(self, error: BaseException) -> None:
        """Tell the exception that ends it."""

    def leave(self) -> None:
        """Tell that the process is over, and nobody said why."""


_open: weakref.WeakSet[Any] = weakref.WeakSet()
_state = {"hooked": False, "asked": False}


def register(writer: Ending) -> None:
    """Tell this one when the process ends, or in a notebook the cell, as long as it is there."""
    _open.add(writer)
    if not _state["hooked"]:
        _state["hooked"] = True
        atexit.register(_at_exit)
        _chain()
    _ask_notebook()


def _chain() -> None:
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)  # first the traceback that everybody waits for
        failed(error)

    sys.excepthook = hook


def _ask_notebook() -> None:
    """Listen for cells that end in an exception: there it reaches no excepthook."""
    notebook = sys.modules.get("IPython")
    if notebook is None or _state["asked"]:
        return
    with contextlib.suppress(Exception):  # somebody else's package, of any version
        shell = notebook.get_ipython()
        if shell is not None:
            shell.events.register("post_run_cell", lambda result: _after_cell(result.error_in_exec))
            _state["asked"] = True


def _after_cell(error: object) -> None:
    if isinstance(error, BaseException):
        failed(error)


def failed(error: BaseException) -> None:
    """Tell every training that has not ended."""
    for writer in list(_open):
        if not writer.ended:
            writer.fail(error)


def _at_exit() -> None:
    for writer in list(_open):
        writer.leave()
