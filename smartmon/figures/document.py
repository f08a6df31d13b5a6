"""A run's pictures as one file for a browser: inline SVG, no script, nothing from elsewhere; light, dark, on paper."""

from __future__ import annotations

import html as escaping
import re

from smartmon import canvas
from smartmon.canvas import plain
from smartmon.figures import key
from smartmon.figures.page import chart, headline, ready
from smartmon.figures.panels import PANELS
from smartmon.figures.portraits import Portrait
from smartmon.text import clock, count

_SIZE = (4.0, 2.6)
"""Inches: drawn as wide as a phone, letters are as large there as they need to be."""
_SHADES = {
    canvas.INK: ("ink", "#e8eaee"),
    canvas.MUTED: ("muted", "#9aa3b0"),
    canvas.GRID: ("grid", "#343a44"),
    canvas.PAPER: ("paper", "#1b1f26"),
    canvas.BLUE: ("blue", "#5ab4ee"),
    canvas.ORANGE: ("orange", "#ff8a4c"),
    canvas.GREEN: ("green", "#3ecf9f"),
    canvas.PURPLE: ("purple", "#d48fce"),
    canvas.YELLOW: ("yellow", "#e8b13c"),
}
"""Colour on paper -> its name in the document, and what it is in the dark."""
_LABELS = {
    "loss": "Loss by step",
    "accuracy": "Accuracy in percent by step",
    "throughput": "Throughput by step",
    "learning_rate": "Learning rate by step",
    "loss_accuracy": "Loss against accuracy",
    "recent": "Loss and accuracy of the last 500 steps",
}
_COLOUR = re.compile("|".join(_SHADES))
_GROUP_ID = re.compile(r' id="[A-Za-z0-9.]+_\d+"')
"""Names of groups, which nothing refers to and which would be double: each chart counts from one."""


def html(told: Portrait) -> str:
    """Return the document. Whatever a run is called or says stands in it as text."""
    charts = "\n".join(f"<figure>{_inline(name, told)}</figure>" for name in PANELS)
    name = escaping.escape(plain(told.name, 120))
    drawn = f"drawn by smartmon; last row {clock(told.last)}" if told.last is not None else "drawn by smartmon"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} - smartmon</title>
<style>
{_style()}
</style>
</head>
<body>
<header><h1>{name}</h1><p>{escaping.escape(headline(told))}</p></header>
<main>
<section class="charts">
{charts}
</section>
<p class="key">{escaping.escape(key.words(told))}</p>
{_samples(told)}
</main>
<footer>{escaping.escape(drawn)}</footer>
</body>
</html>
"""


def _inline(name: str, told: Portrait) -> str:
    """One chart as an SVG element whose colours follow the document's."""
    with ready(salt=name):
        document = canvas.svg(chart(name, told, _SIZE))
    element = document[document.index("<svg") :].rstrip()
    element = re.sub(r"<metadata>.*?</metadata>", "", element, count=1, flags=re.DOTALL)
    element = _GROUP_ID.sub("", _COLOUR.sub(lambda found: f"var(--{_SHADES[found[0]][0]})", element))
    return element.replace("<svg ", f'<svg role="img" aria-label="{_LABELS[name]}" ', 1)


def _style() -> str:
    light = "; ".join(f"--{name}: {colour}" for colour, (name, _dark) in _SHADES.items())
    dark = "; ".join(f"--{name}: {shade}" for name, shade in _SHADES.values())
    return f"""
:root {{ {light} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif }}
h1 {{ margin: 0; font-size: 1.5rem; overflow-wrap: anywhere }}
h2 {{ margin: 1.5rem 0 .5rem; font-size: 1.1rem }}
header p, footer, .key, th {{ color: var(--muted) }}
header p {{ margin: .2rem 0 1rem }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem }}
figure {{ margin: 0; break-inside: avoid }}
svg {{ display: block; width: 100%; height: auto }}
.table {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100%; font-size: .875rem }}
th, td {{ padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--grid);
  text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere; unicode-bidi: isolate }}
footer {{ margin-top: 1.5rem; font-size: .875rem }}
.number {{ text-align: right; white-space: nowrap }}
@media print {{ .charts {{ grid-template-columns: 1fr 1fr }} body {{ font-size: 10pt; padding: 0 }} }}
""".strip()


def _samples(told: Portrait) -> str:
    if not told.examples:
        return '<h2>Last samples</h2><p class="key">No samples were logged.</p>'
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Prompt", "Expected", "Answer", "Result"))
    rows = "\n".join(
        f'<tr><td class="number">{count(one.step)}</td>'
        + "".join(
            f"<td>{escaping.escape(plain(cell, 40))}</td>"
            for cell in (one.prompt, one.expected, one.answer, one.result)
        )
        + "</tr>"
        for one in told.examples
    )
    head = f'<tr><th scope="col" class="number">Step</th>{heads}</tr>'
    return (
        f'<h2>Last samples</h2>\n<div class="table"><table><thead>{head}</thead><tbody>\n{rows}\n</tbody></table></div>'
    )
