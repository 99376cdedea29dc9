"""Where a step goes, and what that shows."""

from __future__ import annotations

from engine.live.spikes import ordinal, spikes
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Block, Item, Items, Missing, Name, Row, Section, Table, item, paragraph, row
from engine.text import clean

ORDER = ("data", "h2d", "forward", "loss", "backward", "optimizer", "other")
MEANS = {
    "data": "waiting for the batch",
    "h2d": "copying it to the device",
    "forward": "the forward pass",
    "loss": "the loss",
    "backward": "the backward pass",
    "optimizer": "the optimizer",
    "other": "in no span",
}


def section(facts: Facts) -> Section:
    limit = facts.limit
    title = "Where a step goes"
    if not facts.lately or limit.step_seconds is None:
        return Section("step", title, (paragraph(Missing("no step has been timed yet")),))
    basis = sources.lately(facts)
    rows = [
        row(
            Name(one.name),
            MEANS.get(one.name, ""),
            numbers.seconds(one.seconds, basis),
            numbers.share(one.share, basis),
        )
        for one in sorted(limit.shares, key=lambda share: ORDER.index(share.name) if share.name in ORDER else 99)
        if one.seconds or one.name != "other"
    ]
    rows.append(row("a step", "from end to end", numbers.seconds(limit.step_seconds, basis), ""))
    rows += _load(facts)
    rows += _spikes(facts)
    blocks: list[Block] = [Table(id="step", columns=("part", "", "seconds", "share"), rows=tuple(rows))]
    if limit.kind != "unknown":
        blocks.append(paragraph(numbers.sentence(limit.headline, basis), *_sure(facts)))
    found: list[Item] = [item(numbers.sentence(line, sources.evidence(facts))) for line in limit.evidence]
    blocks += [paragraph("What shows it:"), Items(tuple(found))] if found else []
    model = sources.modelled(facts.advice.basis)
    if limit.advice:
        told = numbers.sentence(limit.advice, model if limit.change is not None else basis)
        blocks.append(paragraph("The next change: " if limit.change is not None else "To know: ", told))
    if limit.useless:
        blocks += [
            paragraph("What will not help:"),
            Items(tuple(item(numbers.sentence(line, model)) for line in limit.useless)),
        ]
    return Section("step", title, tuple(blocks))


def _sure(facts: Facts) -> tuple[str, ...]:
    words = {"sure": " That is sure.", "likely": " That is likely.", "a guess": " That is a guess."}
    return (words[facts.limit.confidence],)


def _load(facts: Facts) -> list[Row]:
    load = facts.limit.load_seconds
    if load is None:
        return []
    basis = sources.lately(facts)
    return [row("loading a sample", "inside a worker, beside the step", numbers.seconds(load, basis), "")]


def _spikes(facts: Facts) -> list[Row]:
    """What a step takes more that computes a term of the loss which counts at an interval."""
    found = spikes(facts.run) if facts.run is not None else ()
    return [
        row(
            numbers.sentence(f"every {ordinal(one.every)} step", sources.planned(facts)),
            f"longer by, for {', '.join(clean(name) for name in one.terms)}",
            numbers.seconds(one.seconds, sources.spikes(facts)),
            "",
        )
        for one in found
    ]
