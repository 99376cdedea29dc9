"""Whether B is faster than A: the same profile twice is not, whatever its noise; what differs enough is seen."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf, sin
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from engine.phase.measure import Measurement, measured
from engine.phase.ratio import ratio, steps_needed

PAIRS = 300
Noise = Callable[[Random, int, int], list[float]]


def steady(draw: Random, steps: int, began: int) -> list[float]:
    return [1 + 0.05 * draw.gauss(0, 1) for _ in range(steps)]


def autocorrelated(draw: Random, steps: int, began: int) -> list[float]:
    values, state = [], draw.gauss(0, 1)
    for _ in range(steps):
        state = 0.8 * state + 0.6 * draw.gauss(0, 1)
        values.append(1 + 0.1 * state)
    return values


def stalling(draw: Random, steps: int, began: int) -> list[float]:
    return [x + (draw.uniform(4, 20) if draw.random() < 0.02 else 0) for x in steady(draw, steps, began)]


def heavy(draw: Random, steps: int, began: int) -> list[float]:
    return [0.1 + draw.expovariate(1) for _ in range(steps)]


def drifting(draw: Random, steps: int, began: int) -> list[float]:
    return [x * (1 + 0.0004 * (began + i)) for i, x in enumerate(steady(draw, steps, began))]


def wandering(draw: Random, steps: int, began: int) -> list[float]:
    """A machine that gets slower and faster again over several visits."""
    return [x * (1 + 0.05 * sin((began + i) / 40)) for i, x in enumerate(steady(draw, steps, began))]


def bursty(draw: Random, steps: int, began: int) -> list[float]:
    values = steady(draw, steps, began)
    return [x * (3 if i % 4 == 0 else 0.3) * (2 if draw.random() < 0.05 else 1) for i, x in enumerate(values)]


def interleaved(
    noise: Noise, seed: int, rounds: int, steps: int = 21, effect: float = 1.0
) -> tuple[Measurement, Measurement]:
    """A, B, B, A, A, B, …: each visit `steps` long; B takes `effect` times as long."""
    draw, began = Random(seed), 0
    kept: dict[str, list[float]] = {"A": [], "B": []}
    for number in range(rounds):
        for name in "AB" if number % 2 == 0 else "BA":
            kept[name] += [x * (effect if name == "B" else 1) for x in noise(draw, steps, began)]
            began += steps
    numbers = [number for number in range(rounds) for _ in range(steps)]
    a, b = (measured([max(0.01, x) for x in kept[name]], [1] * len(numbers), 4, numbers) for name in "AB")
    return a, b


@pytest.mark.parametrize("noise", [steady, autocorrelated, stalling, heavy, drifting, wandering, bursty])
@pytest.mark.parametrize("rounds", [2, 3, 5])
def test_the_same_profile_twice_is_called_different_in_at_most_one_case_of_twenty(noise: Noise, rounds: int) -> None:
    """Of 300 a rate of 5 % gives up to 22 in 95 of 100 trials; the seeds are fixed."""
    called = sum(ratio(*interleaved(noise, seed, rounds)).verdict != "not distinguishable" for seed in range(PAIRS))
    assert called <= 0.073 * PAIRS


@pytest.mark.parametrize("noise", [steady, autocorrelated, stalling, heavy, bursty])
def test_one_visit_each_is_enough_when_the_machine_stays_the_same(noise: Noise) -> None:
    called = sum(ratio(*interleaved(noise, seed, 1, 61)).verdict != "not distinguishable" for seed in range(PAIRS))
    assert called <= 0.073 * PAIRS


@pytest.mark.parametrize(
    ("noise", "effect", "found"), [(steady, 1.05, 0.9), (bursty, 1.3, 0.9), (autocorrelated, 1.35, 0.9)]
)
def test_what_differs_enough_is_seen(noise: Noise, effect: float, found: float) -> None:
    calls = [ratio(*interleaved(noise, seed, 3, effect=effect)).verdict for seed in range(100)]
    assert calls.count("slower") >= found * 100
    assert "faster" not in calls


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 2.0))
def test_turning_the_question_round_turns_the_answer(seed: int, effect: float) -> None:
    a, b = interleaved(steady, seed, 2, effect=effect)
    there, back = ratio(a, b), ratio(b, a)
    assert there.value == pytest.approx(1 / back.value)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))
    words = {"faster": "slower", "slower": "faster"}
    assert back.verdict == words.get(there.verdict, there.verdict)


def test_too_little_to_tell_says_so() -> None:
    a = measured([1.0] * 5, [1] * 5, 4)
    b = measured([0.1] * 61, [1] * 61, 4)
    unknown = ratio(a, b)
    assert unknown.value == pytest.approx(10) and unknown.verdict == "not distinguishable"
    assert unknown.low == 0 and isinf(unknown.high) and isinf(unknown.precision)


def test_the_steps_needed_follow_the_noise() -> None:
    quiet = measured([1 + 0.02 * (i % 3) for i in range(61)], [1] * 61, 1)
    assert steps_needed(quiet, 0.05) == 0
    draw = Random(3)
    loud = measured([1 + 0.2 * draw.gauss(0, 1) for _ in range(41)], [1] * 41, 4)
    assert steps_needed(loud, 0.05) % 4 == 0
    assert 20 <= steps_needed(loud, 0.05) <= steps_needed(loud, 0.02) == 100
    short = measured([1.0] * 5, [1] * 5, 4)
    assert steps_needed(short, 0.05) == 20
