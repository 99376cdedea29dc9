"""Ranges learnt from forecasts whose end is known; a crowded machine; a queue on several slots; epochs of a wished length."""

from __future__ import annotations

import dataclasses
import random
from itertools import pairwise
from math import exp

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from engine.eta.calibration import (
    BUILT_IN,
    ENOUGH,
    NARROWEST,
    STAGES,
    Calibration,
    Factor,
    Residual,
    calibrated,
    quantiles,
    residual,
    stage_of,
)
from engine.eta.crowding import crowding
from engine.eta.earlier import Earlier
from engine.eta.forecast import forecast
from engine.eta.makespan import makespan, schedule
from engine.journals.events import Sample
from engine.whatif.wished import Wish, judged, steps_for
from tests.benchmarks.forecast import KINDS, replay
from tests.binomial import held
from tests.test_forecast import CALM, calm_records
from tests.traces import Recipe, experiment_state, until_step


def scores(count: int, wide: float = 1.0, runs: int = 10, seed: int = 1) -> list[Residual]:
    rng = random.Random(seed)
    return [Residual("run", "middle", rng.gauss(0, wide), 1.0, f"run {i % runs}") for i in range(count)]


# ---------------------------------------------------------------- conformal


def test_with_enough_residuals_the_range_is_their_own() -> None:
    found = calibrated(scores(400, wide=3.0))
    assert found is not None
    assert found.factor("run", "middle").low == pytest.approx(3.0 * 1.645, rel=0.15)
    assert found.factor("run", "middle").high == pytest.approx(3.0 * 1.645, rel=0.15)
    assert found.factor("run", "late") == BUILT_IN["run/late"]
    assert found.basis == "ranges from 400 forecasts of 10 runs here whose end is known"


def test_too_few_or_of_too_few_runs_change_nothing() -> None:
    assert calibrated(scores(ENOUGH - 1)) is None
    assert calibrated(scores(200, runs=2)) is None
    assert calibrated([]) is None
    assert Calibration().factor("run", "middle") == BUILT_IN["run/middle"]
    assert Calibration().factor("experiment", "early") == Factor()


def test_forecasts_that_were_all_right_do_not_make_a_range_of_nothing() -> None:
    found = calibrated(scores(400, wide=0.01))
    assert found is not None
    assert found.factor("run", "middle").high == pytest.approx(NARROWEST * BUILT_IN["run/middle"].high)


@given(st.lists(st.floats(-50, 50), min_size=ENOUGH, max_size=300))
def test_nine_in_ten_of_the_scores_themselves_lie_within(values: list[float]) -> None:
    found = quantiles(values)
    inside = sum(-found.low - 1e-9 <= value <= found.high + 1e-9 for value in values)
    assert inside >= 0.9 * len(values) - 1


def test_of_new_scores_of_the_same_kind_nine_in_ten_lie_within() -> None:
    rng, held = random.Random(3), 0
    for _ in range(60):
        found = quantiles([rng.gauss(0, 1) for _ in range(60)])
        held += sum(-found.low <= rng.gauss(0, 1) <= found.high for _ in range(50))
    assert 0.88 <= held / 3000 <= 0.96


def test_a_forecast_takes_its_range_from_the_runs_that_ended_here() -> None:
    state = experiment_state(CALM, until_step(calm_records(), 65))
    wide = Calibration({f"run/{stage}": Factor(6.0, 8.0) for stage in STAGES}, 120, 9)
    usual, own = forecast(state), forecast(replace(state, earlier=Earlier(calibration=wide)))
    assert own.run.seconds == usual.run.seconds
    assert own.run.high is not None and usual.run.high is not None and own.run.seconds is not None
    assert own.run.high == pytest.approx(own.run.seconds * exp(8.0 * own.run.sigma))
    assert own.run.high > usual.run.high
    assert "120 forecasts of 9 runs here" in own.intervals and "benchmark" in usual.intervals


def test_ends_that_are_seen_and_not_foretold_are_no_residuals() -> None:
    assert residual("run", "late", 0.5, 0.1, 0.4, 100.0) is None
    assert residual("run", "late", 50.0, 0.0, 60.0, 100.0) is None
    found = residual("run", "late", 50.0, 0.1, 50.0 * exp(0.2), 100.0)
    assert found is not None and found.score == pytest.approx(2.0)


def test_stages_follow_the_run() -> None:
    assert [stage_of(done, False) for done in (0.0, 0.09, 0.1, 0.49, 0.5, 1.0)] == [
        "early", "early", "middle", "middle", "late", "late"
    ]
    assert stage_of(0.3, True) == "warming"


@pytest.fixture(scope="module")
def seen() -> dict[str, list[bool]]:
    """Whether the range held, once in each of two dozen trainings of every kind that the ranges were not made from,
    early in some and late in others."""
    return {
        kind: [replay(kind, seed, [8 + 7 * seed % 60]).seen[0].inside for seed in range(5000, 5024)] for kind in KINDS
    }


@pytest.mark.xdist_group("calibration")
@pytest.mark.parametrize("kind", KINDS)
def test_ranges_hold_nine_times_in_ten_of_every_kind(seen: dict[str, list[bool]], kind: str) -> None:
    """A small look; `python -m tests.benchmarks.forecast` is the whole one."""
    fewest, most = held(len(seen[kind]))
    assert fewest <= sum(seen[kind]) <= most


