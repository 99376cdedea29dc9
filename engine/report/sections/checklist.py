"""What has been shown so far, each with what shows it; nothing is ticked because somebody meant to."""

from __future__ import annotations

from collections.abc import Callable

from engine.config.prepared import steps_per_epoch
from engine.config.profile import Profile
from engine.eta.validation import mismatch
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.marks import as_asked, validated
from engine.report.model import Basis, Item, Items, Missing, Name, Pieces, Section, Tick, say
from engine.text import clean

# Losses are noisy: the first and the last fifth of the curve are compared.
PART = 5
FEWEST_BUCKETS = 10

Check = Callable[[Facts], tuple[Tick, Pieces] | None]


def section(facts: Facts) -> Section:
    items = []
    for words, check in CHECKS:
        found = check(facts)
        if found is not None:
            tick, shown = found
            items.append(Item(say(words, ": ", *shown), tick=tick))
    return Section("checklist", "What has been shown", (Items(tuple(items)),))


def _open(why: str) -> tuple[Tick, Pieces]:
    return "open", say(Missing(why))


def _volumes(facts: Facts) -> tuple[Tick, Pieces] | None:
    if facts.own_trainer:
        return None
    prepared = facts.state.prepared
    if prepared is None:
        return _open("volumes are not prepared yet")
    basis = sources.data(facts)
    if facts.plan.experiment.task == "peptides":
        # A file with anything else in it is refused; every fold but one learns from each sequence.
        count = sum(split.draws for split in prepared.splits) // max(1, len(prepared.splits) - 1)
        return "done", say(numbers.count(count, basis), " sequences prepared")
    said = say(numbers.count(len(prepared.subjects), basis), " subjects prepared")
    if prepared.warnings:
        return "failed", said + say(", with ", numbers.count(len(prepared.warnings), basis), " warnings")
    return "done", said


def _held_out(facts: Facts) -> tuple[Tick, Pieces] | None:
    prepared = facts.state.prepared
    if prepared is None:
        return None
    basis = sources.data(facts)
    fewest = min((len(split.test) for split in prepared.splits), default=0)
    said = say(numbers.count(fewest, basis), " in the smallest fold")
    return "done" if fewest else "failed", said


def _loops(facts: Facts) -> tuple[Tick, Pieces] | None:
    done = sum(run.step for run in facts.state.runs)
    if not done:
        return _open("no step has ended")
    return "done", say(numbers.count(done, sources.everywhere(facts, "all steps")), " steps")


def _steps(facts: Facts) -> tuple[Tick, Pieces] | None:
    """The trainer's steps per epoch are what the data make."""
    run, prepared = facts.run, facts.state.prepared
    if run is None or run.begin is None or prepared is None or facts.own_trainer or facts.plan.test is not None:
        return None
    split = next((one for one in prepared.splits if one.fold == run.key.fold), None)
    if split is None:
        return None
    wanted = steps_per_epoch(split, Profile(name="", knobs={**facts.plan.profile.knobs, **facts.knobs}))
    seen = numbers.count(run.begin.steps_per_epoch, sources.journal(facts, run))
    told = say(seen, " where data and knobs make ", numbers.count(wanted, sources.data(facts)))
    return "done" if wanted == run.begin.steps_per_epoch else "failed", told


def _warm(facts: Facts) -> tuple[Tick, Pieces] | None:
    run = facts.run
    if run is None or not run.pace.steps:
        return _open("no step has ended")
    basis = sources.journal(facts, run)
    warm = numbers.count(run.pace.warm_steps, basis)
    return ("open", say(warm, " steps so far, still warming up")) if run.pace.warming else (
        "done", say("after ", warm, " steps"),
    )  # fmt: skip


def _epoch(facts: Facts) -> tuple[Tick, Pieces] | None:
    ended = sum(len(files.epochs) for files in facts.files)
    if facts.plan.test is not None:
        return None
    if not ended:
        return _open("none has ended yet")
    return "done", say(numbers.count(ended, sources.everywhere(facts, "epoch records")), " so far")


