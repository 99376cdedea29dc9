"""What shall end it in time: a time, a deadline, a budget, a platform; and what fits before."""

from __future__ import annotations

from engine.limit.afterwards import became
from engine.limit.allowance import Allowance
from engine.limit.limits import Due, money
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Block, Pieces, Row, Section, Table, Value, paragraph, row, say
from engine.text import clean

TITLE = "Limits"


def section(facts: Facts) -> Section:
    """Nothing where nothing limits it."""
    allowed = facts.allowed
    if allowed is None:
        return Section("limits", TITLE, ())
    rows = tuple((_became if facts.over else _due)(facts, due) for due in allowed.dues)
    columns = ("limit", "at its end") if facts.over else ("limit", "ends by", "left")
    blocks: list[Block] = [Table(id="limits", columns=columns, rows=rows)]
    fits = fit_words(facts)
    if fits:
        blocks.append(paragraph("Until then: ", *fits, "."))
    blocks += _spent(facts, allowed)
    return Section("limits", TITLE, tuple(blocks))


def _due(facts: Facts, due: Due) -> Row:
    basis = _basis(facts, due)
    left = numbers.seconds(max(0.0, due.seconds), basis)
    return row(numbers.sentence(due.text, basis), numbers.clock(due.at, basis), left)


def _became(facts: Facts, due: Due) -> Row:
    """Of what has ended: nothing is left to come."""
    basis = _basis(facts, due)
    return row(numbers.sentence(due.text, basis), numbers.sentence(became(due, facts.state.reached), basis))


def _basis(facts: Facts, due: Due) -> Basis:
    """Who set it: the user, or a platform."""
    if due.quoted:
        return sources.quoted(due.quoted)
    return Basis("set", f"set: {facts.paths.events.name}, its newest limit record")


def fit_words(facts: Facts) -> Pieces:
    """`4 of 30 runs fit (3 to 5)`; nothing where it is not known."""
    allowed = facts.allowed
    if allowed is None or allowed.fit is None:
        return ()
    return say(numbers.sentence(allowed.fit.text, sources.expected(facts.forecast.experiment.basis)))


def _spent(facts: Facts, allowed: Allowance) -> list[Block]:
    if allowed.spent is None or allowed.rate is None:
        return []
    rate = allowed.rate
    devices = f" of {rate.devices}" if rate.devices > 1 else ""
    price = f"quoted: {rate.hourly:g} {rate.currency} an hour and device{devices}, {rate.basis or 'as given'}"
    basis = Basis("quoted", clean(price))
    spent = Value(text=money(allowed.spent, rate.currency), basis=basis, value=allowed.spent, unit=rate.currency)
    pieces = say("Spent so far: ", spent)
    if allowed.budget is not None:
        plan = Basis("set", f"set: {facts.paths.events.name}, its newest limit record")
        pieces += say(" of ", Value(text=money(allowed.budget, rate.currency), basis=plan, value=allowed.budget))
    return [paragraph(*pieces, ".")]
