"""What one held-out case costs: validated, scored as a whole between epochs, or evaluated.

Measured where the same has been scored here, else as earlier experiments scored the same, else modelled: from another
scoring by what goes through the network, and from the forward pass of a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt
from typing import NamedTuple

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.eta.costs import EARLIER, MODELLED, Cost
from engine.eta.variants import pooled_alike
from engine.eta.work import Scoring, passes, scored_as, windows_of
from engine.live.state import ExperimentState, Part, RunState

# Of each scoring the name of its cost, and the others in the order in which they are asked.
UNITS: dict[Scoring, str] = {"validate": "validate", "reconstruct": "volume", "evaluate": "evaluate"}
OTHERS: dict[Scoring, tuple[Scoring, ...]] = {
    "validate": ("evaluate", "reconstruct"),
    "reconstruct": ("evaluate", "validate"),
    "evaluate": ("reconstruct", "validate"),
}
# Of the same cases scored in the same way, at another moment.
SAME, ALIKE = 0.04, 0.12
# Patches beside whole volumes: what goes through the network is known, what it takes to put windows together and to
# judge a whole volume is not. With nothing but a step to go by.
UNLIKE, ASSUMED = 0.5, 1.0
# Where a timing may have been of other volumes, or on another day.
REMEMBERED = 0.1
FORWARD = "modelled from the forward pass"


class _Guess(NamedTuple):
    """Seconds, how far they may be off (relative), and what they rest on."""

    seconds: float
    error: float
    basis: str


def item_cost(state: ExperimentState, run: RunState | None, span: Scoring, history: Mapping[str, float]) -> Cost | None:
    """One item of the span, in a training that has begun; None when there is nothing to go by. `history`: by the names
    of costs, of the same kinds of items."""
    plan = state.plan
    same, alike = _kin(plan, span)
    for other in same:
        if (part := _seen(state, run, other)).items:
            each, basis = part.seconds / part.items, "measured here" + ("" if other == span else f", as {other}")
            error = hypot(SAME, 0.06 / sqrt(part.count))
            return Cost(each, error * each, 0.2 * each, 0.0, basis, "measured")
    for other in same:
        if (seconds := history.get(UNITS[other])) is not None:
            return Cost(seconds, hypot(SAME, REMEMBERED) * seconds, 0.2 * seconds, 0.0, EARLIER, "earlier")
    for other in alike:
        if (part := _seen(state, run, other)).items:
            each, error = part.seconds / part.items, hypot(ALIKE, 0.06 / sqrt(part.count))
            return Cost(each, error * each, 0.2 * each, 0.0, f"modelled from {other}")
        if (seconds := history.get(UNITS[other])) is not None:
            basis = f"modelled from {other}, {EARLIER}"
            return Cost(seconds, hypot(ALIKE, REMEMBERED) * seconds, 0.2 * seconds, 0.0, basis)
    others = _by_others(state, run, span) or _remembered(plan, span, history, state.prepared)
    forward = _by_forward(state, run, span)
    first, second = (forward, others) if _beside_patches(plan) else (others, forward)
    guess = first or second
    if guess is None:
        return None
    cost = _modelled(plan, span, guess, state.prepared)
    if guess is not forward or others is None or span == "validate":
        return cost
    # Patches are judged by their loss and with no autocast: so long a window takes at most.
    return msgspec.structs.replace(cost, above=max(0.0, others.seconds - guess.seconds))


def item_before(plan: Plan, span: Scoring, history: Mapping[str, float], step: Cost) -> Cost:
    """One item of the span of an experiment that is not launched yet. `history`: as of `item_cost`; `step`: what a step
    takes."""
    same, alike = _kin(plan, span)
    for other in same:
        if (seconds := history.get(UNITS[other])) is not None:
            return Cost(seconds, 0.2 * seconds, basis=EARLIER, kind="earlier")
    for other in alike:
        if (seconds := history.get(UNITS[other])) is not None:
            return Cost(seconds, 0.4 * seconds, basis=f"modelled from {other}")
    assumed, others = item_of_step(plan, span, step), _remembered(plan, span, history, None)
    if others is None or (_beside_patches(plan) and others.seconds > assumed.mean):
        return assumed
    return _modelled(plan, span, others, None)


def item_of_step(plan: Plan, span: Scoring, step: Cost, prepared: Prepared | None = None) -> Cost:
    """Where no more is known than what a step takes: half of it for each sample that goes through the network, of
    windows, which are loaded together and have no loss, a third."""
    samples = int(plan.profile["batch_size"]) * int(plan.profile["accumulate_steps"])
    share, error = (1 / 3, ASSUMED) if _in_windows(plan) else (0.5, 0.5)
    each = share * step.mean / samples * passes(plan, span, prepared)
    sized = _sized(plan, span, prepared)
    return Cost(each, (MODELLED if sized else error) * each, basis="modelled from a step" + sized)


def _kin(plan: Plan, span: Scoring) -> tuple[list[Scoring], list[Scoring]]:
    """The spans that do the same to the same cases, itself first, and those whose items are alike."""
    alike = [other for other in OTHERS[span] if scored_as(plan, other) == scored_as(plan, span)]
    same: list[Scoring] = [span, *(other for other in alike if "validate" not in (span, other))]
    return same, [other for other in alike if other not in same]


def _seen(state: ExperimentState, run: RunState | None, span: Scoring) -> Part:
    """All of it so far, that under way too."""
    part = pooled_alike(state, span)
    if run is None or run.activity != span or not run.activity_done:
        return part
    seconds = part.seconds + run.busy_seconds(state.now_monotonic)
    return Part(part.count + 1, seconds, 0.0, part.items + run.activity_done)


# ---------------------------------------------------------------- modelled


def _in_windows(plan: Plan) -> bool:
    """Whether held-out volumes go through the network in windows as large as what it learns from."""
    return not plan.experiment.patch.whole and scored_as(plan, "evaluate").startswith("whole")


def _beside_patches(plan: Plan) -> bool:
    """Whether validation scores patches and the others window by window: with its loss a patch takes longer than a
    window."""
    return _in_windows(plan) and scored_as(plan, "validate") == "patch"


def _modelled(plan: Plan, span: Scoring, guess: _Guess, prepared: Prepared | None) -> Cost:
    sized = _sized(plan, span, prepared)
    error = MODELLED if sized else guess.error
    return Cost(guess.seconds, error * guess.seconds, 0.2 * guess.seconds, basis=guess.basis + sized)


def _sized(plan: Plan, span: Scoring, prepared: Prepared | None) -> str:
    """What is missing where nobody knows how large a whole case is."""
    known = scored_as(plan, span) == "patch" or windows_of(plan, prepared)
    return "" if known else ", its volumes' size not known"


def _by_others(state: ExperimentState, run: RunState | None, span: Scoring) -> _Guess | None:
    """From what has been scored otherwise here, by how much more or less goes through the network."""
    for other in OTHERS[span]:
        if (part := _seen(state, run, other)).items:
            more = passes(state.plan, span, state.prepared) / passes(state.plan, other, state.prepared)
            return _Guess(more * part.seconds / part.items, UNLIKE, f"modelled from {other}")
    return None


def _by_forward(state: ExperimentState, run: RunState | None, span: Scoring) -> _Guess | None:
    """Loading a sample and one forward pass, as often as an item takes them; with the loss, where it is computed. A
    whole volume is loaded once. Of two recorded trainings the windows of a volume took 4 % less than so many forward
    passes of training, and 40 and 69 % less than so many patches of validation."""
    known = next((one for one in (run, *state.runs) if one is not None and one.recent), None)
    samples = sum(record.samples for record in known.recent) if known is not None else 0
    if known is None or not samples:
        return None
    recent, plan = known.recent, state.plan
    times, windows = passes(plan, span, state.prepared), _in_windows(plan)
    loads = sum(record.loads for record in recent)
    load = sum(r.load_seconds for r in recent) / loads if loads else sum(r.spans.data for r in recent) / samples
    each = sum(r.spans.h2d + r.spans.forward for r in recent) / samples
    if span == "validate" or not windows:
        each += sum(r.spans.loss for r in recent) / samples
    if not load + each:
        return _Guess(times * sum(r.seconds for r in recent) / samples, MODELLED, FORWARD)
    if not windows:
        return _Guess(times * (load + each), MODELLED, FORWARD)
    return _Guess(load + times * each, UNLIKE, FORWARD)


def _remembered(plan: Plan, span: Scoring, history: Mapping[str, float], prepared: Prepared | None) -> _Guess | None:
    """From what earlier experiments scored otherwise."""
    for other in OTHERS[span]:
        if (seconds := history.get(UNITS[other])) is not None:
            more = passes(plan, span, prepared) / passes(plan, other, prepared)
            return _Guess(more * seconds, UNLIKE, f"modelled from {other}, {EARLIER}")
    return None
