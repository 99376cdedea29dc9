"""What a short test showed: warm-up in both directions, blocks of whole waves, intervals that hold."""

from __future__ import annotations

from math import exp, isinf
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings, strategies as st

from engine.phase.measure import Load, Measurement, measured, merged, period
from engine.phase.settle import settled


def noisy(count: int, level: float = 1.0, cv: float = 0.03, seed: int = 0) -> list[float]:
    draw = Random(seed)
    return [level * max(0.1, 1 + cv * draw.gauss(0, 1)) for _ in range(count)]


def waves(count: int, workers: int = 4, seed: int = 0) -> list[float]:
    """Data-bound steps as real loaders make them: one waits, the others find their batch ready."""
    return [x * (67 if i % workers == 0 else 22) / 1000 for i, x in enumerate(noisy(count, seed=seed))]


def of(seconds: list[float], wave: int = 1, rounds: list[int] | None = None, **more: object) -> Measurement:
    return measured(seconds, [2] * len(seconds), wave, rounds, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- pace


def test_a_steady_test_is_its_mean_with_an_interval_around_it() -> None:
    steady = of(noisy(60))
    assert not steady.unstable
    assert steady.samples_per_second == pytest.approx(2.0, rel=0.02)
    assert steady.samples_low < steady.samples_per_second < steady.samples_high < 1.07 * steady.samples_low
    assert steady.steps == 59 and steady.warmup_steps == 1
    assert steady.samples == 118
    assert mean(steady.blocks) == pytest.approx(steady.step_seconds / 2)


def test_waves_of_four_workers_are_judged_by_whole_waves() -> None:
    seconds = waves(61)
    wave = of(seconds, 4)
    assert wave.block == 4 and wave.steps % 4 == 0
    assert wave.step_seconds == pytest.approx((67 + 3 * 22) / 4 / 1000, rel=0.02)
    assert wave.samples_high < 1.06 * wave.samples_low  # step by step the CV is 0.6, wave by wave 0.02
    assert wave.quick_seconds == pytest.approx(0.022, rel=0.1)


@pytest.mark.parametrize(
    ("workers", "passes", "steps"), [(0, 1, 1), (1, 1, 1), (4, 1, 4), (4, 2, 2), (4, 3, 4), (2, 8, 1)]
)
def test_a_period_is_the_steps_that_take_one_batch_from_every_worker(workers: int, passes: int, steps: int) -> None:
    assert period({"num_workers": workers, "accumulate_steps": passes}) == steps


def test_a_small_last_batch_of_an_epoch_counts_by_its_samples() -> None:
    seconds = [0.4 if i % 10 != 9 else 0.1 for i in range(61)]
    samples = [4 if i % 10 != 9 else 1 for i in range(61)]
    assert measured(seconds, samples, 1).samples_per_second == pytest.approx(10.0)


# ---------------------------------------------------------------- warm-up


def test_the_first_step_holds_the_workers_start_and_never_counts() -> None:
    assert of([5.0, *noisy(40)]).samples_per_second == pytest.approx(2.0, rel=0.02)


@settings(deadline=None)
@given(st.integers(0, 200), st.sampled_from([1, 2, 4]), st.sampled_from([0, 4, 8, 16]))
def test_a_buffer_filled_for_free_is_left_out(seed: int, workers: int, free: int) -> None:
    """Its steps are too fast, not too slow."""
    seconds = [0.4 * x if i <= free else x for i, x in enumerate(noisy(61, seed=seed))]
    test = of(seconds, workers)
    assert test.warmup_steps > free or free == 0
    assert test.samples_per_second == pytest.approx(2.0, rel=0.03)
    assert not test.unstable


@settings(deadline=None)
@given(st.integers(0, 200), st.sampled_from([1, 4]))
def test_a_slow_start_is_left_out(seed: int, workers: int) -> None:
    seconds = [x * (1 + 3 * exp(-i / 3)) for i, x in enumerate(noisy(61, seed=seed))]
    test = of(seconds, workers)
    assert 4 < test.warmup_steps < 45
    assert test.samples_per_second == pytest.approx(2.0, rel=0.03)


def test_a_stall_in_the_middle_is_no_warm_up_and_counts() -> None:
    seconds = noisy(61)
    seconds[9] = 10.0
    test = of(seconds)
    assert test.warmup_steps == 1
    assert test.step_seconds == pytest.approx(1.15, rel=0.02)


def test_noise_alone_is_rarely_taken_for_warm_up() -> None:
    cuts = [settled([noisy(60, cv=0.2, seed=seed)]).cut for seed in range(200)]
    assert sum(cut > 0 for cut in cuts) <= 4


def test_every_visit_has_its_own_warm_up() -> None:
    visit = [3.0, 2.0, 2.0, *noisy(17)]
    test = of(visit * 3, rounds=[r for r in range(3) for _ in visit])
    assert test.rounds == tuple(sorted(test.rounds)) and set(test.rounds) == {0, 1, 2}
    assert test.samples_per_second == pytest.approx(2.0, rel=0.03)


# ---------------------------------------------------------------- what can not be relied on


def test_a_pace_that_goes_on_changing_is_unstable() -> None:
    test = of([1 + 0.02 * i for i in range(60)])
    assert test.unstable
    assert "slower than its first" in test.unstable


def test_a_test_shorter_than_the_buffer_is_caught_by_what_workers_can_do() -> None:
    """40 steps out of a buffer of 64 look steady; four workers of 4 s a sample can not have loaded them."""
    knobs = {"num_workers": 4, "prefetch_factor": 16}
    test = measured(noisy(41, 0.5), [1] * 41, 4, knobs=knobs, load=Load(seconds=4.0))
    assert test.unstable.startswith("it lived on batches loaded before it began")
    assert not measured(noisy(41, 1.01), [1] * 41, 4, knobs=knobs, load=Load(seconds=4.0)).unstable


def test_two_blocks_are_too_few() -> None:
    test = of(waves(9), 4)
    assert test.unstable == "only 2 blocks of 4 steps after the warm-up"
    one = of(waves(5), 4)
    assert one.samples_low == 0 and isinf(one.samples_high) and one.unstable


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, 1.0, 1.0]])
def test_no_whole_block_is_an_error(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="no whole block of 4"):
        of(seconds, 4)


