"""A test of profiles as lines of `steptop status`: its phase, what is measured so far, when it ends."""

from __future__ import annotations

from engine.counts import plural
from engine.visit_status import MeasuredStatus, TestStatus
from tui import format as fmt
from tui.phase_table import WORDS


def test_lines(test: TestStatus, now: float) -> list[str]:
    """Where a training says its run, epoch and end."""
    lines = []
    if test.phase is not None:
        of = f"/{test.phases}" if test.phases else ""
        turn = f"  round {test.round}" if test.mode == "train" else ""
        lines.append(f"  phase {test.phase}{of} {test.name}{turn}  step {test.step}/{test.steps}")
    lines += [f"    {_measured(one)}" for one in test.measured]
    if test.left is not None and test.at is not None:
        spread = f"({fmt.duration(test.low or 0)} to {fmt.duration(test.high or 0)})"
        lines.append(f"  test ends {fmt.clock(test.at, now)}  in {fmt.duration(test.left)}  {spread}")
    elif test.phase is not None:
        later = "the tuner decides as it goes when it has seen enough"
        lines.append(f"  {later if test.kind == 'tune' else 'the test is forecast once a visit has ended'}")
    lines.append(f"  {plural(test.visits, 'visit')} counted so far")
    return lines


test_lines.__test__ = False  # type: ignore[attr-defined]


def _measured(one: MeasuredStatus) -> str:
    word = WORDS.get(one.verdict, one.verdict.replace("_", " "))
    if one.samples_per_second is None:
        return f"{one.number} {one.name}: {word}"
    known = one.low is not None and one.high is not None
    spread = f" ({one.low:.3g}–{one.high:.3g})" if known else ""
    return f"{one.number} {one.name}: {one.samples_per_second:.3g} samples/s{spread}, {word}"
