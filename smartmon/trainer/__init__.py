"""The bundled QLoRA trainer, and what makes any other training readable: callbacks and a writer for plain loops.

Importing this package loads neither torch nor Transformers; asking for a callback does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartmon.trainer.callback import SmartmonCallback
    from smartmon.trainer.lightning import LightningCallback
    from smartmon.trainer.writer import StatusWriter

__all__ = ["LightningCallback", "SmartmonCallback", "StatusWriter"]

_HOMES = {"LightningCallback": "lightning", "SmartmonCallback": "callback", "StatusWriter": "writer"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
