"""`steptop estimate` as text: the hardware table, what it rests on, wishes and options."""

from __future__ import annotations

from collections.abc import Sequence

from engine.whatif.both import both
from engine.whatif.estimate import precision_there
from engine.whatif.hardware_table import TOO_SMALL, HardwareRow
from engine.whatif.known import Known
from engine.whatif.options import Option
from engine.whatif.what_if import NOTHING_LEFT, Question
from engine.whatif.wish import Granted
from tui.estimating import (
    MEMORY,
    asked_words,
    between,
    both_words,
    doubtful,
    heading,
    measured_words,
    middle,
    money,
    name_of,
    session_words,
    speed,
    wish_words,
)
from tui.format import DASH, plural

HEADS = ("GPU", "step", "run", "experiment", "", "speed", "memory", "cost", "sessions")
RIGHT = (1, 2, 3, 5, 7)
MANY = 6
RULE = (
    "modelled: bandwidth^0.75 × tensor^0.25, ±20 % among Volta, Turing and Ampere (where it was checked), ±35 % beyond"
)


def table_lines(rows: Sequence[HardwareRow]) -> list[str]:
    """One line a GPU with what is known; below them, grouped, those that nothing is claimed of."""
    told = [row for row in rows if row.known]
    cells = [HEADS, *(_cells(row) for row in told)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADS))]
    lines = [_line(row, widths) for row in cells] if told else []
    groups: dict[tuple[str, str], list[str]] = {}
    small = [row.name for row in rows if row.too_small]
    if small:
        lines.append(f"  {', '.join(small)}: too big: {TOO_SMALL}")
    for row in rows:
        if not row.known and not row.too_small:
            groups.setdefault((row.why, MEMORY[row.memory]), []).append(row.name)
    for (why, memory), names in groups.items():
        lines.append(f"  {few(names)}{'' if memory == DASH else f' (memory: {memory})'}: {why}")
    return lines


def _cells(row: HardwareRow) -> tuple[str, ...]:
    return (
        name_of(row) + (" (measured)" if row.here or row.measured else ""),
        between(row.times.step),
        between(row.times.run),
        between(row.times.experiment),
        f"({middle(row.times.experiment)})",
        speed(row.speed),
        MEMORY[row.memory],
        money(row.money),
        session_words(row.sessions),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    both = zip(cells, widths, strict=True)
    parts = [cell.rjust(width) if i in RIGHT else cell.ljust(width) for i, (cell, width) in enumerate(both)]
    return f"  {'  '.join(parts)}".rstrip()


def why_lines(rows: Sequence[HardwareRow], precision: str = "") -> list[str]:
    """What the rows rest on: limits, models, prices with their dates, what is unconfirmed. `precision`: what a GPU
    computes in."""
    told = [row for row in rows if row.known and not row.here]
    lines: list[str] = []
    for words in dict.fromkeys(row.why.partition(":")[0] for row in told if row.why.startswith("it ")):
        of = [row for row in told if row.why.startswith(words)]
        least, most = (f"{find(row.speed.value or 0.0 for row in of):.1f}" for find in (min, max))
        factor = f"{least}×" if least == most else f"{least} to {most}×"
        lines.append(f"{some([row.name for row in of])}: {words}: {factor}; only what the GPU does scales with it")
    if any("modelled" in row.why for row in told):
        lines.append(RULE)
    lines += [f"{row.name}: {row.why}" for row in told if "stated" in row.why or row.measured]
    mine = next((row.memory_text for row in rows if row.memory != "unknown"), "")
    lines += [f"memory of a step on a GPU{f' in {precision}' if precision else ''}: {mine}"] if mine else []
    if any(fit.sessions is not None for row in rows for fit in row.sessions):
        lines.append("sessions: so many for all of it, resumed in between; 1× is all of it in one")
        allowed = {fit.session: fit.quoted for row in rows for fit in row.sessions
                   if fit.sessions is not None and fit.source != "you"}  # fmt: skip
        lines += [f"{name}: {words}" for name, words in allowed.items() if words]
    prices: dict[str, list[str]] = {}
    for row in rows:
        if row.money.low is not None:
            prices.setdefault(f"{row.money.as_of}, {row.money.source}", []).append(row.name)
    lines += [f"prices of {where}: {', '.join(names)}" for where, names in sorted(prices.items(), reverse=True)]
    unsure = [row.name for row in rows if row.known and doubtful(row.gpu)]
    if unsure:
        lines.append(f"? figures of {', '.join(unsure)} were not confirmed by any source")
    return [f"  {line}" for line in lines]


def few(names: Sequence[str]) -> str:
    """All of them, or of many the first and how many more."""
    return ", ".join(names) if len(names) <= MANY else f"{', '.join(names[:3])} and {plural(len(names) - 3, 'other')}"


def some(names: Sequence[str]) -> str:
    """`B200`, `B200 and H200`, `B200 and 17 others`."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {plural(len(names) - 1, 'other')}"


def option_lines(found: Sequence[Option], hardware: str) -> list[str]:
    lines = []
    for option in found:
        cost = f", {money(option.money)}" if option.money.low is not None else ""
        known = option.timeline.value is not None
        time = f"{middle(option.timeline)} ({between(option.timeline)})" if known else "no claim"
        lines.append(f"  {option.number}. {option.title}, {plural(option.runs, 'run')}: {time} on {hardware}{cost}")
        lines += [f"     + {text}" for text in option.gets]
        lines += [f"     - {text}" for text in option.loses]
    return lines


def report(
    known: Known,
    question: Question,
    rows: Sequence[HardwareRow],
    found: Sequence[Option],
    wished: Sequence[Granted],
    notes: Sequence[str],
    hardware: str,
) -> list[str]:
    if rows[0].times.why == NOTHING_LEFT:
        lines = [f"{heading(known)}: {NOTHING_LEFT}, nothing is left to do"]
        return [*lines, "", "all of it again", *option_lines(found, hardware)] if found else lines
    lines = [f"{heading(known)}: {asked_words(known, question)}", f"  {measured_words(known)}"]
    told = both(known, question)
    # What cannot be claimed of either is said once, of the hardware.
    claimed = told is not None and (told.whole.value, told.left.value) != (None, None)
    lines += [f"  {line}" for line in both_words(told)] if told is not None and claimed else []
    lines += [f"  {note}" for note in notes]
    lines += [f"  {wish_words(one)}" for one in wished]
    lines += ["", *table_lines(rows), "", *why_lines(rows, precision_there(known))]
    return [*lines, "", "options", *option_lines(found, hardware)] if found else lines
