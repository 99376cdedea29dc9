"""How steady each phase was: samples per second block by block, all phases that do the same on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from engine.phase.phases import PhaseResult
from tui.format import significant
from tui.plain import fit
from tui.widgets.chart import bounds, columns, curve
from tui.widgets.line import Line

NAME, NUMBER = 21, 8
FEWEST_ROWS, MOST_ROWS = 2, 5


def block_lines(found: Sequence[PhaseResult], width: int, room: int) -> list[Line]:
    """A curve for each measured phase, between two and five lines high; none where there is less room."""
    known = [one for one in found if one.measured is not None and len(one.measured.blocks) > 1]
    rows = min(MOST_ROWS, (room - 1) // len(known)) if known else 0
    cells = width - NAME - NUMBER
    if rows < FEWEST_ROWS or cells < NUMBER:
        return []
    rates = {one.number: [1 / block for block in one.measured.blocks if block > 0] for one in known if one.measured}
    # Loading alone is hundreds of times as fast as training: on one scale every other curve would be flat.
    scales = {
        mode: bounds([rate for one in known if one.mode == mode for rate in rates[one.number]])
        for mode in {one.mode for one in known}
    }
    lines: list[Line] = [[("samples/s, block after block as measured", "faint")]]
    for one in known:
        points = [(float(at), rate) for at, rate in enumerate(rates[one.number])]
        low, high = scales[one.mode]
        drawn = curve(columns(points, 2 * cells), rows, low, high)
        numbers = {0: significant(high), rows - 1: significant(low)}
        lines += [
            [
                (f"{fit(f'{one.number + 1}. {one.name}', NAME - 1) if not at else '':<{NAME}}", "label"),
                (row, "accent"),
                (numbers.get(at, "").rjust(NUMBER), "faint"),
            ]
            for at, row in enumerate(drawn)
        ]
    return lines
