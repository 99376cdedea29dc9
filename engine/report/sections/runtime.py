"""How long it takes: what has been spent, run by run and epoch by epoch, and what is left, part by part."""

from __future__ import annotations

from engine.eta.costs import pooled
from engine.eta.ladder import Part, Rung
from engine.live.state import RunState
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import (
    Basis,
    Block,
    Kind,
    Missing,
    Name,
    Paragraph,
    Pieces,
    Row,
    Section,
    Table,
    paragraph,
    row,
    say,
)

# Of more epochs only the first and the last ones are listed.
MOST_EPOCHS, FIRST, LAST = 20, 3, 12
WORDS = {"closing": "processes that start and end", "evaluate": "held-out tests, by subject", "train": "train, by step"}
RUNGS = {"step", "epoch", "run", "fold", "experiment"}


def section(facts: Facts) -> Section:
    blocks: list[Block] = []
    blocks += _ladder(facts)
    blocks += _left(facts)
    blocks += _spent(facts)
    blocks += _runs(facts)
    blocks += _epochs(facts)
    return Section("runtime", "How long it takes", tuple(blocks))


# ---------------------------------------------------------------- what is left


def _ladder(facts: Facts) -> list[Block]:
    rungs = [one for one in facts.forecast.ladder if one.name in RUNGS]
    if facts.over:
        return [paragraph("It has ended; nothing is left to foretell.")]
    if not rungs:
        return [paragraph("No forecast yet: ", Missing("no step has ended"))]
    blocks: list[Block] = [Table(id="ladder", columns=("ends", "in", "range", "at"), rows=tuple(map(_rung, rungs)))]
    text = facts.forecast.text
    rests = Basis("modelled", "modelled: what the forecast rests on")
    blocks.append(paragraph("It rests on: ", numbers.sentence(text, rests)))
    if facts.forecast.intervals:
        basis = Basis("modelled", "modelled: how the ranges were calibrated")
        blocks.append(paragraph("Its ranges: ", numbers.sentence(facts.forecast.intervals, basis)))
    return blocks


def _rung(one: Rung) -> Row:
    estimate, basis = one.estimate, sources.expected(one.estimate.basis)
    name = say(numbers.sentence(one.label, basis) if any(map(str.isdigit, one.label)) else one.label)
    if one.runs > 1:
        name += say(" (", numbers.count(one.runs, basis, unit="runs"), ")")
    left, at = numbers.seconds(estimate.seconds, basis), numbers.clock(estimate.at, basis)
    return row(name, left, numbers.span(estimate.low, estimate.high, basis, estimate.seconds), at)


def _left(facts: Facts) -> list[Block]:
    """Every part of the time left: how many, what each costs, what that makes."""
    whole = next((one for one in facts.forecast.ladder if one.name == "experiment"), None)
    if facts.over or whole is None or not whole.parts:
        return []
    total = whole.estimate.seconds
    rows = [_part(facts, part, total) for part in whole.parts]
    basis = sources.expected(whole.estimate.basis)
    rows.append(row("all that is left", "", "", numbers.hours(total, basis), ""))
    columns = ("left to do", "how many", "each", "in all", "share")
    return [Table(id="left", columns=columns, rows=tuple(rows))]


def _part(facts: Facts, part: Part, total: float | None) -> Row:
    kind: Kind = {"measured": "measured", "quoted": "quoted"}.get(part.kind, "modelled")  # type: ignore[assignment]
    each = Basis(kind, f"{kind}: {part.name}, {part.basis.removeprefix(kind).lstrip()}")
    made = Basis("modelled", f"modelled: how many times what each costs, {part.name}: {part.basis}")
    count = Basis("counted", f"counted: {facts.paths.plan.name}, {facts.paths.data.name} and what is done already")
    share = numbers.share(part.seconds / total if total else None, made)
    return row(
        WORDS.get(part.name, part.name), numbers.amount(part.times, count), numbers.seconds(part.each, each),
        numbers.hours(part.seconds, made), share,
    )  # fmt: skip


# ---------------------------------------------------------------- what was spent


def _spent(facts: Facts) -> list[Block]:
    """All steps and spans of all runs so far; steps that a resume did again count once."""
    runs = [run for run in facts.state.runs if run.begin is not None]
    steps = sum(run.pace.steps for run in runs)
    if not steps:
        return []
    seconds = sum(run.pace.seconds for run in runs)
    names = sorted({name for run in runs for name in run.parts}, key=lambda n: -pooled(facts.state, n).seconds)
    total = seconds + sum(pooled(facts.state, name).seconds for name in names)
    basis = sources.everywhere(facts, "all steps")
    rows = [_line("train", steps, seconds, total, basis)]
    for name in names:
        part = pooled(facts.state, name)
        rows.append(_line(name, part.count, part.seconds, total, sources.everywhere(facts, f"spans called {name}")))
    all_of_it = sources.everywhere(facts, "all steps and spans")
    rows.append(row("all that was recorded", "", "", numbers.hours(total, all_of_it), ""))
    if facts.state.prepare_seconds is not None:
        took = numbers.hours(facts.state.prepare_seconds, sources.events(facts))
        rows.append(row(f"preparing {facts.state.cases}, once", "", "", took, ""))
    if gaps := facts.state.gaps:
        between = sources.events(facts)
        count, mean = numbers.count(len(gaps), between), numbers.seconds(sum(gaps) / len(gaps), between)
        rows.append(row("between runs", count, mean, numbers.hours(sum(gaps), between), ""))
    columns = ("spent so far", "how often", "each, on average", "in all", "share")
    return [Table(id="spent", columns=columns, rows=tuple(rows))]


