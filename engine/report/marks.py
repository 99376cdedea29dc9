"""How grave the present value of each knob is, with the measurement that says so; no rule of thumb judges anything."""

from __future__ import annotations

from collections.abc import Callable

from engine.config.knob import Kind, shown
from engine.config.profile import KNOBS, Profile
from engine.diagnosis.bottleneck import Bottleneck
from engine.eta.validation import validation_samples
from engine.journals.events import PrecisionActive
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Mark, Name, Pieces, say
from engine.text import clean

# Waiting for data is grave from half of a step on; less than a tenth of one is keeping up.
GRAVE, KEEPS_UP = 0.5, 0.1
PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}

Judge = Callable[[Facts], Mark | None]


def marks(facts: Facts) -> dict[str, Mark]:
    """By knob; a knob that nothing was measured of has none."""
    found: dict[str, Mark] = {}
    for name in facts.knobs:
        judged = JUDGES[name](facts) if name in JUDGES else None
        judged = judged or _useless(facts, name)
        locked = _lock(facts, name)
        if locked is not None and (judged is None or judged.severity in ("", "ok", "note")):
            judged = locked
        if judged is not None:
            found[name] = judged
    return found


def waiting(limit: Bottleneck) -> float | None:
    """The share of a step that it waits for data; None before that is known."""
    if limit.kind == "unknown":
        return None
    return next((one.share for one in limit.shares if one.name == "data"), None)


def as_asked(seen: PrecisionActive) -> bool:
    """Whether the layers compute in what was requested; auto takes whatever comes."""
    return seen.requested in ("auto", seen.active) or PRECISIONS.get(seen.requested) == seen.active


def _lock(facts: Facts, name: str) -> Mark | None:
    if name in facts.plan.overridden:
        reason = Name(clean(facts.plan.overridden[name]))
        return Mark("warning", say("its lock was overridden, although: ", reason))
    lock = facts.plan.experiment.locks.get(name)
    if lock is None:
        return None
    if facts.knobs.get(name) != lock.value:
        wanted = numbers.sentence(shown(lock.value), sources.planned(facts))
        return Mark("warning", say("the experiment locks it at ", wanted, ": ", Name(clean(lock.reason))))
    return Mark("locked", say("locked by the experiment: ", Name(clean(lock.reason))))


def _workers(facts: Facts) -> Mark | None:
    share, basis = waiting(facts.limit), sources.lately(facts)
    if share is None:
        return None
    said = say("waiting for data is ", numbers.share(share, basis), " of a step")
    if share < KEEPS_UP:
        return Mark("ok", said)
    change = facts.advice.change
    if change is not None and change.knob == "num_workers" and not change.lock:
        model = sources.modelled(facts.advice.basis)
        said += say("; with ", numbers.sentence(shown(change.after), model), " a step is expected to take ")
        said += say(numbers.expected(change.low, change.high, model))
        if change.refused:
            said += say(", but memory does not bear them: ", numbers.sentence(change.refused, model))
        return Mark("critical" if share >= GRAVE else "warning", said)
    more = "; no other number of workers is expected to bring anything worth a test"
    return Mark("warning" if share >= GRAVE else "note", said + say(more if facts.workload is not None else ""))


def _ahead(facts: Facts) -> Mark | None:
    return _proposed(facts, "prefetch_factor")


def _in_order(facts: Facts) -> Mark | None:
    return _proposed(facts, "in_order")


def _proposed(facts: Facts, name: str) -> Mark | None:
    change = facts.advice.change
    if change is None or change.knob != name:
        return None
    model = sources.modelled(facts.advice.basis)
    span = numbers.expected(change.low, change.high, model)
    after = numbers.sentence(shown(change.after), model)
    kind = KNOBS[name].kind
    only = "" if kind is Kind.SPEED else f"; it {kind}, so only as a test phase"
    return Mark("warning", say("with ", after, " a step is expected to take ", span, only))


def _useless(facts: Facts, name: str) -> Mark | None:
    """What would bring nothing, and why: batch size is blamed for what the loader does."""
    for line in facts.advice.useless:
        if line.startswith(f"{name} "):
            told = numbers.sentence(line, sources.modelled(facts.advice.basis))
            return Mark("note", say("more will not help: ", told))
    return None


def _precision(facts: Facts) -> Mark | None:
    run = facts.run
    if run is None or run.precision is None:
        return None
    seen, basis = run.precision, sources.journal(facts, run, "its precision record")
    active = numbers.sentence(seen.active, basis)
    why: Pieces = say(" (", numbers.sentence(seen.evidence, basis), ")") if seen.evidence else ()
    if not as_asked(seen):
        asked = Name(clean(seen.requested))
        return Mark("critical", say("asked for ", asked, ", but hidden layers compute in ", active) + why)
    return Mark("ok", say("hidden layers compute in ", active) + why)


def _validation(facts: Facts) -> Mark | None:
    run, prepared = facts.run, facts.state.prepared
    if facts.own_trainer:
        return None
    if not facts.knobs.get("val_every_epochs"):
        return Mark("note", say("no validation: between the epochs nothing shows whether it learns more than its data"))
    if run is None or prepared is None:
        return None
    split = next((one for one in prepared.splits if one.fold == run.key.fold), None)
    if split is None:
        return None
    cases = validated(facts, len(split.test))
    if not split.test:
        return Mark("critical", say("validation has ", *cases, ": it says nothing"))
    part = run.parts.get("validate")
    said = cases
    if part is not None and part.count:
        spans = sources.journal(facts, run, "its validate spans")
        said += say("; each validation took ", numbers.seconds(part.mean, spans))
        beside = part.seconds / (part.seconds + run.pace.seconds) if run.pace.seconds else None
        said += say(", in all ", numbers.share(beside, spans), " of the time so far")
    return Mark("ok", said)


def validated(facts: Facts, held_out: int) -> Pieces:
    """What one validation goes through: volumes, of more than there is time for a part, or patches of all of them."""
    plan = facts.plan
    profile = Profile(name="", knobs={**plan.profile.knobs, **facts.knobs})
    count, basis = validation_samples(held_out, profile), sources.data(facts)
    cases = numbers.count(held_out, basis)
    if profile["val_patches_per_volume"]:
        return say(numbers.count(count, sources.cut(facts)), " patches of ", cases, " held-out cases")
    if count < held_out:
        return say(numbers.count(count, sources.cut(facts)), " of ", cases, " held-out cases, evenly spread")
    return say(cases, " held-out cases")


def _cache(facts: Facts) -> Mark | None:
    trend = facts.trend
    if facts.knobs.get("cache") != "ram" or trend.bytes_per_hour is None or facts.over:
        return None
    basis = sources.growth(facts)
    most = facts.forecast.experiment.high
    late = trend.full_in_seconds is not None and most is not None and most < trend.full_in_seconds
    grave = trend.full_in_seconds is not None and not late
    said = say("its workers grow by ", numbers.size(trend.bytes_per_hour, basis), " an hour")
    if trend.full_in_seconds is not None:
        model = sources.going_on(facts)
        said += say(", and RAM would be full in ", numbers.seconds(trend.full_in_seconds, model))
        said += say(", after the experiment's end") if late else ()
    return Mark("critical" if grave else "note", said)


JUDGES: dict[str, Judge] = {
    "num_workers": _workers,
    "prefetch_factor": _ahead,
    "in_order": _in_order,
    "precision": _precision,
    "val_every_epochs": _validation,
    "cache": _cache,
}