@pytest.mark.xdist_group("calibration")
def test_ranges_hold_nine_times_in_ten_of_all(seen: dict[str, list[bool]]) -> None:
    every = [inside for kind in KINDS for inside in seen[kind]]
    fewest, most = held(len(every))
    assert fewest <= sum(every) <= most


# ---------------------------------------------------------------- a crowded machine


def crowded(foreign: float, cores: int = 2, own: float = 1.0, device: str = "cpu") -> float:
    state = experiment_state(replace_device(device), until_step(calm_records(replace_device(device)), 65))
    samples = tuple(Sample(cores=cores, cpu=own + foreign, own_cpu=own, t=1.0 + i, m=1.0 + i) for i in range(30))
    return crowding(replace(state, samples=samples), state.run, 300.0)


def replace_device(device: str) -> Recipe:
    return dataclasses.replace(CALM, device=device)


def test_neighbours_on_a_full_machine_make_the_end_less_sure() -> None:
    alone = crowded(0.0)
    assert 0 < alone < 0.05  # a processor's own pace wanders
    assert crowded(1.0, cores=12) == alone  # ten cores are idle
    assert alone < crowded(0.8) < crowded(1.5, own=0.5)
    assert crowded(1.0, device="cuda:0") == pytest.approx(0.2 * crowded(1.0), rel=0.05)  # a fifth of the step waits for data


def test_in_the_long_run_neighbours_come_and_go() -> None:
    state = experiment_state(CALM, until_step(calm_records(), 65))
    samples = tuple(Sample(cores=2, cpu=2.0, own_cpu=0.5, t=1.0 + i, m=1.0 + i) for i in range(30))
    state = replace(state, samples=samples)
    assert crowding(state, state.run, 1e6) < crowding(state, state.run, 100.0)
    assert crowding(state, None, 100.0) == 0.0
    said, calm = forecast(state).run, forecast(replace(state, samples=())).run
    assert said.seconds == calm.seconds
    assert said.low is not None and calm.low is not None and said.low < calm.low


# ---------------------------------------------------------------- several slots


def test_thirty_runs_on_two_slots_take_half_as_long() -> None:
    assert makespan([3600.0] * 30, 1) == 30 * 3600
    assert makespan([3600.0] * 30, 2) == 15 * 3600
    assert makespan([3600.0] * 30, 4) == 8 * 3600
    assert makespan([3600.0] * 3, 8) == 3600


def test_the_queue_goes_in_order_and_what_runs_now_keeps_its_slot() -> None:
    placed = schedule([10.0, 50.0, 10.0], 2, busy=[30.0], gap=2.0)
    assert [(one.run, one.slot, one.starts, one.ends) for one in placed] == [
        (0, 1, 0.0, 10.0), (1, 1, 12.0, 62.0), (2, 0, 32.0, 42.0)
    ]
    assert makespan([10.0, 50.0, 10.0], 2, busy=[30.0], gap=2.0) == 62.0
    assert makespan([1.0, 1.0, 2.0], 2) == 3.0
    assert makespan([1.0, 1.0, 2.0], 2, longest_first=True) == 2.0


times = st.lists(st.floats(0, 1e5), max_size=30)


@given(seconds=times, slots=st.integers(1, 8), longest=st.booleans())
def test_a_makespan_lies_between_what_is_possible_and_the_sum(seconds: list[float], slots: int, longest: bool) -> None:
    found = makespan(seconds, slots, longest_first=longest)
    least = max(max(seconds, default=0.0), sum(seconds) / slots)
    assert least - 1e-6 <= found <= sum(seconds) + 1e-6
    assert found <= least * 2 + 1e-6
    if longest:
        # The one that ends last was not among the first, or is the longest (Graham 1969).
        after = sorted(seconds, reverse=True)[slots:][:1]
        bound = sum(seconds) / slots + (1 - 1 / slots) * sum(after)
        assert found <= max(bound, max(seconds, default=0.0)) + 1e-6
    placed = schedule(seconds, slots, longest_first=longest)
    assert sorted(one.run for one in placed) == list(range(len(seconds)))
    for slot in range(slots):
        own = sorted((one.starts, one.ends) for one in placed if one.slot == slot)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(own))


def test_no_slot_and_negative_times_are_refused() -> None:
    with pytest.raises(ValueError, match="0 slots"):
        schedule([1.0], 0)
    with pytest.raises(ValueError, match="less than no time"):
        makespan([-1.0], 1)


# ---------------------------------------------------------------- an epoch of a wished length


@given(wished=st.floats(1, 1e6), step=st.floats(0.01, 100), beside=st.floats(0, 1e4))
def test_so_many_steps_fit_and_one_more_does_not(wished: float, step: float, beside: float) -> None:
    steps = steps_for(wished, step, beside)
    assert steps >= 1
    assert steps == 1 or steps * step + beside <= wished * (1 + 1e-9)
    assert (steps + 1) * step + beside > wished * (1 - 1e-9)


def test_what_is_short_enough_is_not_complained_of() -> None:
    assert judged(100, 10, 1.0, Wish(60, 120)).text == ""
    with pytest.raises(ValueError, match="no time"):
        steps_for(10.0, 0.0)
