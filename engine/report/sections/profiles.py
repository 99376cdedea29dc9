"""Profiles to choose from: what each is expected to bring and take, and what it brought where it was tried."""

from __future__ import annotations

from engine.config.knob import shown
from engine.config.profile import KNOBS, kind_of_change
from engine.diagnosis.candidates import Candidate, candidates
from engine.diagnosis.consequences import Consequences, Range, consequences
from engine.machine.cores import Machine, machine
from engine.memory.budget import Budget, budget
from engine.memory.footprint import footprint
from engine.phase.phases import PhaseResult
from engine.phase.plans import Wanted
from engine.report import numbers, sources
from engine.report.facts import Facts, TestFolder
from engine.report.model import Basis, Block, Missing, Name, Piece, Pieces, Row, Section, Table, paragraph, row, say
from engine.report.sections.phases import compared, measured_basis
from engine.text import clean

LETTERS = (("A", "conservative"), ("B", "moderate"), ("C", "aggressive"))
SHIPPED = Basis("set", "set: the profile's own file, made whole for this experiment and machine")
TITLE = "Profiles to choose from"
COLUMNS = ("profile", "changes", "a step", "samples/s", "everything ends in", "RAM", "measured", "to know")


def section(facts: Facts) -> Section:
    if facts.own_trainer:
        why = "it trains with a trainer of its own, which has no knobs of steptop's"
        return Section("profiles", TITLE, (paragraph("Profiles: ", Missing(why)),))
    wanted = [Wanted(name=f"{letter}: {name}", profile=name) for letter, name in LETTERS]
    tried = facts.run.tested if facts.run is not None else ()
    found = candidates(facts.plan, wanted, facts.paths.folder.parent, tried, _machine(facts))
    table = Table(id="profiles", columns=COLUMNS, rows=tuple(_row(facts, one) for one in found))
    words = paragraph(
        "These are points to measure from, not answers. What is expected is modelled; what was measured says how sure "
        "it is."
    )
    blocks: tuple[Block, ...] = (words, table)
    return Section("profiles", TITLE, blocks)


def _machine(facts: Facts) -> Machine:
    """The one it trains on, as far as its readings say."""
    return Machine(cores=facts.sample.cores) if facts.sample is not None else machine()


def _row(facts: Facts, one: Candidate) -> Row:
    if one.problem:
        return row(Name(one.name), "", "", "", "", "", "", say(Name(clean(one.problem))), severity="warning")
    brings = consequences(facts.state, one.knobs, facts.forecast)
    takes = budget(facts.knobs | one.knobs, footprint(facts.state)) if facts.sample is not None else None
    step, rate, ends = brings.step_seconds, brings.samples_per_second, brings.finish
    why = "no steps measured yet"
    if not brings.foretold:
        step = rate = Range()
        why = "not modelled: a test phase tells"
    model = sources.modelled(step.basis)
    if brings.measured and not brings.changes:
        model = Basis("measured", f"measured: {clean(step.basis)}, 95 % interval")
    other = _changed(facts, one)
    changes = ", ".join(f"{name} {shown(facts.knobs.get(name, ''))}→{shown(value)}" for name, value in other)
    return row(
        Name(one.name),
        say(numbers.sentence(changes, SHIPPED) if changes else "as it runs"),
        numbers.expected(step.low, step.high, model, step.value, why),
        numbers.between(rate.low, rate.high, model, why=why),
        _ends(facts, ends),
        _ram(takes),
        _measured(facts, one),
        _to_know(facts, one, brings, takes),
    )


def _ends(facts: Facts, ends: Range) -> Piece:
    if facts.over:
        return Missing("it has ended")
    return numbers.expected(ends.low, ends.high, sources.modelled(ends.basis), ends.value, "no forecast yet")


def _changed(facts: Facts, one: Candidate) -> list[tuple[str, object]]:
    return [(name, one.knobs[name]) for name in KNOBS if name in one.knobs and one.knobs[name] != facts.knobs.get(name)]


def _ram(takes: Budget | None) -> Pieces:
    if takes is None:
        return say(Missing("the machine has not been read yet"))
    ram = takes.ram
    basis = Basis("modelled", f"modelled: {clean(ram.sentence)}")
    spread = numbers.size(ram.bytes, basis)
    return say(spread, {"over": ", which does not fit", "tight": ", which is tight"}.get(ram.verdict, ""))


def _measured(facts: Facts, one: Candidate) -> Pieces:
    """What it brought where a test of this experiment, or the training itself, had the very same knobs."""
    sources_of: list[tuple[TestFolder | None, PhaseResult]] = [(None, phase) for phase in facts.living]
    sources_of += [(test, phase) for test in facts.tests if not test.other for phase in test.found]
    for test, phase in reversed(sources_of):
        if phase.measured is None or phase.mode != "train" or _differs(one, phase):
            continue
        basis = measured_basis(facts, test, phase)
        found = phase.measured
        low, high = found.samples_low, found.samples_high
        rate = numbers.interval(found.samples_per_second, low, high, basis, unit="samples/s")
        beside = compared(phase, basis)
        unsure = ", unstable" if phase.verdict == "unstable" else ""
        return say(rate, unsure, *((", ", *beside, " the first") if beside else ()))
    return say(Missing("not tried"))


def _differs(one: Candidate, phase: PhaseResult) -> bool:
    known = [(name, value) for name, value in one.knobs.items() if name in KNOBS]
    return any(phase.knobs.get(name, KNOBS[name].default) != value for name, value in known)


def _to_know(facts: Facts, one: Candidate, brings: Consequences, takes: Budget | None) -> Pieces:
    said: list[str] = [f"{change.name} is locked: {change.lock}" for change in brings.locked]
    names = [name for name, _ in _changed(facts, one)]
    if any(KNOBS[name].kind != "speed only" for name in names):
        said.append(kind_of_change(names))
    if takes is not None:
        said += [f"{part.name}: {part.sentence}" for part in takes.resources if part.verdict == "over"]
    if one.fixed and not facts.over:
        said.append(f"{', '.join(one.fixed)} cannot change while it trains")
    model = sources.modelled(facts.workload_basis)
    return say(numbers.sentence("; ".join(said), model)) if said else ()
