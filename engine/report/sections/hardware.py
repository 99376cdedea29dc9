"""The same training on other GPUs: time, memory, cost, and where nothing can be claimed, why."""

from __future__ import annotations

from engine.report import numbers, sources
from engine.report.facts import Facts
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
    Value,
    item,
    paragraph,
    row,
    say,
)
from engine.text import clean
from engine.whatif.hardware import Gpu
from engine.whatif.hardware_table import TOO_SMALL, HardwareRow

TITLE = "On other hardware"
COLUMNS = ("GPU", "a step", "a run", "everything", "beside here", "a step's memory", "cost", "why")
NO_CLAIM = "no claim"


def section(facts: Facts) -> Section:
    seen = facts.elsewhere
    if not seen.rows:
        return Section("hardware", TITLE, (paragraph("Other GPUs: ", _missing(seen.why)), _asks(facts)))
    claimed = [one for one in seen.rows if one.known and not one.here]
    blocks: list[Block] = []
    if not claimed:
        why = next((one.why for one in seen.rows if not (one.here or one.known or one.too_small)), TOO_SMALL)
        blocks.append(paragraph("Other GPUs: ", _missing(why)))
    else:
        rows = tuple(_row(one) for one in seen.rows if one in claimed or one.here)
        words = "One GPU, all runs. Only what the GPU computes scales; waiting for the loader does not."
        blocks += [paragraph(words), Table(id="other-hardware", columns=COLUMNS, rows=rows)]
    blocks += _too_small(seen.rows)
    blocks += _unclaimed(seen.rows) if claimed else []
    return Section("hardware", TITLE, (*blocks, _asks(facts)))


def _missing(why: str) -> Missing:
    return Missing(clean(why).replace("`", ""))


def _asks(facts: Facts) -> Block:
    name = Name(f"steptop estimate {facts.called}{facts.where}")
    return paragraph(name, " asks the same with other knobs, epochs, GPUs and prices.")


def _row(one: HardwareRow) -> Row:
    basis, times = _basis(one), one.times
    return row(
        _name(one),
        _between(times.step.low, times.step.high, times.step.value, basis),
        _between(times.run.low, times.run.high, times.run.value, basis),
        _between(times.experiment.low, times.experiment.high, times.experiment.value, basis),
        say(numbers.between(one.speed.low, one.speed.high, basis, why=NO_CLAIM)) if not one.here else "",
        _memory(one),
        _cost(one),
        _why(one, basis),
    )


def _name(one: HardwareRow) -> Pieces:
    name = Name(clean(one.name))
    return say(name, ", here") if one.here else say(name)


def _basis(one: HardwareRow) -> Basis:
    if one.measured:
        return sources.modelled(f"modelled from steps {one.why or 'measured on it'}")
    said = _quoted(one.gpu)
    return Basis("modelled", clean(f"modelled: {one.why}; its peak figures {said}"))


def _quoted(gpu: Gpu | None) -> str:
    return f"quoted: {gpu.source}, {gpu.as_of}" if gpu is not None else "not in the sheet"


def _between(low: float | None, high: float | None, value: float | None, basis: Basis) -> Pieces:
    return say(numbers.span(low, high, basis, value, NO_CLAIM))


def _memory(one: HardwareRow) -> Pieces:
    words = {"fits": "fits", "tight": "tight", "over": "does not fit"}.get(one.memory)
    return say(Value(text=words, basis=_need(one)) if words is not None else _missing(one.memory_text or "not known"))


def _need(one: HardwareRow) -> Basis:
    return Basis("modelled", clean(f"modelled: a step's memory on {one.name}: {one.memory_text}"))


def _why(one: HardwareRow, basis: Basis) -> Pieces:
    """What holds it back there; what its times rest on is their basis."""
    first = one.why.split("; ")[0]
    return say(numbers.sentence(first, basis)) if first.startswith(("it ", "measured")) else ()


def _cost(one: HardwareRow) -> Pieces:
    money = one.money
    if money.low is None or money.high is None:
        return say(_missing(money.text or "no price known"))
    basis = Basis("quoted", clean(f"quoted: {money.text}; times the modelled time"))
    text = f"{_money(money.low)}–{_money(money.high)} {money.currency}"
    return say(Value(text=text, basis=basis, unit=money.currency, low=money.low, high=money.high))


def _money(value: float) -> str:
    """Cents where they matter."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def _too_small(rows: tuple[HardwareRow, ...]) -> list[Block]:
    small = [one for one in rows if one.too_small]
    if not small:
        return []
    names = [Value(text=clean(one.name), basis=_need(one)) for one in small]
    return [paragraph("A step does not fit into the memory of: ", *numbers.listed(names), ".")]


def _unclaimed(rows: tuple[HardwareRow, ...]) -> list[Block]:
    """GPUs of which nothing can be said, by reason."""
    reasons: dict[str, list[str]] = {}
    for one in rows:
        if not (one.known or one.here or one.too_small):
            reasons.setdefault(one.why, []).append(one.name)
    if not reasons:
        return []
    items = tuple(item(Name(", ".join(names)), ": ", _missing(why)) for why, names in reasons.items())
    return [paragraph("Nothing is claimed of:"), Items(items)]
