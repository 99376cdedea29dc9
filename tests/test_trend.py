"""Memory's slope: real growth is found and dated, noise and steps are not growth."""

from __future__ import annotations

import random
from math import exp, log

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.journals.events import Sample, Worker
from engine.live.filling import Filling
from engine.live.fillings import Fillings
from engine.live.trend import growth, memory_trend

GIB = 1 << 30


def samples(
    sizes: list[float], every: float = 2.0, workers: int = 1, trainer: int = 100, available: int = 40 * GIB, repeat: int = 1
) -> list[Sample]:
    """A reading for each of `sizes` (bytes of one worker); memory is looked at in every `repeat`-th only."""
    made = []
    for index in range(len(sizes)):
        size = int(sizes[index - index % repeat])
        made.append(Sample(
            t=1e9 + index * every, m=50 + index * every, cores=4, cpu=1.0, ram_total=64 * GIB, ram_available=available,
            workers=(
                Worker(pid=trainer, role="trainer", rss=3 * GIB, pss=2 * GIB, uss=GIB),
                *(Worker(pid=200 + i, rss=2 * size, pss=size, uss=size) for i in range(workers)),
            ),
        ))
    return made


def level(seed: int, count: int, size: float = GIB, noise: float = 0.01) -> list[float]:
    rng = random.Random(seed)
    return [size * (1 + rng.gauss(0, noise)) for _ in range(count)]


def growing(seed: int, count: int, per_hour: float, every: float = 2.0) -> list[float]:
    return [value + per_hour * i * every / 3600 for i, value in enumerate(level(seed, count, noise=0.003))]


def test_a_leak_is_found_with_its_slope_and_its_end() -> None:
    trend = memory_trend(samples(growing(1, 300, 3 * GIB), workers=2, repeat=5))
    assert trend.bytes_per_hour == pytest.approx(6 * GIB, rel=0.15)
    assert trend.full_in_seconds == pytest.approx(40 / 6 * 3600, rel=0.15)
    assert trend.per_worker_bytes == pytest.approx(1.5 * GIB, rel=0.02)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 600), noise=st.floats(0, 0.1), repeat=st.integers(1, 8))
def test_noise_is_no_growth(seed: int, count: int, noise: float, repeat: int) -> None:
    trend = memory_trend(samples(level(seed, count, noise=noise), repeat=repeat))
    if trend.bytes_per_hour is not None:
        # One in some hundreds may be believed; then it is small against what there is.
        assert trend.bytes_per_hour * count * 2 / 3600 < 3 * noise * GIB


def test_noise_is_hardly_ever_believed() -> None:
    believed = sum(memory_trend(samples(level(seed, 300, noise=0.05), repeat=5)).bytes_per_hour is not None for seed in range(200))
    assert believed <= 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), per_hour=st.floats(0.5, 30), count=st.integers(200, 600))
def test_growth_is_never_off_by_much(seed: int, per_hour: float, count: int) -> None:
    slope = memory_trend(samples(growing(seed, count, per_hour * GIB))).bytes_per_hour
    if slope is None:
        assert per_hour * count * 2 / 3600 < 0.2
    else:
        assert slope == pytest.approx(per_hour * GIB, rel=0.3)


def test_a_filling_cache_that_is_full_is_no_leak() -> None:
    filled = [GIB * min(1.0, i / 60) for i in range(300)]
    assert memory_trend(samples(filled)).bytes_per_hour is None


def test_a_saw_of_epochs_is_no_leak() -> None:
    saw = [GIB * (1 + 0.3 * (i % 50) / 50) for i in range(300)]
    assert memory_trend(samples(saw)).bytes_per_hour is None


def test_less_than_two_minutes_say_nothing() -> None:
    assert memory_trend(samples(growing(2, 55, 50 * GIB))).bytes_per_hour is None
    assert memory_trend(samples(growing(2, 70, 50 * GIB))).bytes_per_hour is not None


def test_falling_memory_is_not_exhausted() -> None:
    trend = memory_trend(samples(growing(3, 300, -3 * GIB)))
    assert (trend.bytes_per_hour, trend.full_in_seconds) == (None, None)


def test_another_trainer_begins_anew() -> None:
    before, after = samples(level(4, 200), trainer=100), samples(level(5, 200, size=3 * GIB), trainer=101)
    later = [Sample(**{f: getattr(s, f) for f in s.__struct_fields__} | {"m": s.m + 400}) for s in after]
    assert memory_trend([*before, *later]).bytes_per_hour is None


def test_uss_is_taken_where_pss_is_not_known_and_rss_last() -> None:
    reading = Sample(cores=2, cpu=1.0, workers=(Worker(pid=1, rss=900, uss=300), Worker(pid=2, rss=100)))
    assert memory_trend([reading]).per_worker_bytes == 200


def test_without_readings_or_workers_nothing_is_known() -> None:
    assert memory_trend([]).per_worker_bytes is None
    trend = memory_trend([Sample(cores=2, cpu=0.0)])
    assert (trend.per_worker_bytes, trend.bytes_per_hour, trend.full_in_seconds) == (None, None, None)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e12)), max_size=80, unique_by=lambda p: p[0]))
def test_any_points_give_growth_or_nothing(points: list[tuple[float, float]]) -> None:
    slope = growth(sorted(points))
    assert slope is None or 0 < slope < float("inf")


