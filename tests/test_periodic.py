"""Long steps in a fixed rhythm, and a processor whose pace wanders: what of the spread of steps is chance."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from engine.eta.costs import KeyTiming, benchmark_key, step_cost
from engine.eta.crowding import crowding
from engine.eta.forecast import forecast
from engine.eta.periodic import periodic
from engine.eta.timing import between_runs
from engine.journals.events import Sample
from engine.live.segments import Bucket
from tests.test_forecast import CALM, calm_records
from tests.traces import experiment_state, plan_of, until_step


def buckets(seconds: list[float], each: int = 1) -> list[Bucket]:
    """One of every `each` steps."""
    groups = [seconds[i : i + each] for i in range(0, len(seconds), each)]
    return [Bucket((i + 1) * each, each, sum(g), min(g), max(g), 0.0, float(i)) for i, g in enumerate(groups)]


def steps(count: int, every: int, more: float, stalls: float = 0.01) -> list[float]:
    rng = random.Random(count)
    return [
        rng.gauss(1.0, 0.1) * (rng.uniform(3, 6) if rng.random() < stalls else 1.0) + more * (i % every == every - 1)
        for i in range(count)
    ]


@pytest.mark.parametrize(("every", "each"), [(16, 1), (50, 1), (50, 4), (16, 2)])
def test_a_costly_step_every_so_often_is_no_noise(every: int, each: int) -> None:
    took = steps(600, every, 0.2 * every, stalls=0.0)
    found = periodic(buckets(took, each), 0)
    assert found is not None and abs(found.period - every) < each
    assert found.mean == pytest.approx(1.2, rel=0.02) and found.usual == pytest.approx(1.0, rel=0.05)
    by_chance = sum((value - 1.2) ** 2 for value in took) / len(took)
    assert found.variance < 0.2 * by_chance


def test_it_is_seen_among_stalls_and_they_stay_what_they_are() -> None:
    took = steps(600, 50, 10.0)
    found = periodic(buckets(took), 0)
    assert found is not None and found.period == 50
    assert found.mean == pytest.approx(sum(took) / len(took), rel=0.05)
    assert found.variance > periodic(buckets(steps(600, 50, 10.0, stalls=0.0)), 0).variance  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(20))
def test_stalls_alone_have_no_rhythm(seed: int) -> None:
    rng = random.Random(seed)
    took = [rng.gauss(1.0, 0.2) * (rng.uniform(3, 10) if rng.random() < 0.02 else 1.0) for _ in range(500)]
    assert periodic(buckets(took), 0) is None


def test_a_processor_that_has_kept_its_pace_is_believed_to_keep_it() -> None:
    state = experiment_state(CALM, until_step(calm_records(), 65))
    state = replace(state, samples=(Sample(cores=2, cpu=1.0, own_cpu=1.0, t=1.0, m=1.0),))
    run = state.run
    assert run is not None

    def over(stretches: list[float]) -> float:
        lasting = [Bucket(65 + 20 * (i + 1), 20, 20 * one, one, one, 0.0, 0.0) for i, one in enumerate(stretches)]
        return crowding(state, replace(run, pace=replace(run.pace, buckets=tuple(lasting))), 600.0)

    new, steady, uneven = over([]), over([1.0] * 30), over([0.8, 1.2] * 15)
    assert 0 < steady < 0.5 * new < uneven


def test_runs_on_a_processor_differ_more_than_on_a_gpu() -> None:
    assert between_runs("cpu") > 2 * between_runs("cuda:0") == 2 * between_runs("")


def test_steps_that_are_quicker_already_than_earlier_ones_were_are_believed() -> None:
    """An earlier experiment took twice as long: while it warms up the range reaches down to what is seen."""
    state = experiment_state(CALM, until_step(calm_records(), 4))
    plan = plan_of(CALM)
    assert state.run is not None and state.run.pace.warming
    told = KeyTiming(
        key=benchmark_key(plan, CALM.device_name), device_name=CALM.device_name, experiment="slower", steps=99,
        step_seconds=2 * state.run.pace.seconds / state.run.pace.steps,
    )
    cost = step_cost(state, state.run, [told])
    assert cost is not None and cost.mean == told.step_seconds and cost.below > 0.5 * cost.mean
    said = forecast(state, [told]).run
    alone = forecast(state).run
    assert said.low is not None and alone.seconds is not None and said.low < alone.seconds


def test_a_few_stalls_at_even_distances_are_no_rhythm_of_all_the_steps() -> None:
    took = steps(600, 10_000, 0.0, stalls=0.0)
    for at in range(200, 272, 12):
        took[at] += 8.0
    assert periodic(buckets(took), 0) is None
    assert periodic(buckets(took, 3), 0) is None