@pytest.mark.parametrize(("seconds", "samples"), [([1.0, 0.0], [1, 1]), ([1.0, 1.0], [1, 0])])
def test_a_step_takes_time_and_has_samples(seconds: list[float], samples: list[int]) -> None:
    with pytest.raises(ValueError, match="every step"):
        measured(seconds, samples, 1)


# ---------------------------------------------------------------- visits put together


def test_visits_merge_to_what_all_their_steps_say() -> None:
    load = Load(seconds=0.1, cv=0.2, cpu_seconds=0.05)
    a = of(noisy(21, seed=1), spans={"data": 0.5}, load=load, trainer_cpu_seconds=0.2)
    b = of(noisy(41, seed=2), spans={"data": 0.2, "h2d": 0.1}, load=load, trainer_cpu_seconds=0.2)
    both = merged([a, b])
    assert both.steps == a.steps + b.steps and both.rounds == (0,) * 20 + (1,) * 40
    assert both.samples_per_second == pytest.approx(
        120 / (a.samples / a.samples_per_second + b.samples / b.samples_per_second)
    )
    assert both.spans == {"data": pytest.approx(0.3), "h2d": pytest.approx(0.2 / 3)}
    assert both.load_seconds == pytest.approx(0.1) and both.trainer_cpu_seconds == pytest.approx(0.2)
    assert set(merged([both, a]).rounds) == {0, 1, 2}
    assert merged([a]) == a


def test_visits_that_differ_widen_the_interval() -> None:
    alike = merged([of(noisy(21, seed=s)) for s in range(3)])
    apart = merged([of(noisy(21, level, seed=s)) for s, level in enumerate((1.0, 1.1, 1.2))])
    assert apart.samples_high / apart.samples_low > 1.2 > alike.samples_high / alike.samples_low


def test_there_is_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match="no measurements"):
        merged([])
