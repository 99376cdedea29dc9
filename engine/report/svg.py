"""A plot as SVG: no library, no script, colours that follow light and dark, and lines that differ in print."""

from __future__ import annotations

from html import escape
from math import floor, isfinite, log10

from engine.figures import significant
from engine.report.model import Plot, Series

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 26, 34
# Single slow steps go beyond this many times the largest mean: they are cut off there, and the plot says so.
TALLEST = 2.5
TICKS = 5
DASHES = ("", "6 3", "2 3", "8 3 2 3")
MOST_POINTS = 720
# Words of marks that lie beside each other are written below each other.
ROWS = 4

# For a file of its own; a page brings the same rules once.
STYLE = """\
.plot{--ink:#1f2328;--faint:#6e7781;--grid:#d0d7de;--c0:#0b63c5;--c1:#b35900;--c2:#1a7f37;--c3:#8250df}
@media (prefers-color-scheme:dark){.plot{--ink:#e6edf3;--faint:#9198a1;--grid:#3d444d;--c0:#58a6ff;--c1:#f0883e;\
--c2:#56d364;--c3:#bc8cff}}
@media print{.plot{--ink:#000;--faint:#444;--grid:#bbb;--c0:#0b4a94;--c1:#8a4400;--c2:#116329;--c3:#5a32a3}}
.plot text{font:11px system-ui,sans-serif;fill:var(--faint)}
.plot .title{font-size:13px;fill:var(--ink)}
.plot .grid{stroke:var(--grid);stroke-width:1}
.plot .mark{stroke:var(--c1);stroke-width:1;stroke-dasharray:2 2}
.plot .line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.plot .band{stroke:none;opacity:.18}"""


def svg(plot: Plot, style: bool = False) -> str:
    """The picture as text. With `style` it can stand alone."""
    xs = [x for one in plot.series for x, _ in one.points]
    means = [y for one in plot.series for _, y in one.points if isfinite(y)]
    lows = [low for one in plot.series for _, low, _ in one.band]
    highs = [high for one in plot.series for _, _, high in one.band]
    most = min(max(highs, default=max(means)), TALLEST * max(means)) if means and max(means) > 0 else max(means)
    axis = Axis(min(xs), max(xs), min([*means, *lows, (1 - plot.least) * most]), most)
    cut = bool(highs) and max(highs) > most
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(plot.title)}">',
        f"<style>{STYLE}</style>" if style else "",
        f'<text class="title" x="{LEFT}" y="15">{escape(plot.title)}{_legend(plot)}</text>',
        *_grid(plot, axis),
        *(line for number, one in enumerate(plot.series) for line in _series(one, number, axis)),
        *_marks(plot, axis),
    ]
    if cut:
        text = f"slowest {significant(max(highs))} {escape(plot.y)}, cut off"
        body.append(f'<text x="{WIDTH - RIGHT}" y="15" text-anchor="end">{text}</text>')
    return "\n".join([*filter(None, body), "</svg>"])


class Axis:
    """From figures to places in the picture."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self.left, self.right = left, right if right > left else left + 1
        room = 0.06 * (high - low) if high > low else abs(high) * 0.1 or 1.0
        self.low, self.high = low - room if low < 0 else max(0.0, low - room), high + room

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return TOP + (self.high - inside) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round values within the range, about so many."""
    step = 10 ** floor(log10((high - low) / count))
    step = next(step * size for size in (1, 2, 5, 10) if (high - low) / (step * size) <= count)
    first = floor(low / step) + (low % step > 1e-9 * step)
    return [round(step * number, 12) for number in range(int(first), int(high / step) + 1)]


def _grid(plot: Plot, axis: Axis) -> list[str]:
    lines = []
    for value in ticks(axis.low, axis.high):
        y = axis.y(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_label(value)}</text>')
    for value in ticks(axis.left, axis.right):
        x = axis.x(value)
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_label(value)}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    lines.append(f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(plot.x)}</text>')
    unit = f'<text x="6" y="{TOP + 4}" text-anchor="start">{escape(plot.y)}</text>' if len(plot.y) <= 4 else ""
    return [*lines, unit]


def _label(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.10g}"


def _series(one: Series, number: int, axis: Axis) -> list[str]:
    colour, dash = f"var(--c{number % len(DASHES)})", DASHES[number % len(DASHES)]
    found = []
    if one.band:
        top = [f"{axis.x(x):.1f},{axis.y(high):.1f}" for x, _, high in one.band]
        bottom = [f"{axis.x(x):.1f},{axis.y(low):.1f}" for x, low, _ in reversed(one.band)]
        found.append(f'<polygon class="band" fill="{colour}" points="{" ".join(top + bottom)}"/>')
    points = [(x, y) for x, y in one.points if isfinite(y)]
    each = -(-len(points) // MOST_POINTS)
    path = " ".join(f"{axis.x(x):.1f},{axis.y(y):.1f}" for x, y in points[::each] if points) if points else ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    found.append(f'<polyline class="line" stroke="{colour}"{dashed} points="{path}"/>')
    return found


def _marks(plot: Plot, axis: Axis) -> list[str]:
    found = []
    for number, (at, words) in enumerate(plot.marks):
        if not axis.left <= at <= axis.right:
            continue
        x = axis.x(at)
        side, shift = ("end", -4) if x > WIDTH / 2 else ("start", 4)
        found.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        y = TOP + 10 + 13 * (number % ROWS)
        found.append(f'<text x="{x + shift:.1f}" y="{y}" text-anchor="{side}">{escape(words)}</text>')
    return found


def _legend(plot: Plot) -> str:
    if len(plot.series) < 2:
        return ""
    colours = [f"var(--c{number % len(DASHES)})" for number in range(len(plot.series))]
    named = zip(colours, plot.series, strict=True)
    return "".join(f'<tspan fill="{colour}"> — {escape(one.name)}</tspan>' for colour, one in named)
