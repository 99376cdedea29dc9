"""Memory: what each process has, what is on its way, what grows, and what the GPU holds."""

from __future__ import annotations

from engine.journals.events import Sample, Worker
from engine.memory.budget import Resource, budget
from engine.memory.footprint import footprint
from engine.memory.vram_budget import Part
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Block, Missing, Pieces, Row, Section, Table, Value, paragraph, row, say
from engine.sizes import said
from engine.text import clean

TITLE = "Memory"


def section(facts: Facts) -> Section:
    sample = _sample(facts)
    if sample is None:
        return Section("memory", TITLE, (paragraph(Missing("no reading of the machine holds its processes")),))
    blocks: list[Block] = [Table(id="processes", columns=("process", "PSS", "USS"), rows=_processes(facts, sample))]
    blocks.append(paragraph("PSS shares common pages out, USS is a process's own alone; both without files' pages."))
    blocks.append(_growth(facts))
    blocks += _device(facts)
    if not facts.over and not facts.own_trainer:
        made = budget(facts.knobs, footprint(facts.state))
        rows = tuple(line for one in made.resources for line in _resource(one))
        if rows:
            words = "What this profile takes, part by part:"
            columns = ("of", "part", "usual", "range")
            blocks += [paragraph(words), Table(id="budget", columns=columns, rows=rows)]
    return Section("memory", TITLE, tuple(blocks))


def _sample(facts: Facts) -> Sample | None:
    """The newest reading in which its processes are: of an ended training, the last one while it ran."""
    return next((one for one in reversed(facts.state.samples) if one.workers), None)


def _processes(facts: Facts, sample: Sample) -> tuple[Row, ...]:
    basis = sources.reading(facts, sample)
    rows, workers = [], [one for one in sample.workers if one.role == "worker"]
    for one in sample.workers:
        if one.role == "trainer":
            rows.append(row("trainer", _size(one.pss, basis), _size(one.uss, basis)))
    if workers:
        count = numbers.count(len(workers), basis)
        rows.append(row(say("a worker, mean of ", count), _mean(workers, "pss", basis), _mean(workers, "uss", basis)))
    return (*rows, row("all of them", _total(sample, basis), ""))


def _size(value: int | None, basis: Basis) -> Pieces:
    return say(numbers.size(value, basis, "the kernel does not say"))


def _mean(workers: list[Worker], field: str, basis: Basis) -> Pieces:
    known = [value for one in workers if (value := getattr(one, field)) is not None]
    return _size(round(sum(known) / len(known)) if known else None, basis)


def _total(sample: Sample, basis: Basis) -> Pieces:
    known = [one.pss for one in sample.workers if one.pss is not None]
    return _size(sum(known) if len(known) == len(sample.workers) else None, basis)


def _growth(facts: Facts) -> Block:
    trend = facts.trend
    basis = sources.growth(facts)
    if trend.bytes_per_hour is None:
        return paragraph("Growth: none that could be told from chance.")
    words = numbers.size(trend.bytes_per_hour, basis)
    model = sources.going_on(facts)
    if trend.full_in_seconds is not None:
        full = numbers.seconds(trend.full_in_seconds, model)
        return paragraph("Growth: ", words, " an hour; RAM full in ", full, ".")
    more = (": ", numbers.sentence(trend.text, model)) if trend.text else ()
    return paragraph("Growth: ", words, " an hour", *more, ".")


def _device(facts: Facts) -> list[Block]:
    run, sample = facts.run, facts.sample
    rows: list[Row] = []
    if run is not None and run.memory is not None:
        basis = sources.journal(facts, run, "its newest memory record")
        for word, value in (
            ("allocated", run.memory.allocated),
            ("reserved", run.memory.reserved),
            ("allocated at most", run.memory.peak_allocated),
            ("reserved at most", run.memory.peak_reserved),
        ):
            rows.append(row(word, "the trainer's own view", numbers.size(value, basis)))
    for gpu in sample.gpus if sample is not None else ():
        basis = sources.reading(facts, sample)  # type: ignore[arg-type]
        why = clean(gpu.error) or "the driver does not say"
        seen = say("GPU ", numbers.count(gpu.index, basis), ", by the driver")
        rows.append(row("by this training", seen, numbers.size(gpu.own_memory, basis, why)))
        rows.append(row("in all", seen, numbers.size(gpu.memory_used, basis, why)))
        rows.append(row("there is", seen, numbers.size(gpu.memory_total, basis, why)))
    return [Table(id="vram", columns=("GPU memory", "seen by", ""), rows=tuple(rows))] if rows else []


def _resource(one: Resource) -> list[Row]:
    rows = [_part(one, part) for part in one.parts if part.basis != "unknown"]
    if not rows:
        return []
    basis = Basis("modelled", f"modelled: {clean(one.sentence)}")
    severity = {"over": "critical", "tight": "warning"}.get(one.verdict, "")
    spread = _range(one.low, one.high, basis)
    limit = say("all of it")
    if one.limit is not None:
        limit += say(", of ", numbers.size(one.limit, basis), " free")
    return [*rows, row(say(one.name), limit, numbers.size(one.bytes, basis), spread, severity=severity)]  # type: ignore[arg-type]


def _range(low: float, high: float, basis: Basis) -> Value:
    least, most = said(low), said(high)
    return numbers.sentence(f"{least} to {most}" if least != most else least, basis)


def _part(one: Resource, part: Part) -> Row:
    kind = "measured" if part.basis == "measured here" else "modelled"
    basis = Basis(kind, f"{kind}: {clean(part.text)}")  # type: ignore[arg-type]
    spread = _range(part.low, part.high, basis)
    return row(say(one.name), say(part.name), numbers.size(part.bytes, basis), spread)

