"""Is it well, when does it end, what holds it back, what to do next."""

from __future__ import annotations

from engine.config.leading import measure
from engine.config.sources import example
from engine.eta.forecast import Forecast
from engine.live.state import RunState
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Block, Missing, Name, Pieces, Row, Section, Table, paragraph, row, say
from engine.report.risks import Risk, risks
from engine.report.sections import onward
from engine.text import clean
from engine.visit_status import test_verdict

STATES = {
    "preparing": "preparing {cases}",
    "queued": "queued: no run has started yet",
    "running": "training",
    "stopping": "stopping",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "failed",
    "lost": "lost: nobody is training, and nobody wrote down why",
}
RUNGS = {"epoch": "this epoch ends", "run": "this run ends", "experiment": "everything ends"}


def section(facts: Facts) -> Section:
    found = risks(facts)
    rows = [_state(facts), *_data(facts), *_how_far(facts), _well(facts, found), *_ends(facts), _limit(facts)]
    rows.append(_next(facts))
    blocks: list[Block] = [Table(id="status", columns=("", "now"), rows=tuple(rows))]
    verdict = test_verdict(facts.state)
    if verdict is not None and facts.over and verdict.kind != "finished":
        sure = "" if verdict.sure else " (not certain)"
        basis = sources.events(facts)
        blocks.append(paragraph(f"Why it ended{sure}: ", numbers.sentence(verdict.text, basis), "."))
        for line in verdict.evidence:
            blocks.append(paragraph("Evidence: ", Name(clean(line))))
        if verdict.advice and not facts.refused:  # else the row above has the command that works
            blocks.append(paragraph("What to do: ", numbers.sentence(verdict.advice, basis)))
    return Section("status", "At a glance", tuple(blocks))


def _state(facts: Facts) -> Row:
    state = facts.state
    doing = STATES[state.phase].format(cases=state.cases)
    word = "a test of profiles" if facts.plan.test is not None else doing
    pieces: Pieces = say(word)
    if facts.plan.test is not None:
        pieces = say(word, ", ", doing)
    grave = {"failed": "critical", "lost": "critical"}.get(state.phase, "")
    return row("state", pieces, severity=grave)  # type: ignore[arg-type]


def _data(facts: Facts) -> list[Row]:
    """Figures of what steptop made itself say that it learns, not how well it would."""
    made = example(facts.plan.experiment)
    return [row("data", made)] if made else []


def _how_far(facts: Facts) -> list[Row]:
    state, run = facts.state, facts.run
    plan = sources.planned(facts)
    done = numbers.count(state.runs_finished, sources.runs(facts))
    rows = [row("runs", say(done, " of ", numbers.count(len(state.runs), plan), " finished"))]
    if run is not None and run.begin is not None and facts.plan.test is None:
        journal = sources.journal(facts, run)
        pieces = say(
            Name(run.key.name),
            ": epoch ",
            numbers.count(run.epoch, journal),
            " of ",
            numbers.count(run.epochs, journal),
            ", step ",
            numbers.count(run.step, journal),
            " of ",
            numbers.count(run.steps_total or None, journal, "how many there are is not known"),
        )
        rows.append(row("the last run" if facts.over else "this run", pieces))
        rows.append(row("pace", _pace(facts)))
        rows.append(row("learning", _learning(facts, run)))
    return rows


def _pace(facts: Facts) -> Pieces:
    limit, basis = facts.limit, sources.lately(facts)
    if limit.step_seconds is None:
        return say(Missing("no step has been timed yet"))
    pieces = say(numbers.seconds(limit.step_seconds, basis), " a step")
    if limit.samples_per_second:
        pieces += say(", ", numbers.number(limit.samples_per_second, basis, "samples/s"))
    if facts.run is not None and facts.run.pace.warming:
        pieces += say(", still warming up")
    return pieces


def _learning(facts: Facts, run: RunState) -> Pieces:
    kind = measure(facts.plan.experiment)
    pieces = say("loss ", numbers.number(run.loss, sources.journal(facts, run, f"step {run.step:,}"), digits=4))
    for word, found in (("validation", run.validation), ("held-out test", run.test)):
        if found is not None and kind.figure in found.values:
            basis = sources.journal(facts, run, f"metrics after step {found.step:,}")
            pieces += say(f", {kind.title} in {word} ", numbers.number(found.values[kind.figure], basis, fixed=3))
    return pieces


def _well(facts: Facts, found: list[Risk]) -> Row:
    grave = [risk for risk in found if risk.severity in ("critical", "warning")]
    if not grave:
        words = "nothing that was measured speaks against it" if facts.run is not None else "nothing was measured yet"
        return row("is it well", say(words), severity="ok" if facts.run is not None else "")
    return row("is it well", grave[0].pieces, severity=grave[0].severity)


def _ends(facts: Facts) -> list[Row]:
    state, expected = facts.state, facts.forecast
    if facts.over:
        at = state.ended.t if state.ended is not None else _last(facts)
        word = "last heard of" if state.phase == "lost" else "ended"
        return [row(word, numbers.clock(at or None, sources.events(facts), "nobody wrote down when"))]
    rows = [row(word, _moment(expected, name)) for name, word in RUNGS.items()]
    if state.stop is not None and state.stop.phase != "done":
        asked = say({"after_run": "after this run", "now": "now", "force": "by force"}[state.stop.mode])
        rows.append(row("a stop is asked for", asked, severity="note"))
    return rows


def _last(facts: Facts) -> float:
    """The wall clock of the newest record there is."""
    steps = [run.pace.buckets[-1].t for run in facts.state.runs if run.pace.buckets]
    said = [sentence.t for sentence in facts.state.sentences]
    return max([*steps, *said, *(run.ended for run in facts.state.runs)], default=0.0)


def _moment(expected: Forecast, name: str) -> Pieces:
    estimate = getattr(expected, name)
    if estimate.seconds is None or estimate.at is None:
        return say(Missing(estimate.basis if not any(map(str.isdigit, estimate.basis)) else "not known yet"))
    basis = sources.expected(estimate.basis)
    pieces = say(
        numbers.clock(estimate.at, basis),
        ", in ",
        numbers.seconds(estimate.seconds, basis),
        " (",
        numbers.span(estimate.low, estimate.high, basis, estimate.seconds),
        ")",
    )
    return pieces + say(", warming: the range is wide on purpose") if expected.warming else pieces


def _limit(facts: Facts) -> Row:
    limit = facts.limit
    if facts.lately and limit.kind != "unknown":
        sure = {"sure": "", "likely": " (likely)", "a guess": " (a guess)"}[limit.confidence]
        held = say(numbers.sentence(limit.headline, sources.lately(facts)), sure)
        return row("what held it back" if facts.over else "what holds it back", held)
    why = limit.headline if not any(map(str.isdigit, limit.headline)) else "warming up; what limits it is not known yet"
    return row("what holds it back", say(Missing(why)))


def _next(facts: Facts) -> Row:
    found = onward.commands(facts)
    if not found:
        return row("what to do next", say("nothing: it has ended"))
    return row("what to do next", say(Name(found[0].line), ": ", *found[0].why))
