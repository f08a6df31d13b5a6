"""Pictures of a run, drawn with matplotlib (`smartmon[plots]`): a page for print, single charts, a file for browsers.

`portrait` gathers what is drawn; `png`, `svg`, `html` and `plots` draw it. Drawing raises ModuleNotFoundError
without matplotlib.
"""

from __future__ import annotations

from smartmon.figures.document import html
from smartmon.figures.files import write
from smartmon.figures.page import PLOTS, plots, png, svg
from smartmon.figures.portraits import Portrait, portrait

__all__ = ["PLOTS", "Portrait", "html", "plots", "png", "portrait", "svg", "write"]