def _learns(facts: Facts) -> tuple[Tick, Pieces] | None:
    run = facts.run
    if run is None:
        return _open("no step has ended")
    losses = [bucket for bucket in run.pace.buckets if bucket.loss == bucket.loss]
    if len(losses) < FEWEST_BUCKETS:
        return _open("too few losses to tell")
    part = max(1, len(losses) // PART)
    head, tail = losses[:part], losses[-part:]
    first, last = (sum(b.loss * b.steps for b in some) / sum(b.steps for b in some) for some in (head, tail))
    begin = sources.steps(facts, run, head[0].last - head[0].steps + 1, head[-1].last)
    end = sources.steps(facts, run, tail[0].last - tail[0].steps + 1, tail[-1].last)
    told = say("from ", numbers.number(first, begin, digits=4), " to ", numbers.number(last, end, digits=4))
    return "done" if last < first else "failed", told


def _precision(facts: Facts) -> tuple[Tick, Pieces] | None:
    run = facts.run
    if run is None or run.precision is None:
        return None if facts.own_trainer else _open("the layers have not been looked at yet")
    seen = run.precision
    active = numbers.sentence(seen.active, sources.journal(facts, run, "its precision record"))
    told = say("asked for ", Name(clean(seen.requested)), ", hidden layers compute in ", active)
    return "done" if as_asked(seen) else "failed", told


def _gpu(facts: Facts) -> tuple[Tick, Pieces] | None:
    run = facts.run
    if run is None or run.begin is None or not run.begin.device.startswith("cuda"):
        return None
    readings = [one for one in facts.state.samples if any(gpu.own_memory for gpu in one.gpus)]
    utils = [gpu.util for one in readings for gpu in one.gpus if gpu.own_memory and gpu.util is not None]
    if not utils:
        return _open("the driver does not say who uses it")
    basis = sources.readings(facts, readings, "mean")
    return "done", say("busy ", numbers.share(sum(utils) / len(utils) / 100, basis))


def _saves(facts: Facts) -> tuple[Tick, Pieces] | None:
    if facts.plan.test is not None:
        return None
    unsaved = sum(len(files.unsaved) for files in facts.files)
    saved = sum(files.checkpoints for files in facts.files)
    basis = sources.everywhere(facts, "checkpoint records")
    if unsaved:
        return "failed", say(numbers.count(unsaved, basis), " could not be written")
    if not saved:
        return _open("none has been written and verified yet")
    run = facts.run
    newest = run.checkpoint if run is not None else None
    more = say(", the newest of ", numbers.size(newest.bytes, basis)) if newest is not None and newest.bytes else ()
    return "done", say(numbers.count(saved, basis), " written and read again") + more


def _validates(facts: Facts) -> tuple[Tick, Pieces] | None:
    run = facts.run
    if not facts.knobs.get("val_every_epochs") or facts.own_trainer or run is None:
        return None
    part = run.parts.get("validate")
    if part is None or not part.count:
        return _open("no validation has ended yet")
    basis = sources.journal(facts, run, "its validate spans")
    prepared = facts.state.prepared
    split = next((one for one in prepared.splits if one.fold == run.key.fold), None) if prepared is not None else None
    wrong = bool(mismatch(facts.state)) or not part.items
    each = say(numbers.amount(part.items / part.count, basis), " cases")
    cases = validated(facts, len(split.test)) if split is not None and not wrong else each
    told = say(numbers.count(part.count, basis), " times over ", *cases)
    return "failed" if wrong else "done", told


def _steady(facts: Facts) -> tuple[Tick, Pieces] | None:
    if facts.over or not facts.state.samples:
        return None
    basis = sources.growth(facts)
    grows = facts.trend.bytes_per_hour
    if grows is None:
        count = numbers.count(len(facts.state.samples), basis)
        return "done", say("no growth that could be told from chance in ", count, " readings")
    full, most = facts.trend.full_in_seconds, facts.forecast.experiment.high
    bounded = full is None and facts.trend.at_most is not None
    late = full is not None and most is not None and most < full
    told = say(numbers.size(grows, basis), " more an hour", ", but it ends before that matters" if late else "")
    return "done" if bounded or late else "failed", told


def _journals(facts: Facts) -> tuple[Tick, Pieces] | None:
    lost = sum(gap.dropped for _, gap in facts.gaps) + facts.state.damaged
    basis = sources.everywhere(facts, "lines that are missing or damaged")
    return "failed" if lost else "done", say(numbers.count(lost, basis), " lines missing or damaged")


def _resumed(facts: Facts) -> tuple[Tick, Pieces] | None:
    resumed = [begin for files in facts.files for begin in files.begins if begin.resumed_from_step]
    if not resumed:
        return None
    basis = sources.everywhere(facts, "begin records")
    told = say("attempts that went on: ", numbers.count(len(resumed), basis), ", the last one after step ")
    return "done", told + say(numbers.count(resumed[-1].resumed_from_step, basis))


def _ended(facts: Facts) -> tuple[Tick, Pieces] | None:
    if facts.plan.test is not None:
        return None
    done = facts.state.runs_finished
    failed = sum(run.phase == "failed" for run in facts.state.runs)
    if failed:
        return "failed", say(numbers.count(failed, sources.runs(facts)), " failed")
    if not done:
        return _open("no run has come to its end yet")
    told = say(numbers.count(done, sources.runs(facts)), " of ")
    told += say(numbers.count(len(facts.state.runs), sources.planned(facts)))
    return "done", told


def _tested(facts: Facts) -> tuple[Tick, Pieces] | None:
    if facts.own_trainer or facts.plan.test is not None:
        return None
    found = [one for test in facts.tests if not test.other for one in test.found if one.measured is not None]
    found += [one for one in facts.living if one.measured is not None]
    if not found:
        return _open("no other profile has been measured")
    basis = Basis("counted", "counted: the phases of its tests, and profiles it went through")
    return "done", say(numbers.count(len(found), basis), " phases measured")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("volumes are whole", _volumes),
    ("something is held out in every fold", _held_out),
    ("the training loop runs", _loops),
    ("an epoch has the steps that its data make", _steps),
    ("the warm-up is over", _warm),
    ("epochs end", _epoch),
    ("the loss falls", _learns),
    ("precision is what was asked for", _precision),
    ("the GPU is used", _gpu),
    ("checkpoints can be written", _saves),
    ("validation covers what is held out", _validates),
    ("memory holds out", _steady),
    ("the journals are whole", _journals),
    ("resuming works", _resumed),
    ("runs come to their end", _ended),
    ("profiles were measured", _tested),
)
