"""What one can decide: one run, all of them, fewer restarts; what each brings and costs."""

from __future__ import annotations

from engine.report import numbers, sources
from engine.report.elsewhere import Elsewhere
from engine.report.facts import Facts
from engine.report.model import Basis, Block, Missing, Name, Pieces, Row, Section, Table, paragraph, row, say
from engine.text import clean
from engine.whatif.options import Option

TITLE = "Options"
COLUMNS = ("option", "runs", "takes", "one gets", "one loses", "command")


def section(facts: Facts) -> Section:
    seen = facts.elsewhere
    if not seen.options:
        why = Missing(clean(seen.why).replace("`", "") or "nothing was measured yet")
        return Section("options", TITLE, (paragraph("Options: ", why), *_decided(seen)))
    rows = tuple(_row(facts, seen, one) for one in seen.options)
    words = paragraph("On the device it was measured on, from the first run to the last, finished ones included.")
    return Section("options", TITLE, (words, Table(id="options", columns=COLUMNS, rows=rows), *_decided(seen)))


def _row(facts: Facts, seen: Elsewhere, one: Option) -> Row:
    basis = sources.modelled(one.timeline.basis)
    plan = sources.planned(facts)
    takes = numbers.span(one.timeline.low, one.timeline.high, basis, one.timeline.value)
    command = seen.commands.get(one.number, "")
    return row(
        say(numbers.count(one.number, plan), ": ", one.title),
        numbers.count(one.runs, plan),
        takes,
        _words(one.gets, plan),
        _words(one.loses, plan),
        say(Name(clean(command))) if command else say("nothing to start: it is under way, or done"),
    )


def _words(lines: tuple[str, ...], basis: Basis) -> Pieces:
    return say(numbers.sentence("; ".join(lines), basis)) if lines else ()


def _decided(seen: Elsewhere) -> tuple[Block, ...]:
    decision = seen.decision
    if decision is None:
        return ()
    basis = Basis("set", "set: decided with the command estimate, and recorded with the experiment")
    when = numbers.clock(decision.at, basis)
    by = (" by ", Name(clean(decision.by))) if decision.by else ()
    told = numbers.sentence(f"{decision.number}, {decision.title}, on {decision.hardware}", basis)
    return (paragraph("Decided", *by, " on ", when, ": ", told, "."),)
