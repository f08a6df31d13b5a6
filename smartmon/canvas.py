"""What every picture shares: colours, lettering and the way matplotlib is set up. Knows nothing of runs.

matplotlib is optional (`smartmon[plots]`) and is imported inside functions only. Figures are made without pyplot, so
nothing is left behind between two pictures; its settings are put back after each. Not for two threads at once.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from smartmon.text import clean

DPI = 150
INK = "#16191f"
MUTED = "#59616d"
GRID = "#dde1e6"
PAPER = "#ffffff"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PURPLE = "#8e4585"
YELLOW = "#c98500"
"""Okabe and Ito's colours for all kinds of sight, two of them darkened: lines on white paper, also in grey."""

FARTHEST = 1e100
"""Beyond this a value is drawn as not finite: matplotlib's own arithmetic on limits would overflow."""

_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans",
    "FreeSans",
)
"""Fonts that complete DejaVu, which matplotlib brings, where they are installed."""
_SHAPE = re.compile(r"<(?:path|use) [^>]*>")
_PLACES = re.compile(r"""(?<= d=")[^"]*|(?<= [xy]=")[^"]*""")
_LONG = re.compile(r"(\.\d\d)\d+")
_FAMILY = re.compile(r"""(style="[^"]*font-family: [^;"]+)""")
UNDRAWABLE = "\u25a1"
"""What stands for a character that no font here has: a box."""


@contextlib.contextmanager
def drawing(salt: str = "smartmon") -> Iterator[None]:
    """Draw with our own settings, whatever the user's matplotlibrc says, and leave matplotlib as it was.

    `salt` makes the ids within an SVG its own, where several are put into one document. Raises ModuleNotFoundError
    without matplotlib.
    """
    # It tells of folders that it cannot write: nothing that a picture would be the worse for.
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context():
        # An SVG is lettered by its reader, who may have the glyph that is missing here.
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": families(),
                "font.size": 8,
                # Run names and samples are text: a dollar sign in them begins no formula.
                "text.parse_math": False,
                "text.color": INK,
                "axes.edgecolor": MUTED,
                "axes.labelcolor": INK,
                "axes.titlecolor": INK,
                "axes.linewidth": 0.6,
                "axes.titlesize": 9,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.labelsize": 7.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.unicode_minus": True,
                "axes.axisbelow": True,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "xtick.labelsize": 7,
                "ytick.labelsize": 7,
                "grid.color": GRID,
                "grid.linewidth": 0.5,
                "legend.fontsize": 7,
                "legend.framealpha": 0.7,
                "legend.facecolor": PAPER,
                "legend.edgecolor": PAPER,
                "legend.fancybox": False,
                "figure.facecolor": PAPER,
                "axes.facecolor": "none",
                "savefig.facecolor": PAPER,
                "svg.fonttype": "none",
                "svg.hashsalt": salt,
                "path.simplify": True,
                "agg.path.chunksize": 20000,
            }
        )
        yield


def png(figure: Any, dpi: int = DPI) -> bytes:
    """Return a figure as PNG of 256 colours, at 150 dots to the inch where nothing else is said."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    FigureCanvasAgg(figure)
    drawn, out, about = io.BytesIO(), io.BytesIO(), PngInfo()
    figure.savefig(drawn, format="png", dpi=dpi, pil_kwargs={"compress_level": 0})
    # A chart has few colours: so told it is a third of the size, in a mail, an answer or a folder of hundreds.
    picture = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    paper, palette = picture.getpixel((0, 0)), picture.getpalette()
    if isinstance(paper, int) and palette is not None:
        # The corner is paper: the nearest colour to white is white.
        palette[3 * paper : 3 * paper + 3] = [255, 255, 255]
        picture.putpalette(palette)
    about.add_text("Software", "smartmon")
    picture.save(out, "PNG", optimize=True, dpi=(dpi, dpi), pnginfo=about)
    return out.getvalue()


def svg(figure: Any) -> str:
    """Return a figure as an SVG document whose letters are text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = out.getvalue().decode("utf-8")
    # A hundredth of a point is finer than any printer; six digits of each are a third of the document.
    text = _SHAPE.sub(lambda shape: _PLACES.sub(lambda found: _LONG.sub(r"\1", found[0]), shape[0]), text)
    # A reader without our fonts is to take the nearest kind, not letters with serifs.
    return _FAMILY.sub(lambda found: f"{found[1]}, {'monospace' if 'Mono' in found[1] else 'sans-serif'}", text)


def finite(value: float | None) -> float:
    """Return a value that can be drawn, NaN for one that cannot."""
    return value if value is not None and math.isfinite(value) and abs(value) < FARTHEST else math.nan


def plain(text: object, width: int, *, draw: bool = False) -> str:
    """Return one harmless line of at most `width` columns; wide characters take two, and some take none.

    With `draw`, characters that no font here has become boxes: for pictures whose letters are drawn, not written.
    """
    shown = clean(" ".join(str(text)[: 8 * width].split()))
    # Noncharacters may not stand in XML at all.
    shown = "".join(char if unicodedata.category(char) != "Cn" else UNDRAWABLE for char in shown)
    if draw:
        known = _characters()
        shown = "".join(char if ord(char) in known else UNDRAWABLE for char in unicodedata.normalize("NFC", shown))
    widths = [_columns(char) for char in shown]
    if sum(widths) <= width:
        return shown
    kept, used = [], 1
    for char, columns in zip(shown, widths):
        used += columns
        if used > width:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@cache
def families() -> list[str]:
    """The fonts that letter a picture: the first, and those that complete it."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in there)]


@cache
def _characters() -> frozenset[int]:
    """The characters that can be drawn here."""
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    paths = [fontManager.findfont(FontProperties(family=name)) for name in families()]
    return frozenset().union(*(get_font(path).get_charmap().keys() for path in paths))