def test_a_cache_that_fills_up_is_slowing_down_and_not_endless() -> None:
    """An LRU of somebody's own dataset: nothing is known of its size, but it surely grows less and less."""
    for seed in range(20):
        rng = random.Random(seed)
        filling = [GIB * (0.5 + 2 * (1 - exp(-i / 150)) + rng.gauss(0, 0.004)) for i in range(300)]
        trend = memory_trend(samples(filling, repeat=5, available=10 * GIB))
        assert trend.full_in_seconds is None and trend.bytes_per_hour is not None
        assert trend.at_most is not None and 2 * GIB * exp(-2) < trend.at_most < 1.2 * GIB
        assert trend.text.startswith("slowing down: at most ") and trend.text.endswith(" more, which fits")
        # With less room than that may come it is dated all the same, early rather than late.
        tight = memory_trend(samples(filling, repeat=5, available=int(0.2 * GIB)))
        assert tight.full_in_seconds is not None and tight.full_in_seconds < 150 * 2 * log(1 / (1 - 0.2 / (2 * exp(-2)))) * 1.1


def test_growth_that_does_not_slow_down_is_never_said_to() -> None:
    for seed in range(100):
        trend = memory_trend(samples(growing(seed, 300, 2 * GIB), repeat=5))
        assert trend.full_in_seconds is not None and trend.text == ""


FILLINGS = st.builds(
    Filling, volumes=st.integers(1, 2000), each=st.integers(1, 1 << 28), workers=st.integers(1, 64), passes=st.floats(0, 40),
    pass_seconds=st.floats(0.1, 1e5),
)


@settings(max_examples=300, deadline=None)
@given(FILLINGS, st.floats(1, 1e13), st.floats(0.1, 1.5), st.sampled_from([0.0, 1.0, 1e6]))
def test_a_cache_is_full_when_every_worker_has_everything(filling: Filling, room: float, factor: float, other: float) -> None:
    assert 0 <= filling.held(filling.passes) <= filling.most * 1.000001
    assert filling.held(filling.passes) <= filling.held(filling.passes + 0.3) + 1
    until = filling.seconds_until(room, factor, other)
    if room > factor * filling.to_come * 1.001 and not other:
        assert until is None
    elif until is not None:
        later = factor * (filling.held(filling.passes + until / filling.pass_seconds) - filling.held(filling.passes))
        assert later + other * until == pytest.approx(room, rel=0.02, abs=filling.each)


def test_what_workers_have_follows_from_how_epochs_are_dealt_out() -> None:
    """Against dealing for real: 150 volumes, 4 workers."""
    rng, have = random.Random(1), [set() for _ in range(4)]  # type: ignore[var-annotated]
    for epoch in range(6):
        order = rng.sample(range(150), 150)
        for place, volume in enumerate(order):
            have[place % 4].add(volume)
        told = Filling(volumes=150, each=1, workers=4, passes=epoch + 1, pass_seconds=1).held(epoch + 1)
        assert sum(map(len, have)) == pytest.approx(told, rel=0.05)


def test_growth_beside_a_cache_has_no_end() -> None:
    """Volumes explain a tenth of it."""
    filling = Filling(volumes=100, each=GIB // 1000, workers=1, passes=0.9, pass_seconds=600)
    trend = memory_trend(samples(growing(1, 300, 6 * GIB), repeat=5), [filling])
    assert trend.full_in_seconds == pytest.approx(40 / 5.5 * 3600, rel=0.2) and (trend.at_most, trend.text) == (None, "")


def beside(first: list[float], second: list[float], available: int) -> list[Sample]:
    """Two trainings side by side, a worker each."""
    both = zip(samples(first, repeat=5, available=available), samples(second, trainer=300, repeat=5), strict=True)
    return [
        replace(one, workers=(*one.workers, other.workers[0], replace(other.workers[1], pid=400))) for one, other in both
    ]


def test_caches_of_two_runs_side_by_side_fill_up_both_and_are_no_endless_growth() -> None:
    """The second began six minutes later; ten minutes are read, and both will hold all volumes."""
    rng = random.Random(3)
    kept = [Filling(volumes=100, each=GIB // 50, workers=1, passes=passes, pass_seconds=1200) for passes in (0.8, 0.5)]
    sizes = [
        [GIB + one.held(one.passes - (600 - 2 * i) / 1200) + rng.gauss(0, 0.002 * GIB) for i in range(301)] for one in kept
    ]
    to_come = sum(one.to_come for one in kept)
    assert to_come == pytest.approx(1.4 * GIB, rel=0.01)
    trend = memory_trend(beside(*sizes, available=4 * GIB), kept)
    assert trend.full_in_seconds is None and trend.at_most == pytest.approx(to_come, rel=0.1)
    assert trend.text.startswith("until every worker has seen all 100 volumes: at most 1.") and "which fits" in trend.text
    tight = memory_trend(beside(*sizes, available=GIB), kept)
    # 2 GiB a pass of 20 minutes each: 0.8 GiB until the first is full, then half as fast.
    assert tight.full_in_seconds == pytest.approx(240 + 0.2 / 2 * 1200, rel=0.15) and "does not fit" in tight.text


@settings(max_examples=100, deadline=None)
@given(FILLINGS, st.floats(1, 1e13), st.sampled_from([0.0, 1e6]))
def test_two_alike_fill_half_the_room_each(filling: Filling, room: float, other: float) -> None:
    until, alone = Fillings((filling, filling)).seconds_until(2 * room, other=2 * other), filling.seconds_until(room, other=other)
    assert (until is None) == (alone is None)
    assert until is None or until == pytest.approx(alone, rel=1e-3)
