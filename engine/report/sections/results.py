"""What it has learned: held-out figures of every finished run, beside the target."""

from __future__ import annotations

import statistics
from typing import Any

from engine.config.leading import measure
from engine.config.run_keys import variants_of
from engine.config.sources import example
from engine.live.state import RunState
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Block, Missing, Name, Piece, Row, Section, Table, Value, paragraph, row, say
from engine.runs.ablation import Compared, Result, compare
from engine.runs.so_far import blank
from engine.text import clean

FIRST = ("dice", "avd", "mcc")
MOST_FIGURES = 6
TITLE = "Results so far"


def section(facts: Facts) -> Section:
    if facts.plan.test is not None:
        return Section("results", TITLE, (paragraph(Missing("a test of profiles has no results")),))
    done = [run for run in facts.state.runs if run.phase == "finished" and run.test is not None]
    if not done:
        return Section("results", TITLE, (paragraph(Missing("no run has been tested yet")), *_target(facts)))
    names = _names(done, measure(facts.plan.experiment).figure)
    rows = [_run(facts, run, names) for run in done]
    variants = variants_of(run.key for run in facts.state.runs)
    if len(done) > 1 and not any(variants):
        rows.append(_spread(done, names))
    blocks: list[Block] = _example(facts)
    blocks.append(Table(id="results", columns=("run", *names), rows=tuple(rows)))
    blocks += _blank(facts)
    blocks += _variants(facts, done, variants) if any(variants) else []
    blocks += _pooled(facts)
    blocks += _target(facts, done)
    return Section("results", TITLE, tuple(blocks))


def _example(facts: Facts) -> list[Block]:
    made = example(facts.plan.experiment)
    return [paragraph(f"Of {made}. They say that it learns, not how well it would.")] if made else []


def _blank(facts: Facts) -> list[Block]:
    """Runs whose held-out figure says that they are no models."""
    kind, found = measure(facts.plan.experiment), blank(facts.state)
    if not found:
        return []
    names = "; ".join(run.key.name for run in found)
    than = "marking nothing right" if kind.better == "higher" else "guessing blindly"
    said = f": nothing was learned, a {kind.title} no better than {than}. No usable model."
    return [paragraph(Name(clean(names)), said)]


def _names(done: list[RunState], leading: str) -> tuple[str, ...]:
    seen = dict.fromkeys(name for run in done if run.test is not None for name in run.test.values)
    first = [name for name in (leading, *FIRST) if name in seen]
    return tuple(dict.fromkeys((*first, *seen)))[:MOST_FIGURES]


def _run(facts: Facts, run: RunState, names: tuple[str, ...]) -> Row:
    assert run.test is not None
    basis = sources.journal(facts, run, "its held-out test")
    values = (numbers.number(run.test.values.get(name), basis, fixed=3, why="not defined") for name in names)
    return row(Name(run.key.name), *values)


def _spread(done: list[RunState], names: tuple[str, ...]) -> Row:
    """Mean and standard deviation over runs: of a sample, n - 1."""
    cells: list[Piece] = []
    for name in names:
        known = [run.test.values[name] for run in done if run.test is not None and name in run.test.values]
        if len(known) < 2:
            cells.append(Missing("fewer runs have it than a spread needs"))
            continue
        mean, std = statistics.fmean(known), statistics.stdev(known)
        basis = Basis("measured", f"measured: mean and standard deviation of the held-out tests of {len(known)} runs")
        cells.append(Value(text=f"{mean:.3f} ± {std:.3f}", basis=basis, value=mean))
    return row("mean and deviation", *cells)


def _variants(facts: Facts, done: list[RunState], variants: tuple[str, ...]) -> list[Block]:
    """Each variant's mean over folds, and how far it is from the first one's, fold by fold."""
    judged = measure(facts.plan.experiment)
    told = [
        Result(run.key.variant, run.key.fold, run.key.restart, run.test.values[judged.figure])
        for run in done if run.test is not None and judged.figure in run.test.values
    ]
    basis = Basis("measured", "measured: the held-out tests of each variant's runs, restarts of a fold averaged")
    pairs = Basis("modelled", "modelled: Student's t over paired folds, which share what they learn from: too narrow")
    rows = [
        row(
            Name(clean(one.variant)),
            numbers.number(one.mean, basis, fixed=3), numbers.number(one.std, basis, fixed=3, why="one fold only"),
            numbers.count(one.folds, basis),
            numbers.number(one.difference, basis, fixed=3, why="it is what the others are compared with"),
            _interval(one, pairs), one.verdict(judged.better),
        )
        for one in compare(told, variants)
    ]
    columns = ("variant", f"{judged.title} over folds", "deviation", "folds", "difference", "range of it", "")
    return [Table(id="variants", columns=columns, rows=tuple(rows))]


def _interval(one: Compared, basis: Basis) -> Piece:
    if one.low is None or one.high is None:
        return Missing("fewer folds than an interval needs")
    text = f"{one.low:+.3f} to {one.high:+.3f} (95 %)"
    return Value(text=text, basis=basis, low=one.low, high=one.high)


def _pooled(facts: Facts) -> list[Block]:
    """Over subjects rather than runs: what the target of a paper may mean."""
    summary: dict[str, Any] = (facts.results or {}).get("summary", {})
    kind = measure(facts.plan.experiment)
    mean, std = summary.get(f"test_mean_{kind.figure}"), summary.get(f"test_std_{kind.figure}")
    if not isinstance(mean, int | float):
        return []
    basis = Basis("measured", f"measured: {facts.paths.results.name}, every held-out subject of every finished run")
    many = summary.get("num_test_subjects")
    pieces = say(f"{kind.title} per subject, pooled: ", numbers.number(float(mean), basis, fixed=3))
    if isinstance(std, int | float):
        pieces += say(" ± ", numbers.number(float(std), basis, fixed=3))
    if isinstance(many, int):
        pieces += say(" over ", numbers.count(many, basis), " subjects")
    return [paragraph(*pieces, ".")]


def _target(facts: Facts, done: list[RunState] | None = None) -> list[Block]:
    target = facts.plan.experiment.target
    if target is None:
        return []
    basis = Basis("quoted", clean(f"quoted: {target.source or 'the experiment names no source'}"))
    kind = measure(facts.plan.experiment)
    pieces = say(f"The published target: {kind.title} ", numbers.number(target.dice, basis, fixed=3))
    if target.std:
        pieces += say(" (", numbers.number(target.std, basis, fixed=3), ")")
    known = [run.test.values[kind.figure] for run in done or () if run.test and kind.figure in run.test.values]
    if known:
        mean = statistics.fmean(known)
        own = Basis("measured", f"measured: mean of the held-out tests of {len(known)} runs, less the quoted target")
        off = Value(text=f"{mean - target.dice:+.3f}", basis=own, value=mean - target.dice)
        pieces += say("; this experiment is ", off, " beside it, after ")
        pieces += say(numbers.count(len(known), sources.runs(facts)), " of ")
        pieces += say(numbers.count(len(facts.state.runs), sources.planned(facts)), " runs")
    return [paragraph(*pieces, ".")]
