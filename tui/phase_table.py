"""Test phases as lines of text: the same table for the command line and the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.machine.contention import DISTURBED_CORES
from engine.phase.bench_words import conclusions
from engine.phase.extrapolation import ranges
from engine.phase.phases import PhaseResult, best, effect, optimisation, ranged
from tui import format as fmt

# A GPU's share, memory and the rest appear only where something was measured.
WORDS = {
    "ok": "ok",
    "faster": "faster",
    "slower": "slower",
    "not distinguishable": "no difference",
    "unstable": "unstable",
    "waiting": "not begun",
    "running": "under way",
    "stopped": "stopped",
}


class Row(NamedTuple):
    """The cells of one phase, and the word that colours it."""

    cells: tuple[str, ...]
    verdict: str


HEADER = ("phase", "changed", "expected", "samples/s", "s/step", "data", "GPU", "RAM", "VRAM", "vs first", "verdict")
LEFT = 2  # columns that are aligned to the left at the beginning, and the last one


def rows(found: Sequence[PhaseResult]) -> list[Row]:
    return [Row(_cells(one), one.verdict) for one in found]


def _cells(one: PhaseResult) -> tuple[str, ...]:
    measured, use = one.measured, one.use
    changed = ", ".join(f"{name}={shown(value)}" for name, value in one.changed.items())
    data = ""
    if measured is not None and measured.spans and one.mode == "train":
        data = f"{min(1.0, measured.spans.get('data', 0.0) / measured.step_seconds):.0%}"
    return (
        f"{one.number + 1} {one.name}",
        changed or {"resident": "no loading", "load": "no computing"}.get(one.mode, fmt.DASH),
        _span(one.low, one.high),
        _with_range(one),
        fmt.duration(measured.step_seconds) if measured is not None else fmt.DASH,
        data or fmt.DASH,
        f"{use.gpu_util:.0f} %" if use.gpu_util is not None else fmt.DASH,
        fmt.size(use.ram_peak) if use.ram_peak else fmt.DASH,
        fmt.size(use.vram_reserved) if use.vram_reserved else fmt.DASH,
        ranged(one.ratio) if one.ratio is not None else fmt.DASH,
        WORDS.get(one.verdict, one.verdict.replace("_", " ")),
    )


def _span(low: float | None, high: float | None) -> str:
    return f"{low:.3g}–{high:.3g}" if low is not None and high is not None else fmt.DASH


def _with_range(one: PhaseResult) -> str:
    found = one.measured
    if found is None:
        return fmt.DASH
    half = (found.samples_high / found.samples_low) ** 0.5 - 1 if found.samples_low > 0 else float("inf")
    if half < 1:
        return f"{found.samples_per_second:.3g} ±{half:.0%}"
    return f"{found.samples_per_second:.3g} ±?"


def lines(found: Sequence[PhaseResult]) -> list[str]:
    """A table of equal columns; those with nothing in them are left out."""
    table = [HEADER, *(row.cells for row in rows(found))]
    kept = [i for i in range(len(HEADER)) if i < LEFT or any(row[i] != fmt.DASH for row in table[1:])]
    widths = {i: max(len(row[i]) for row in table) for i in kept}
    last = kept[-1]
    return [
        "  ".join(row[i].ljust(widths[i]) if i < LEFT or i == last else row[i].rjust(widths[i]) for i in kept).rstrip()
        for row in table
    ]


def report(found: Sequence[PhaseResult], plan: Plan, knobs: dict[str, Value] | None = None) -> list[str]:
    """The table and, below it, what follows from it in sentences. `knobs`: what the test found best."""
    if not found:
        return ["no other profile was tried in this training yet: `p` in the dashboard, or `steptop phases`"]
    said = lines(found)
    for one in found:
        if one.ratio is not None or one.text:
            said.append(f"{one.number + 1} {one.name}: {effect(one)}")
        said += [f"    {line}" for line in one.evidence]
        if one.advice:
            said.append(f"    {one.advice}")
    said += _other_trainings(found)
    said += conclusions(found)
    said += _disturbed(found)
    said += _ends(found, plan, knobs)
    return [*said, *_legend(said)]


def _other_trainings(found: Sequence[PhaseResult]) -> list[str]:
    """Each knob that changes more than the speed once, whichever phases change it."""
    numbers: dict[tuple[str, ...], list[str]] = {}
    for one in found:
        if other := optimisation(one):
            numbers.setdefault(other, []).append(str(one.number + 1))
    return [
        f"phase{'s' if len(which) > 1 else ''} {', '.join(which)}: {', '.join(names)} "
        f"change{'s' if len(names) == 1 else ''} more than the speed: it is another training"
        for names, which in numbers.items()
    ]


def _disturbed(found: Sequence[PhaseResult]) -> list[str]:
    repeated = sum(one.repeated for one in found)
    worst = max((one.use.foreign_cores or 0.0 for one in found), default=0.0)
    said = []
    if repeated:
        said.append(f"{fmt.plural(repeated, 'visit')} repeated because other processes disturbed them")
    if worst > DISTURBED_CORES:
        said.append(f"other processes used up to {worst:.1f} cores in what counts: on a quiet machine it may differ")
    if held := max((one.use.foreign_vram or 0 for one in found), default=0):
        shares = [one.use.foreign_gpu for one in found if one.use.foreign_gpu is not None]
        time = f"and computed on it {max(shares):.0f} % of the time" if shares else "and perhaps its time"
        said.append(f"other processes held {fmt.size(held)} of the GPU's memory, {time}")
    return said


def _times(one: PhaseResult) -> list[str]:
    """`epoch 11.2 s (7.7 s to 16.2 s)`: as sure as the pace is that they follow from."""
    spread = ranges(one)
    said = []
    for name in ("epoch", "run", "experiment"):
        low, high = spread.get(name, (None, None))
        known = f"{fmt.duration(low)} to {fmt.duration(high)}" if low is not None else "range not known"
        said.append(f"{name} {fmt.duration(one.seconds[name])} ({known})")
    return said


def _legend(lines: Sequence[str]) -> list[str]:
    """What the signs mean, where there are any."""
    if not any("±?" in line or "(?)" in line for line in lines):
        return []
    return ["±? and (?): the 95 % interval is so wide that the figure says next to nothing; more steps narrow it"]


def _ends(found: Sequence[PhaseResult], plan: Plan, knobs: dict[str, Value] | None) -> list[str]:
    """How long the experiment would take with each, and which to choose."""
    said = []
    for one in found:
        if one.seconds:
            said.append(f"{one.number + 1} {one.name}: training steps alone, {', '.join(_times(one))}")
    winner = best(found, knobs)
    if winner is None or len([one for one in found if one.mode == "train"]) < 2:
        return said
    in_use = plan.test.phases[0].knobs if plan.test is not None and plan.test.kind == "tune" else None
    if winner.knobs == in_use:
        said.append(f"the profile in use is kept: {winner.name}")
    elif winner.number == found[0].number:
        said.append(f"none is surely faster than {winner.name}: keep it")
    else:
        settings = " ".join(f"--set {name}={shown(value)}" for name, value in winner.changed.items())
        said.append(f"fastest: {winner.name} (steptop run {plan.experiment_name} {settings})")
    return said
