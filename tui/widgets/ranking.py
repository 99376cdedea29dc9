"""What a tuner made of every configuration: what was measured, what its model says, and why it is out."""

from __future__ import annotations

from engine.phase.tuning import places
from tui.comparison import Comparison
from tui.plain import fit, wrapped
from tui.widgets.comparing import ComparisonPanel
from tui.widgets.line import Line

NAME, MEASURED, MODELLED = 26, 24, 32
WIDE = NAME + MEASURED + MODELLED + 10
WHY = 3


def ranking_lines(comparison: Comparison, width: int, height: int) -> list[Line]:
    """The answer in a sentence, then the configurations from the best on, as many as there is room for."""
    found = comparison.answer
    if found is None:
        return []
    wide = width >= WIDE
    lines: list[Line] = [[(part, "text")] for part in wrapped(found.why, width, WHY)]
    head = f"  {'configuration':<{NAME}}{'measured':<{MEASURED}}{'by the model'.ljust(MODELLED) if wide else ''}"
    lines.append([(head + ("why out" if wide else ""), "faint")])
    listed = places(found, comparison.view.state.plan)
    room = max(1, height - len(lines))
    for one in listed[: room if len(listed) <= room else room - 1]:
        # What was measured matters more than what was modelled where both do not fit.
        said = one.measured if one.measured or wide else f"{one.modelled.partition(',')[0]} modelled"
        line: Line = [
            ("✔ " if one.best else "  ", "good"),
            (fit(one.name, NAME - 1).ljust(NAME), "number" if one.best else "text"),
            (fit(said, MEASURED - 1).ljust(MEASURED), "number" if one.measured else "label"),
        ]
        if wide:
            line.append((fit(one.modelled, MODELLED - 1).ljust(MODELLED), "label"))
        left = width - sum(len(text) for text, _ in line)
        line.append((fit("taken" if one.best else one.out, left), "good" if one.best else "warn"))
        lines.append(line)
    if len(listed) > room:
        lines.append([(f"  and {len(listed) - room + 1} more; tab and enter: all of it", "faint")])
    return lines


def wanted_height(comparison: Comparison, rows: int) -> int:
    """Lines with the frame, in a terminal of `rows`; 0 where there is no ranking or no room for one."""
    if comparison.answer is None:
        return 0
    most = rows // 3
    return min(len(comparison.answer.ranking) + WHY + 3, most) if most >= WHY + 4 else 0


class RankingPanel(ComparisonPanel):
    """There for a tuner that has ended."""

    TITLE = "Ranking"
    NUMBER = 4
    HELP = (
        "Every configuration the tuner could have chosen: samples per second as measured, of all visits that count, "
        "with the 95 % interval; what its model says, with a 90 % range and what limits it; and why it is out of the "
        "question: it fell out of the race, or memory does not allow it.\n"
        "✔ is the one that is taken, and above is why."
    )

    def show(self, comparison: Comparison, width: int, height: int) -> list[Line]:
        return ranking_lines(comparison, width, height)
