"""What may go wrong, or has: read from the measurements, the gravest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod

import msgspec

from engine.counts import plural, some
from engine.eta.validation import mismatches
from engine.live.changes import changes_of
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Name, Piece, Pieces, Severity, say
from engine.text import clean

ORDER: tuple[Severity, ...] = ("critical", "warning", "note")
# Full within a day: soon enough to act on.
SOON_SECONDS = 86_400.0
LITTLE_DISK = 5_000_000_000
LATER_RUN = 0.05
MOST_SLOW, MOST_CHANGES = 6, 4
# A slowdown whose later changes bring the pace back to this is over.
STILL_SLOWER = 1.04


class Risk(msgspec.Struct, frozen=True):
    severity: Severity
    pieces: Pieces


Finder = Callable[[Facts], Iterable[Risk]]


def risks(facts: Facts) -> list[Risk]:
    """All of them; none of equal gravity changes its place."""
    found = [risk for finder in FINDERS for risk in finder(facts)]
    return sorted(found, key=lambda risk: ORDER.index(risk.severity))


def _ended_badly(facts: Facts) -> Iterator[Risk]:
    state, verdict = facts.state, facts.state.verdict
    if state.phase in ("failed", "lost") and verdict is not None:
        sure = "" if verdict.sure else ", which is not certain"
        yield Risk("critical", say("it ended badly: ", numbers.sentence(verdict.text, sources.events(facts)), sure))
    if left := [run.key.name for run in state.runs if run.given_up]:
        words = f"{plural(len(left), 'run')} not started any more, as others of the variant failed: {some(left)}"
        yield Risk("warning", say(numbers.sentence(words, sources.events(facts))))
    for number, run in enumerate(state.runs):
        if run.phase == "failed" and run.verdict is not None and state.phase != "failed":
            where = sources.events(facts)
            told = numbers.sentence(f"run {number + 1} failed: {run.verdict.text}", where)
            yield Risk("warning", say(told))


def _silent(facts: Facts) -> Iterator[Risk]:
    state = facts.state
    if state.stalled_seconds and facts.run is not None:
        quiet = numbers.seconds(state.stalled_seconds, sources.journal(facts, facts.run, "its last line's clock"))
        yield Risk("critical", say("nothing new has come from the trainer for ", quiet, ", although it lives"))
    if state.trainer_alive and not state.supervisor_alive and state.ended is None:
        yield Risk("warning", say("the supervisor is gone; the training goes on, but no next run would start"))
    if state.disk_full:
        yield Risk("critical", say("the disk is full: training goes on unseen and unsaved"))
    if state.survivors:
        count = numbers.count(len(state.survivors), sources.events(facts))
        yield Risk("warning", say(count, " of its processes could not be ended"))


def _memory(facts: Facts) -> Iterator[Risk]:
    trend = facts.trend
    if facts.over or trend.bytes_per_hour is None:
        return
    basis = sources.growth(facts)
    grows = say("memory grows by ", numbers.size(trend.bytes_per_hour, basis), " an hour")
    model = sources.going_on(facts)
    if trend.full_in_seconds is not None:
        text = say(*grows, "; RAM would be full in ", numbers.seconds(trend.full_in_seconds, model))
        least, most = facts.forecast.experiment.low, facts.forecast.experiment.high
        if least is not None and least > trend.full_in_seconds:
            yield Risk("critical", say(*text, ", before the experiment's end"))
        elif most is not None and most < trend.full_in_seconds:
            yield Risk("note", say(*text, ", after the experiment's end"))
        else:
            yield Risk("critical" if trend.full_in_seconds < SOON_SECONDS else "warning", text)
    elif trend.text:
        yield Risk("note", say(*grows, ": ", numbers.sentence(trend.text, model)))


def _disk(facts: Facts) -> Iterator[Risk]:
    sample = facts.sample
    if sample is not None and sample.disk_total and sample.disk_free < LITTLE_DISK and not facts.state.disk_full:
        free = numbers.size(sample.disk_free, sources.reading(facts, sample))
        yield Risk("warning", say("only ", free, " are free on the disk of its folder"))
    for files in facts.files:
        for lost in files.unsaved[-1:]:
            told = numbers.sentence(f"{lost.file} after step {lost.step:,}: {lost.error}", sources.events(facts))
            yield Risk("warning", say("a checkpoint could not be written: ", told))


def _pace(facts: Facts) -> Iterator[Risk]:
    run = facts.run
    if run is None or facts.plan.test is not None:
        return
    changes = facts.forecast.changes
    for number, change in enumerate(changes):
        if change.ratio > 1:
            basis = sources.journal(facts, run, f"from step {change.first:,} on")
            told = say("steps became ", numbers.sentence(f"{change.words}; {clean(change.cause)}", basis))
            over = prod(later.ratio for later in changes[number:]) < STILL_SLOWER
            yield Risk("note", say(*told, ", which is over")) if over else Risk("warning", told)
    if (creep := facts.forecast.creep) is not None:
        basis = sources.journal(facts, run, f"from step {creep.first:,} on")
        grown = numbers.share(creep.grown, basis)
        yield Risk("warning", say("steps take longer and longer: ", grown, " more so far"))
    yield from _later_runs(facts)


def _slowed_before(facts: Facts) -> Iterator[Risk]:
    """What runs that are over went through, the worst first, as many as there is room for."""
    if facts.plan.test is not None:
        return
    over = [run for run in facts.state.runs if facts.over or run is not facts.run]
    found = [(change, run) for run in over for change in changes_of(run) if change.ratio > 1]
    for change, run in sorted(found, key=lambda one: -one[0].ratio)[:MOST_CHANGES]:
        basis = sources.journal(facts, run, f"from step {change.first:,} on")
        told = numbers.sentence(f"{change.words}; {clean(change.cause)}", basis)
        yield Risk("note", say("in ", Name(run.key.name), ", which is over, steps became ", told))
    if len(found) > MOST_CHANGES:
        rest = numbers.count(len(found) - MOST_CHANGES, sources.everywhere(facts, "all steps"))
        yield Risk("note", say("slower stretches beside those: ", rest))


def _later_runs(facts: Facts) -> Iterator[Risk]:
    """Drift between runs, of which an epoch at least is done: three runs of one configuration once took 63.6, 64.3 and
    69.2 h. Every slow one, the slowest first, as many as there is room for."""
    told = [run for run in facts.state.runs if run.pace.seconds and run.steps_per_epoch <= run.pace.steps]
    if len(told) < 2:
        return
    first, *later = ((run.pace.seconds / run.pace.steps, run) for run in told)
    slow = sorted(((pace / first[0] - 1, run) for pace, run in later if pace > first[0] * (1 + LATER_RUN)),
                  key=lambda one: -one[0])  # fmt: skip
    if not slow:
        return
    named: list[Piece | str] = []
    for more, run in slow[:MOST_SLOW]:
        longer = numbers.share(more, sources.whole(facts, run))
        named += [", " if named else "", Name(run.key.name), " ", longer]
    rest = len(slow) - MOST_SLOW
    others = (" and ", numbers.count(rest, sources.runs(facts)), " more runs") if rest > 0 else ()
    yield Risk("warning", say("steps took longer than the first run's: ", *named, *others))


def _limits(facts: Facts) -> Iterator[Risk]:
    allowed = facts.allowed
    if allowed is not None and allowed.tight and allowed.fit is not None and not facts.over:
        fits = numbers.sentence(allowed.fit.text, sources.expected(facts.forecast.experiment.basis))
        yield Risk("warning", say("not everything is done before its limit: ", fits))


def _journals(facts: Facts) -> Iterator[Risk]:
    for name, gap in facts.gaps:
        basis = Basis("counted", f"counted: {name}, its gap records")
        told = numbers.count(gap.dropped, basis, unit="lines" if gap.dropped != 1 else "line")
        yield Risk("warning", say(told, " of the journal could not be written: ", Name(clean(gap.reason))))
    if facts.state.damaged:
        basis = Basis("counted", "counted: lines that are no record, in all journals")
        told = numbers.count(facts.state.damaged, basis)
        yield Risk("warning", say(told, " damaged lines of the journals were passed over"))
    for files in facts.files:
        wrong = [epoch for epoch in files.epochs if epoch.cumulative]
        if wrong:
            basis = Basis("measured", f"measured: {wrong[0].file}, its clock at the ends of epochs")
            last = wrong[-1]
            words = f"{len(wrong)} epochs have seconds that cannot be theirs: {last.said:.4g} s where the clock says "
            words += f"{last.seconds:.4g} s. They look cumulative; the clock's differences are used instead"
            yield Risk("warning", say(numbers.sentence(words, basis)))


def _held_out(facts: Facts) -> Iterator[Risk]:
    state = facts.state
    wrong: dict[str, list[str]] = {}
    for run in state.runs:
        for text in mismatches(state, run):
            wrong.setdefault(text, []).append(run.key.name)
    for text, names in wrong.items():
        whose = f" ({some(names)})" if len(state.runs) > 1 else ""
        yield Risk("warning", say(numbers.sentence(f"{text}{whose}", sources.data(facts))))
    for run in state.runs:
        part = run.parts.get("validate")
        if part is not None and part.count and not part.items and not facts.own_trainer:
            times = numbers.count(part.count, sources.journal(facts, run, "its validate spans"))
            yield Risk("critical", say("validation ran ", times, " times over no case at all"))
            return


def _locks(facts: Facts) -> Iterator[Risk]:
    for name, reason in sorted(facts.plan.overridden.items()):
        yield Risk("warning", say("the lock on ", Name(name), " was overridden, although: ", Name(clean(reason))))


def _tests(facts: Facts) -> Iterator[Risk]:
    for test in facts.tests:
        for one in test.found:
            if one.verdict == "unstable" and not test.other:
                why = numbers.sentence(one.text, Basis("measured", f"measured: {test.name}, phase {one.number + 1}"))
                yield Risk("note", say("phase ", Name(one.name), " of ", Name(test.name), " is unstable: ", why))


FINDERS: tuple[Finder, ...] = (
    _ended_badly,
    _silent,
    _memory,
    _disk,
    _pace,
    _slowed_before,
    _limits,
    _journals,
    _held_out,
    _locks,
    _tests,
)
