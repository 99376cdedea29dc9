"""What a test of profiles does next, from what it has done: pure, so a test that was interrupted goes on by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.config.plan import Plan, Test
from engine.config.profile import KNOBS, Value
from engine.journals.events import Mode, PhaseEnded
from engine.phase import phases, tuning
from engine.phase.measure import period
from engine.phase.ratio import steps_needed
from engine.phase.space import Limits
from engine.phase.visit import Visit, margin, whole

# A visit that somebody disturbed is repeated so often; after that it counts, and says what it suffered.
REPEATS = 2
# The profiles take turns: a machine that slows down meanwhile slows all of them.
ROUNDS = 3
FEWEST, MOST = 20, 100
PRECISION = 0.03
# Fewer blocks in a visit say nothing about how much they differ.
FEWEST_BLOCKS = 5
RESIDENT_STEPS = 10


def next_visit(plan: Plan, done: Sequence[PhaseEnded], limits: Limits = lambda _: "") -> Visit | str:
    """The next visit; or, when the course is through, why it ended, in words. `limits` says why knobs must not be
    tried; a tuner never asks for those, and a plan's phase that it refuses is not visited by the conductor."""
    assert plan.test is not None
    counted = phases.counted(done)
    if plan.test.kind == "tune":
        return tuning.next_visit(plan, counted, limits)
    return COURSES[plan.test.kind](plan.test, counted)


def frozen(knobs: dict[str, Value]) -> dict[str, Value]:
    """What needs a process of its own when it changes."""
    return {name: value for name, value in knobs.items() if not KNOBS[name].live}


# ---------------------------------------------------------------- bench


def bench(test: Test, done: Sequence[PhaseEnded]) -> Visit | str:
    """The profile in two rounds; then what is left of a step without loading, and without computing."""
    phase = test.phases[0]
    steps = whole(-(-(test.steps or 50) // 2), phase.knobs)
    order: tuple[tuple[int, int, str, Mode, int], ...] = (
        (0, 0, phase.name, "train", steps),
        (1, 0, "one batch again and again", "resident", RESIDENT_STEPS + 1),
        (2, 0, "loading alone", "load", steps),
        (0, 1, phase.name, "train", steps),
    )
    for number, turn, name, mode, count in order:
        if _of(done, number, turn) is None:
            return Visit(phase=number, round=turn, name=name, knobs=phase.knobs, steps=count, mode=mode)
        if _failed(done, number):
            return f"{name}: {_failed(done, number)}"
    return "measured"


# ---------------------------------------------------------------- phases


def in_turn(test: Test, done: Sequence[PhaseEnded]) -> Visit | str:
    """Every phase once, in order and as long as they are stable; then in turns until their pace is known well enough.

    Rounds after the first go by process: phases that differ only in the loader take turns within one.
    """
    stopped = ""
    for number, phase in enumerate(test.phases):
        if _of(done, number, 0) is None:
            if stopped and test.gate:
                return f"{stopped}: what follows is not started (--no-gate goes on)"
            return _visit(test, done, number, 0, min(FEWEST, test.steps or FEWEST))
        failed = _failed(done, number)
        unstable = "" if failed else phases.unstable(done, number)
        if unstable and test.gate and number + 1 < len(test.phases) and _of(done, number + 1, 0) is None:
            # One more look before everything else is given up for it.
            if _of(done, number, 1) is None:
                return _visit(test, done, number, 1, min(FEWEST, test.steps or FEWEST))
            stopped = stopped or f"phase {number + 1} ({phase.name}) is unstable: {unstable}"
        if failed:
            stopped = stopped or f"phase {number + 1} ({phase.name}) failed: {failed}"
    alive = [number for number in range(len(test.phases)) if not _failed(done, number)]
    for group in _groups(test, alive):
        for turn in range(1, ROUNDS):
            for number in group:
                if _of(done, number, turn) is None and (more := _wanted(test, done, number, turn)):
                    return _visit(test, done, number, turn, more)
    return "all phases measured"


def _visit(test: Test, done: Sequence[PhaseEnded], number: int, turn: int, steps: int) -> Visit:
    phase = test.phases[number]
    steps = max(steps, FEWEST_BLOCKS * period(phase.knobs))
    low, high, basis = phases.expected(done, phase.knobs) if turn == 0 else (None, None, "")
    return Visit(
        phase=number,
        round=turn,
        name=phase.name,
        knobs=phase.knobs,
        steps=whole(steps, phase.knobs),
        low=low,
        high=high,
        basis=basis,
    )


def _wanted(test: Test, done: Sequence[PhaseEnded], number: int, turn: int) -> int:
    """Steps of another round; 0 when enough is known."""
    so_far = phases.measurement(done, number)
    if so_far is None:
        return FEWEST
    most = test.steps or MOST
    left = most - so_far.steps
    if left <= 0:
        return 0
    # Two rounds at least: what differs between two visits cannot be seen in one.
    needed = left if test.steps else min(left, max(steps_needed(so_far, PRECISION), FEWEST if turn == 1 else 0))
    if needed <= 0:
        return 0
    return max(-(-needed // (ROUNDS - turn)), FEWEST_BLOCKS * period(test.phases[number].knobs))


def _groups(test: Test, alive: Sequence[int]) -> list[list[int]]:
    groups: list[tuple[dict[str, Value], list[int]]] = []
    for number in alive:
        fixed = frozen(test.phases[number].knobs)
        for held, members in groups:
            if held == fixed:
                members.append(number)
                break
        else:
            groups.append((fixed, [number]))
    return [members for _, members in groups]


# ---------------------------------------------------------------- what is done


def _of(done: Sequence[PhaseEnded], number: int, turn: int) -> PhaseEnded | None:
    return next((visit for visit in done if (visit.phase, visit.round) == (number, turn)), None)


def _failed(done: Sequence[PhaseEnded], number: int) -> str:
    return next((v.verdict.text for v in done if v.phase == number and v.verdict.kind != "ok"), "")


__all__ = ["REPEATS", "Visit", "frozen", "margin", "next_visit", "whole"]

COURSES: dict[str, Callable[[Test, Sequence[PhaseEnded]], Visit | str]] = {"bench": bench, "phases": in_turn}
