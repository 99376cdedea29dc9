"""Pace: warm-up is found, changes are noticed once, stalls count, and chunking shows in nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings, strategies as st

from engine.journals.events import Steps
from engine.live import changepoint, pace, pace_words
from engine.live.blocks import MAX_SEGMENTS
from engine.live.buckets import MAX_BUCKETS
from engine.live.segments import Pace
from tests.traces import KINDS, trace


def steps(seconds: Iterable[float], first: int = 1, t: float = 1_000_000.0, each: int = 1) -> list[Steps]:
    """A record for each of `seconds`, of `each` steps."""
    made, step = [], first - 1
    for value in seconds:
        t += value
        step += each
        made.append(Steps(
            epoch=1, step=step, steps=each, seconds=value, low=value / each, high=value / each, t=t, m=t, loss=0.5
        ))
    return made


def noisy(seed: int, count: int, mean: float = 0.3, cv: float = 0.08) -> list[float]:
    rng = random.Random(seed)
    return [mean * rng.lognormvariate(-cv * cv / 2, cv) for _ in range(count)]


def in_chunks(records: Sequence[Steps], sizes: Sequence[int], start: Pace | None = None) -> Pace:
    folded, at, turn = start if start is not None else Pace(), 0, 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        folded = pace.add(folded, records[at : at + size])
        at, turn = at + size, turn + 1
    return folded


# ---------------------------------------------------------------- chunking


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 1500), each=st.integers(1, 7), shift=st.floats(0.2, 5),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
)
def test_however_records_come_the_pace_is_the_same(
    seed: int, count: int, each: int, shift: float, sizes: list[int]
) -> None:
    values = noisy(seed, count)
    values[:5] = [value * 8 for value in values[:5]]
    values[count // 2 :] = [value * shift for value in values[count // 2 :]]
    records = steps(values, each=each)
    assert in_chunks(records, sizes) == pace.add(Pace(), records)


@pytest.mark.parametrize("kind", KINDS)
def test_one_by_one_and_all_at_once_say_the_same_sentences(kind: str) -> None:
    records = [r for r in trace(kind, 3)[0] if isinstance(r, Steps)]
    live, said = Pace(), []
    for record in records:
        after = pace.add(live, [record])
        said += pace_words.changes(live, after)
        live = after
    whole = pace.add(Pace(), records)
    assert live == whole
    assert said == pace_words.changes(Pace(), whole)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=600), each=st.integers(1, 50))
def test_nothing_is_lost(values: list[float], each: int) -> None:
    folded = pace.add(Pace(), steps(values, each=each))
    assert folded.steps == each * len(values)
    assert folded.seconds == pytest.approx(sum(values))
    assert sum(b.steps for b in folded.buckets) == folded.steps
    assert sum(b.seconds for b in folded.buckets) == pytest.approx(folded.seconds, abs=1e-6)
    assert len(folded.buckets) <= MAX_BUCKETS
    counted = folded.warm_steps + sum(segment.steps for segment in folded.segments)
    assert counted == folded.steps
    assert all(b.low <= b.seconds / b.steps + 1e-9 * (1 + folded.seconds) for b in folded.buckets)


def test_a_million_steps_fit_into_few_buckets_and_keep_their_ends() -> None:
    records = steps(noisy(1, 100_000), each=10)
    folded = in_chunks(records, [20_000])
    assert MAX_BUCKETS // 2 <= len(folded.buckets) <= MAX_BUCKETS
    assert folded.buckets[-1].last == 1_000_000
    assert len(folded.segments) <= MAX_SEGMENTS


def test_times_no_clock_can_give_are_passed_over() -> None:
    records = steps([0.3] * 20)
    bad = [
        Steps(epoch=1, step=21, steps=0, seconds=1.0, low=1.0, high=1.0),
        Steps(epoch=1, step=21, steps=1, seconds=-1.0, low=1.0, high=1.0),
        Steps(epoch=1, step=21, steps=1, seconds=1e300, low=1.0, high=1.0),
        Steps(epoch=1, step=21, steps=1, seconds=float("nan"), low=1.0, high=1.0),
    ]
    assert pace.add(Pace(), [*records, *bad]) == pace.add(Pace(), records)
    assert pace.add(Pace(), bad) == Pace()


# ---------------------------------------------------------------- warm-up


@pytest.mark.parametrize(("slow", "factor"), [(1, 20.0), (3, 5.0), (5, 3.0), (7, 8.0)])
def test_slow_first_steps_are_warm_up_and_no_more(slow: int, factor: float) -> None:
    values = noisy(slow, 200)
    values[:slow] = [value * factor for value in values[:slow]]
    folded = pace.add(Pace(), steps(values))
    assert not folded.warming
    assert folded.warm_steps == slow
    assert folded.segments[-1].mean == pytest.approx(sum(values[slow:]) / (200 - slow))


def test_steady_from_the_first_step_is_said_so() -> None:
    after = pace.add(Pace(), steps(noisy(2, 60)))
    assert after.warm_steps == 0
    assert [text for _, text, _ in pace_words.changes(Pace(), after)] == ["no warm-up: steady from the first step"]


def test_while_it_gets_faster_step_by_step_it_is_still_warming() -> None:
    falling = [2.0 * 0.8**i for i in range(12)]
    folded = pace.add(Pace(), steps(falling))
    assert folded.warming
    assert folded.warm_steps == 12
    settled = pace.add(folded, steps([2.0 * 0.8**11] * 30, first=13))
    assert not settled.warming


@pytest.mark.parametrize("workers", [2, 3, 4, 6, 8])
def test_loader_bursts_are_neither_warm_up_nor_a_change(workers: int) -> None:
    """w workers that each load in w·22 ms hand out w batches at once: one long step, w − 1 short ones."""
    values = [(22 + 45 * (i % workers == 0)) / 1000 * v for i, v in enumerate(noisy(workers, 400, mean=1.0, cv=0.03))]
    folded = pace.add(Pace(), steps(values))
    assert len(folded.segments) == 1
    assert folded.warm_steps <= 1
    assert folded.segments[0].mean == pytest.approx((22 * workers + 45) / workers / 1000, rel=0.02)


def test_periodic_spikes_count_into_the_mean_and_are_no_change() -> None:
    values = [value + (3.0 if i % 16 == 15 else 0.0) for i, value in enumerate(noisy(5, 640))]
    folded = pace.add(Pace(), steps(values))
    assert len(folded.segments) == 1
    assert folded.segments[0].mean == pytest.approx(0.3 + 3.0 / 16, rel=0.03)


# ---------------------------------------------------------------- changes of pace


@pytest.mark.parametrize("factor", [0.6, 0.87, 1.13, 1.5, 4.0])
def test_a_change_of_pace_is_noticed_and_dated(factor: float) -> None:
    values = noisy(7, 600, cv=0.04)
    values[400:] = [value * factor for value in values[400:]]
    records = steps(values)
    folded = pace.add(Pace(), records)
    assert len(folded.segments) == 2
    assert abs(folded.segments[1].first - 401) <= 4
    assert folded.segments[1].mean == pytest.approx(0.3 * factor, rel=0.03)
    (_, text, level) = pace_words.changes(Pace(), folded)[-1]
    word = "slower" if factor > 1 else "faster"
    assert f"% {word} since " in text
    assert level == ("warn" if factor > 1 else "info")
    percent = float(text.removeprefix("step time ").split(" ")[0])
    assert percent == pytest.approx(abs(factor - 1) * 100, abs=4, rel=0.05)


def test_a_change_is_said_once_and_never_during_warm_up() -> None:
    values = noisy(8, 500, cv=0.05)
    values[:5] = [value * 10 for value in values[:5]]
    values[250:] = [value * 1.3 for value in values[250:]]
    live, said = Pace(), []
    for record in steps(values):
        after = pace.add(live, [record])
        new = pace_words.changes(live, after)
        assert not (new and after.warming)
        said += new
        live = after
    assert [text.split(" since")[0] for _, text, _ in said][:1] == ["warm-up over after 5 steps"]
    assert len(said) == 2


def test_a_few_stalls_in_a_row_are_no_change_of_pace() -> None:
    values = noisy(9, 400)
    values[200:204] = [2.0, 3.0, 1.5, 2.5]
    folded = pace.add(Pace(), steps(values))
    assert len(folded.segments) == 1
    assert folded.segments[0].seconds == pytest.approx(sum(values))


def test_quick_steps_need_seconds_not_only_steps_to_change() -> None:
    """Fifty steps of 2 ms are a tenth of a second: whatever they did, nobody needs to be told."""
    values = noisy(10, 3000, mean=0.002, cv=0.05)
    values[1500:1550] = [value * 3 for value in values[1500:1550]]
    assert len(pace.add(Pace(), steps(values)).segments) == 1


def test_stationary_runs_hardly_ever_say_that_the_pace_changed() -> None:
    changed = 0
    for seed in range(25):
        records = [r for r in trace("stationary", seed, epochs=20)[0] if isinstance(r, Steps)]
        changed += len(pace.add(Pace(), records).segments) - 1
    assert changed <= 6


def test_the_newest_segment_is_the_present_pace_after_a_cold_first_epoch() -> None:
    wrong = 0
    for seed in range(12):
        records, _, recipe = trace("cold_epoch", seed)
        quarter = [r for r in records if isinstance(r, Steps) and r.step <= recipe.steps // 4]
        rest = [r for r in records if isinstance(r, Steps) and r.step > recipe.steps // 4]
        present = pace.add(Pace(), quarter).segments[-1].mean
        truth = sum(r.seconds for r in rest) / sum(r.steps for r in rest)
        wrong += abs(present / truth - 1) > 0.12
    assert wrong <= 1


def test_variance_is_that_of_long_means_not_of_single_steps() -> None:
    """Autocorrelated steps vary more in the long run than one by one, bursts less."""
    rng, drift, slow = random.Random(3), 0.0, []
    for _ in range(2000):
        drift = 0.8 * drift + 0.6 * rng.gauss(0, 0.05)
        slow.append(1.0 + drift)
    bursts = [0.4 if i % 4 else 2.8 for i in range(2000)]
    single = sum((v - 1.0) ** 2 for v in slow) / 2000
    assert pace.add(Pace(), steps(slow)).segments[-1].variance > 3 * single
    assert pace.add(Pace(), steps(bursts)).segments[-1].variance < 0.1


# ---------------------------------------------------------------- resume


def test_after_a_resume_the_steps_beyond_are_forgotten_and_the_old_pace_is_known() -> None:
    before = pace.add(Pace(), steps(noisy(11, 300)))
    again = pace.rewound(before, 250)
    assert again.warming
    assert again.steps == 250
    assert again.seconds == pytest.approx(250 * 0.3, rel=0.05)
    assert again.buckets[-1].last == 250
    assert again.segments[-1].mean == before.segments[-1].mean
    warm = pace.add(again, steps([3.0, 2.0, 1.0, *noisy(12, 100)], first=251))
    assert not warm.warming
    assert warm.warm_steps == 3
    assert warm.segments[-1].attempt == 1
    assert warm.segments[-1].first == 254
    assert [text for _, text, _ in pace_words.changes(again, warm)] == ["warm-up over after 3 steps"]


def test_a_resume_from_the_beginning_forgets_all_but_the_pace() -> None:
    before = pace.add(Pace(), steps(noisy(13, 100)))
    again = pace.rewound(before, 0)
    assert (again.steps, again.seconds, again.buckets) == (0, 0.0, ())
    assert again.segments == before.segments
    assert pace.rewound(Pace(), 0) == Pace()


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 700), step=st.integers(0, 800), more=st.integers(0, 300), sizes=st.lists(st.integers(1, 90), min_size=1))
def test_resumes_do_not_depend_on_chunking_either(count: int, step: int, more: int, sizes: list[int]) -> None:
    first = steps(noisy(count, count))
    second = steps(noisy(more, more, mean=0.4), first=min(step, count) + 1)
    whole = pace.add(pace.rewound(pace.add(Pace(), first), step), second)
    parts = in_chunks(second, sizes, pace.rewound(in_chunks(first, sizes), step))
    assert parts == whole
    assert whole.steps == min(step, count) + more


# ---------------------------------------------------------------- the tests beneath


def test_a_series_of_noise_has_no_split() -> None:
    assert sum(changepoint.split(noisy(seed, 60, cv=0.2)) is not None for seed in range(300)) <= 1


def test_a_step_in_the_level_is_found_where_it_is() -> None:
    values = noisy(1, 30, mean=1.0, cv=0.05) + noisy(2, 30, mean=1.2, cv=0.05)
    at = changepoint.split(values)
    assert at is not None
    assert abs(at - 30) <= 1


def test_too_few_values_say_nothing() -> None:
    assert changepoint.split([1.0, 2.0] * 4) is None
    assert changepoint.warmup([5.0, 1.0, 1.0]) is None
