"""What is asked, and how much there is to do then: runs, epochs, steps, and what comes beside them, counted."""

from __future__ import annotations

from math import ceil

import msgspec

from engine.config.knob import Value
from engine.config.profile import KNOBS
from engine.config.run_keys import RunKey, runs_of, variants_of
from engine.errors import UsageError
from engine.eta.remaining import another_run, of_epoch
from engine.eta.rhythm import Amounts, Rhythm
from engine.whatif.known import Known, rhythm_with

COUNTED = ("epochs", "steps_per_epoch", "restarts", "gpus", "cores")
# More of anything is a slip of the keyboard, and a list of so many runs would fill the memory.
MOST: dict[str, int] = {
    "epochs": 10**9, "steps_per_epoch": 10**9, "restarts": 10_000, "gpus": 10_000, "cores": 10_000
}
# Knobs that an epoch's steps depend on.
OF_AN_EPOCH = ("batch_size", "accumulate_steps", "steps_per_epoch")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is different; None and nothing: as it was. `rest`: only the runs that are not finished, from where they are.
    `cores`: of the machine it would run on. `only`: these runs, whatever the counts say."""

    epochs: int | None = None
    steps_per_epoch: int | None = None
    folds: tuple[int, ...] | None = None
    restarts: int | None = None
    variants: tuple[str, ...] | None = None
    knobs: dict[str, Value] = {}
    gpus: int = 1
    cores: int | None = None
    rest: bool = False
    only: tuple[RunKey, ...] | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is to do."""

    runs: tuple[RunKey, ...]
    epochs: int
    steps: dict[int, int]

    @property
    def folds(self) -> int:
        return len({key.fold for key in self.runs})


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What each run takes, in their order; the gaps between them are left out, but for `gap`: the one before the first.
    `epoch`: a whole one of the longest fold. `as_it_is`: the first run is what the forecast has as under way;
    `all_as_it_is`: and so are all of them, and no other is."""

    each: tuple[Amounts, ...]
    epoch: Amounts
    gap: float = 0.0
    as_it_is: bool = False
    all_as_it_is: bool = False


def bounded(question: Question) -> Question:
    """`question` if its numbers are such as can be counted, of whatever training; raises UsageError naming the one that
    is not."""
    for name in COUNTED:
        value = getattr(question, name)
        said = name.replace("_", " ")
        if value is not None and value < 1:
            raise UsageError(f"{said} {value}: it is 1 or more")
        if value is not None and value > MOST[name]:
            raise UsageError(f"{said} {value:,}: it is at most {MOST[name]:,}")
    return question


def checked(known: Known, question: Question) -> Question:
    """`question` if it can be asked; raises UsageError naming what is wrong with it and what would be right."""
    bounded(question)
    for name in question.knobs:
        if name not in KNOBS:
            raise UsageError(f"no knob called {name!r}; `steptop profiles` lists them")
    shape_of(known, question)
    return question


def knobs_of(known: Known, question: Question) -> dict[str, Value]:
    return known.knobs | question.knobs


def shape_of(known: Known, question: Question) -> Shape:
    """Runs, epochs and steps that the question comes to. Raises UsageError for a fold that is not there."""
    runs = known.runs if question.only is None else question.only
    if question.only is None and (question.folds, question.restarts, question.variants) != (None, None, None):
        folds = question.folds if question.folds is not None else tuple(dict.fromkeys(key.fold for key in runs))
        restarts = question.restarts if question.restarts is not None else len({key.restart for key in runs})
        variants = question.variants if question.variants is not None else variants_of(runs)
        runs = runs_of(known.plan.experiment, folds, restarts, variants)
    elif question.only is None and question.rest and known.left is not None:
        runs = tuple(key for key, _ in known.left)
    if question.rest:
        done = {key.at for key in known.finished}
        runs = tuple(key for key in runs if key.at not in done)
    knobs = knobs_of(known, question)
    steps = {key.fold: _steps(known, key.fold, question, knobs) for key in runs}
    epochs = question.epochs or next(iter(known.rhythms.values())).epochs
    return Shape(runs=runs, epochs=epochs, steps=steps)


def _steps(known: Known, fold: int, question: Question, knobs: dict[str, Value]) -> int:
    """Of an epoch: as asked for, else all samples once in batches as large as the knobs say."""
    if question.steps_per_epoch is not None:
        return question.steps_per_epoch
    seen = known.rhythms.get(fold) or next(iter(known.rhythms.values()))
    if all(knobs.get(name) == known.knobs.get(name) for name in OF_AN_EPOCH):
        return seen.steps
    if knobs.get("steps_per_epoch"):
        return int(knobs["steps_per_epoch"])
    batch, passes = int(knobs["batch_size"]), int(knobs["accumulate_steps"])
    learners = known.learners.get(fold)
    if learners is None:  # a trainer of one's own: as many samples as before
        learners = seen.steps * known.batch * int(known.knobs["accumulate_steps"])
    return ceil(ceil(learners / batch) / passes)


def rhythm_of(known: Known, question: Question, shape: Shape, fold: int) -> Rhythm:
    """What a run of the fold does; as it was seen, unless something about it is asked to be different."""
    there = fold if fold in known.rhythms else next(iter(known.rhythms))
    seen = known.rhythms[there]
    asked = rhythm_with(known, there, question.knobs, shape.epochs, shape.steps[fold])
    usual = rhythm_with(known, there, {}, seen.epochs, seen.steps)
    return seen if asked == usual else asked


def counted(known: Known, question: Question, shape: Shape, step_seconds: float) -> Counted:
    """Each run as the forecast counts it: what is left of those under way (`rest`), else all of it."""
    rhythms = {fold: rhythm_of(known, question, shape, fold) for fold in dict.fromkeys(key.fold for key in shape.runs)}
    whole = {fold: another_run(rhythm, step_seconds) for fold, rhythm in rhythms.items()}
    left = {key.at: amounts for key, amounts in known.left or ()} if question.rest else {}
    each: list[Amounts] = []
    first, every, gap = False, True, 0.0
    for key in shape.runs:
        rhythm = rhythms[key.fold]
        amounts = left.get(key.at) if rhythm == known.rhythms.get(key.fold) else None
        if not each:
            first, gap = amounts is not None, (amounts or {}).get("gap", 0.0)
        every = every and amounts is not None
        if amounts is not None:
            each.append({name: count for name, count in amounts.items() if name != "gap"})
        elif done := _done(known, question, shape, key):
            each.append(_of_variant(known, key, another_run(rhythm, step_seconds, done)))
        else:
            each.append(_of_variant(known, key, whole[key.fold]))
    longest = max(rhythms.values(), key=lambda one: one.steps)
    return Counted(
        each=tuple(each),
        epoch=_epoch(longest, step_seconds),
        gap=gap,
        as_it_is=first,
        all_as_it_is=every and len(each) == len(left),
    )


def _of_variant(known: Known, key: RunKey, amounts: Amounts) -> Amounts:
    """With what the steps of the run's variant take more or less than those that were measured. In the seconds of the
    machine where they were: what they cost elsewhere is the cost's."""
    return amounts | known.paces.beside(key.variant, amounts["step"], known.step.mean)


def _epoch(rhythm: Rhythm, step_seconds: float) -> Amounts:
    amounts = of_epoch(rhythm, step_seconds)
    return amounts | {"cold": amounts["step"]}


def _done(known: Known, question: Question, shape: Shape, key: RunKey) -> int:
    """Steps of a run that need not be done again: of those that are left, where its epochs stay as long as they are."""
    seen = known.rhythms.get(key.fold)
    if not question.rest or seen is None or seen.steps != shape.steps[key.fold]:
        return 0
    return min(known.done.get(key.at, 0), seen.steps * shape.epochs)
