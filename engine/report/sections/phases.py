"""Profiles before and after: what was expected of each, what it brought, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.knob import Value as KnobValue, shown
from engine.phase.phases import PhaseResult, effect
from engine.report import numbers, sources
from engine.report.facts import Facts, TestFolder
from engine.report.model import (
    Basis,
    Block,
    Items,
    Missing,
    Name,
    Pieces,
    Row,
    Section,
    Table,
    item,
    paragraph,
    row,
    say,
)
from engine.text import clean

COLUMNS = ("phase", "changed", "expected, samples/s", "measured, samples/s", "a step", "beside the first", "verdict")
MODES = {"resident": "computing alone", "load": "loading alone"}
WORDS = {"ok": "measured", "waiting": "not begun", "running": "under way"}
MOST_RANKED = 8


def section(facts: Facts) -> Section:
    blocks: list[Block] = []
    if facts.plan.test is not None:
        blocks += _test(facts, None, facts.living, "The phases of this test, each beside the first:")
    elif facts.living:
        blocks += _living(facts)
    for test in facts.tests:
        blocks += _beside(facts, test)
    if not blocks:
        none = Missing("no other profile has been tried on this training")
        tries = paragraph(Name("steptop phases"), " tries them; the last section has the command.")
        blocks = [paragraph("Before and after: ", none), tries]
    return Section("phases", "Profiles before and after", tuple(blocks))


def _living(facts: Facts) -> list[Block]:
    words = (
        "Profiles this training went through, one after the other. They did not take turns: what the machine did "
        "meanwhile is in the difference."
    )
    return _test(facts, None, facts.living, words)


def _beside(facts: Facts, test: TestFolder) -> list[Block]:
    name = Name(test.name)
    if test.other:
        return [paragraph("Test ", name, " is left out: ", Name(clean(test.other)), ".")]
    if not test.found:
        return [paragraph("Test ", name, ": ", Missing("nothing was measured"))]
    blocks = _test(facts, test, test.found, "")
    blocks.insert(0, paragraph("Test ", name, ", whose profiles took turns, each beside the first:"))
    if test.text:
        where = Basis("measured", f"measured: {test.name}, its last word")
        blocks.append(paragraph("What it came to: ", numbers.sentence(test.text, where)))
    if test.ranking:
        model = Basis("modelled", f"modelled and measured as each line says: {test.name}")
        lines = tuple(item(numbers.sentence(line, model)) for line in test.ranking[:MOST_RANKED])
        blocks += [paragraph("The tuner's ranking, best first:"), Items(lines)]
    return blocks


def _test(facts: Facts, test: TestFolder | None, found: Sequence[PhaseResult], words: str) -> list[Block]:
    rows = tuple(_row(facts, test, one, found[0].knobs) for one in found)
    name = test.name if test is not None else "own"
    blocks: list[Block] = [paragraph(words)] if words else []
    blocks.append(Table(id=f"phases-{name}", columns=COLUMNS, rows=rows))
    if any(_unsure(one) for one in found):
        blocks.append(paragraph("A question mark is an interval so wide that it says nothing."))
    for one in found:
        if one.evidence:
            lines = tuple(item(Name(clean(line))) for line in one.evidence)
            blocks += [paragraph("Phase ", Name(clean(one.name)), " ended so:"), Items(lines)]
    return blocks


def _unsure(one: PhaseResult) -> bool:
    rate = one.measured
    wide = rate is not None and not numbers.telling(rate.samples_low, rate.samples_high)
    return wide or (one.ratio is not None and not numbers.telling(one.ratio.low, one.ratio.high))


def _row(facts: Facts, test: TestFolder | None, one: PhaseResult, first: dict[str, KnobValue]) -> Row:
    basis = measured_basis(facts, test, one)
    verdict: Pieces = say(WORDS.get(one.verdict, one.verdict.replace("_", " ")))
    if one.text:
        verdict = say(*verdict, ": ", numbers.sentence(one.text, basis))
    grave = one.verdict not in (*WORDS, "faster", "slower", "not distinguishable", "unstable")
    severity = "critical" if grave else "warning" if one.verdict == "unstable" else ""
    return row(
        Name(clean(one.name)), changed(one, first), expected(one), paced(one, basis), _step(one, basis),
        compared(one, basis), verdict, severity=severity,  # type: ignore[arg-type]
    )  # fmt: skip


def measured_basis(facts: Facts, test: TestFolder | None, one: PhaseResult) -> Basis:
    if test is None and facts.plan.test is None and facts.run is not None:
        steps = one.measured.steps if one.measured is not None else 0
        return sources.journal(facts, facts.run, f"{steps:,} steps with profile {clean(one.name)}; 95 % interval")
    steps = one.measured.steps if one.measured is not None else 0
    return sources.phase(facts, test, one.number, steps, one.rounds)


def changed(one: PhaseResult, first: dict[str, KnobValue]) -> Pieces:
    """`num_workers 1→4`."""
    if one.mode != "train":
        return say(MODES.get(one.mode, ""))
    if not one.changed:
        return say("as it was")
    words = ", ".join(f"{name} {shown(first.get(name, '–'))}→{shown(value)}" for name, value in one.changed.items())
    return say(numbers.sentence(words, Basis("set", "set: the knobs of the phase")))


def expected(one: PhaseResult) -> Pieces:
    why = "nothing was foretold"
    return say(numbers.between(one.low, one.high, sources.modelled(one.basis or "before it began"), why=why))


def paced(one: PhaseResult, basis: Basis) -> Pieces:
    found = one.measured
    if found is None:
        return say(Missing("not measured"))
    return say(numbers.interval(found.samples_per_second, found.samples_low, found.samples_high, basis))


def _step(one: PhaseResult, basis: Basis) -> Pieces:
    return say(numbers.seconds(one.measured.step_seconds if one.measured is not None else None, basis, "not measured"))


def compared(one: PhaseResult, basis: Basis) -> Pieces:
    if one.ratio is None:
        return ()
    value = numbers.interval(one.ratio.value, one.ratio.low, one.ratio.high, basis, "×")
    more = "" if one.attributable or one.verdict not in ("faster", "slower") else ", by several knobs at once"
    return say(value, more) if effect(one) else say(value)
