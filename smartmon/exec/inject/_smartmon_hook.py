# ruff: noqa: PTH100, PTH118, PTH120, UP031, BLE001
# Every process runs this: pathlib would be dozens of modules more. Versions of Python older than ours run it too.
"""Waits for Transformers to be imported, and gives each of its trainers our callback. Python 3.8 and later.

Until then it costs a comparison of two strings for each import. What it needs comes from smartmon's own installation,
under names of its own, without becoming importable for the training.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # `typing` itself takes longer to load than a Python takes to start.
    from typing import Any

OLDEST = (3, 11)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder of the package `smartmon` that this file belongs to."""


class _Gate:
    """A finder of modules that finds none, but notices the name it waits for."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        """Begin once Transformers is looked for; say of every name that somebody else must find it."""
        if name == "transformers":
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
            _guarded(_arm)


def listen() -> None:
    """Wait for the import, in a process that belongs to a run."""
    if os.environ.get("SMARTMON_RUN_DIR") and os.environ.get("SMARTMON_WRAPT"):
        sys.meta_path.insert(0, _Gate())


def _arm() -> None:
    if sys.version_info < OLDEST:
        raise RuntimeError("it needs Python %d.%d and this is %d.%d" % (*OLDEST, *sys.version_info[:2]))
    wrapt = _load("_smartmon_wrapt", os.environ["SMARTMON_WRAPT"])

    def wrap(module: Any) -> None:
        _guarded(lambda: wrapt.wrap_function_wrapper(module, "Trainer.__init__", _init))

    wrapt.register_post_import_hook(wrap, "transformers.trainer")


def _init(wrapped: Any, trainer: Any, args: Any, kwargs: Any) -> Any:
    """Stand in for `Trainer.__init__`: the same, and then one callback more."""
    result = wrapped(*args, **kwargs)
    _guarded(lambda: _add(trainer))
    return result


def _add(trainer: Any) -> None:
    there = {kind.__name__ for callback in trainer.callback_handler.callbacks for kind in type(callback).__mro__}
    if "SmartmonCallback" in there:
        return
    if _apart() and os.environ.get("SMARTMON_INSTRUMENT") != "always":
        raise RuntimeError(
            "it runs on several machines; start each of them under: smartmon exec --instrument (all, or it hangs)"
        )
    callback = _callback()
    callback.yields = True
    callback.guard(trainer)
    trainer.add_callback(callback)


def _apart() -> bool:
    """Whether processes may train with this one that did not come from the same `exec`.

    The callback takes part in sums over all processes: one without it would keep the others waiting for ever.
    """
    dist: Any = sys.modules.get("torch.distributed")
    world = int(os.environ.get("WORLD_SIZE") or 1)
    if dist is not None and dist.is_available() and dist.is_initialized():
        world = dist.get_world_size()
    names = ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")
    here = next((int(os.environ[name]) for name in names if os.environ.get(name)), 1)
    return world > here


def _callback() -> Any:
    from importlib.util import find_spec

    if "smartmon" not in sys.modules and find_spec("smartmon") is None:
        _load("smartmon", _PACKAGE)
    from smartmon.trainer.callback import SmartmonCallback

    steps = int(os.environ.get("SMARTMON_DETAIL_STEPS") or 0)
    return SmartmonCallback(os.environ["SMARTMON_RUN_DIR"], detail_steps=steps)


def _load(name: str, folder: str) -> Any:
    """Load a package from where it lies, without its folder on sys.path."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError("there is no package in " + folder)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _guarded(act: Any) -> None:
    """Whatever goes wrong here is one line, and the training goes on without us."""
    try:
        act()
    except Exception as problem:
        if os.environ.get("RANK", "0") != "0":
            return  # the first process says it for all
        what = str(problem) or type(problem).__name__
        sys.stderr.write("smartmon: the Hugging Face trainer is not watched from inside: %s\n" % what.splitlines()[0])