def _line(name: str, count: int, seconds: float, total: float, basis: Basis) -> Row:
    label = say(name if name == "train" else Name(name))
    each = numbers.seconds(seconds / count if count else None, basis)
    share = numbers.share(seconds / total if total else None, basis)
    return row(label, numbers.count(count, basis), each, numbers.hours(seconds, basis), share)


def _runs(facts: Facts) -> list[Block]:
    begun = [run for run in facts.state.runs if run.phase != "waiting"]
    if not begun or facts.plan.test is not None:
        return []
    first = _pace(begun[0])
    rows = tuple(_run(facts, run, first) for run in begun)
    columns = ("run", "state", "attempts", "steps", "took", "a step", "beside the first")
    return [Table(id="runs", columns=columns, rows=rows)]


def _pace(run: RunState) -> float | None:
    return run.pace.seconds / run.pace.steps if run.pace.steps and run.pace.seconds else None


def _run(facts: Facts, run: RunState, first: float | None) -> Row:
    attempts, events = facts.attempts_of(run), sources.events(facts)
    pace, basis = _pace(run), sources.whole(facts, run)
    more = pace / first - 1 if pace and first and run is not facts.state.runs[0] else None
    beside = numbers.sentence(f"{100 * more:+.1f} %", basis) if more is not None else None
    return row(
        Name(run.key.name),
        run.phase,
        numbers.count(max(run.attempt, len(attempts)), events),
        numbers.count(run.step, basis),
        _took(facts, run),
        numbers.seconds(pace, basis, "no step has ended"),
        beside or "",
    )


def _took(facts: Facts, run: RunState) -> Pieces:
    """All attempts that have ended; one that nobody saw end is not counted, and said to be missing."""
    attempts, events = facts.attempts_of(run), sources.events(facts)
    running = run.phase == "running"
    if not attempts:
        return say(Missing("it has not ended yet" if running else "nobody wrote down how long it took"))
    took = numbers.hours(sum(one.seconds for one in attempts), events)
    if running:
        return say(took, " before this attempt")
    missing = run.attempt - len(attempts)
    return say(took, " without ", numbers.count(missing, events), " whose end nobody saw") if missing > 0 else say(took)


def _epochs(facts: Facts) -> list[Block]:
    """The present run's, each with its own seconds."""
    run, index = facts.run, facts.state.current
    if run is None or index is None or facts.plan.test is not None:
        return []
    epochs = facts.files[index].epochs
    if not epochs:
        return [paragraph("Epochs: ", Missing("none has ended yet"))]
    listed = epochs if len(epochs) <= MOST_EPOCHS else (*epochs[:FIRST], *epochs[-LAST:])
    rows = []
    for epoch in listed:
        wrong = ", by its clock: the trainer's own figure is cumulative" if epoch.cumulative else ""
        basis = Basis("measured", f"measured: {epoch.file}, its epoch records{wrong}")
        each = epoch.seconds / epoch.steps if epoch.steps else None
        rows.append(
            row(
                numbers.count(epoch.epoch, basis),
                numbers.count(epoch.steps, basis),
                numbers.seconds(epoch.seconds, basis),
                numbers.seconds(each, basis, "no steps"),
                numbers.number(epoch.loss, basis, digits=4, why="not said"),
            )
        )
    columns = ("epoch", "steps", "took, all in all", "a step, all in all", "loss")
    blocks: list[Block] = [Table(id="epochs", columns=columns, rows=tuple(rows))]
    return [*blocks, _all_epochs(facts, run, len(listed))]


def _all_epochs(facts: Facts, run: RunState, shown: int) -> Paragraph:
    epochs = facts.files[facts.state.current or 0].epochs
    basis = sources.journal(facts, run, "its epoch records")
    took = [epoch.seconds for epoch in epochs]
    hidden = (", of which ", numbers.count(shown, basis), " are listed") if shown < len(epochs) else ()
    return paragraph(
        "Epochs of this run: ",
        numbers.count(len(took), basis),
        *hidden,
        "; the quickest took ",
        numbers.seconds(min(took), basis),
        ", the slowest ",
        numbers.seconds(max(took), basis),
        ", on average ",
        numbers.seconds(sum(took) / len(took), basis),
        ". Each has its own seconds, with everything in it.",
    )
