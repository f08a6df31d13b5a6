"""Which class reads which format: a table for ours, entry points for those of other packages.

An entry point of the group `smartmon.sources` is named for its format; its value is a callable that takes a
`SourceSpec` and returns a `Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pkgutil import resolve_name

from smartmon.errors import SourceError
from smartmon.sources.base import Source, SourceSpec

GROUP = "smartmon.sources"

FORMATS = {
    "status": "smartmon.sources.status_file:StatusFile",
    "jsonl": "smartmon.sources.jsonl:JsonLines",
    "trainer_state": "smartmon.sources.trainer_state:TrainerState",
    "history": "smartmon.sources.history:History",
    "push": "smartmon.sources.push:Push",
    "csv": "smartmon.sources.csvlog:CsvLog",
    "tensorboard": "smartmon.sources.tensorboard:TensorBoard",
    "text": "smartmon.sources.textlog:TextLog",
}
"""Format -> the class that reads it, imported when the first source of the format is opened."""


def open_source(spec: SourceSpec) -> Source:
    """Return the source that a spec describes; raise `SourceError` for a format that nobody reads."""
    factory: Callable[[SourceSpec], Source]
    if spec.format in FORMATS:
        factory = resolve_name(FORMATS[spec.format])
        return factory(spec)
    for entry in entry_points(group=GROUP, name=spec.format):
        factory = entry.load()
        return factory(spec)
    raise SourceError(f'no source reads the format "{spec.format}"; there are: {", ".join(FORMATS)}')
