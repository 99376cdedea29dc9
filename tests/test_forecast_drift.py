"""Steps that take longer and longer: noticed, dated, and told from a change of pace; spikes are neither."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from engine.journals.events import Steps
from engine.live import drift, pace, pace_words
from engine.live.segments import Pace
from tests.test_pace import in_chunks, noisy, steps
from tests.traces import KINDS, trace


def growing(count: int = 1200, onset: float = 0.3, growth: float = 0.6, seed: int = 1, cv: float = 0.08) -> list[float]:
    values = noisy(seed, count, cv=cv)
    first = onset * count
    return [v * (1 + growth * max(0.0, i - first) / (count - first)) for i, v in enumerate(values)]


def test_a_list_that_grows_in_the_loop_is_noticed_with_the_moment_it_began() -> None:
    records = steps(growing())
    folded = pace.add(Pace(), records)
    assert folded.creep is not None and folded.creep.active
    assert abs(folded.creep.first - 360) < 120
    assert folded.creep.since == pytest.approx(records[folded.creep.first - 1].t, abs=2.0)
    assert folded.creep.grown == pytest.approx(0.6, abs=0.12)
    assert folded.creep.per_step == pytest.approx(0.3 * 0.6 / 840, rel=0.2)
    said = [text for _, text, _ in pace_words.changes(Pace(), folded) if "longer" in text]
    assert said == [f"steps take longer and longer since {pace_words.clock(folded.creep.since, True)}"]
    assert "% so far" in pace_words.creep_words(folded.creep)


def test_it_is_said_once_and_the_same_live_and_afterwards() -> None:
    records, live, said = steps(growing(growth=0.9)), Pace(), []
    for record in records:
        after = pace.add(live, [record])
        said += pace_words.changes(live, after)
        live = after
    assert live == pace.add(Pace(), records)
    assert said == pace_words.changes(Pace(), live)
    assert sum("longer" in text for _, text, _ in said) == 1


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 100), count=st.integers(50, 1500), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_a_creep_does_not_depend_on_how_records_come(seed: int, count: int, sizes: list[int]) -> None:
    records = steps(growing(count, seed=seed, growth=1.0))
    assert in_chunks(records, sizes) == pace.add(Pace(), records)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("creep", "late_shift")])
def test_other_trainings_raise_no_alarm(kind: str) -> None:
    alarms = 0
    for seed in range(6):
        records = [record for record in trace(kind, seed)[0] if isinstance(record, Steps)]
        alarms += pace.add(Pace(), records).creep is not None
    assert alarms == 0


def test_most_creeping_trainings_raise_it() -> None:
    alarms = sum(
        pace.add(Pace(), [r for r in trace("creep", seed)[0] if isinstance(r, Steps)]).creep is not None
        for seed in range(6)
    )
    assert alarms >= 4


def test_one_jump_and_a_way_back_are_no_creep() -> None:
    rng = random.Random(4)
    for factor in (1.2, 1.6, 3.0):
        jump = [rng.uniform(0.95, 1.05) * (factor if i > 24 else 1.0) for i in range(48)]
        assert drift.creep(jump) is None
        hill = [rng.uniform(0.95, 1.05) * (1 + factor * max(0, 12 - abs(i - 24)) / 12) for i in range(48)]
        assert drift.creep(hill) is None


def test_too_few_blocks_and_blocks_without_time_say_nothing() -> None:
    assert drift.creep([1.0 + 0.1 * i for i in range(drift.FEWEST - 1)]) is None
    assert drift.creep([0.0] * 40) is None


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(0, 1e6), max_size=60), factor=st.floats(0.1, 100))
def test_the_unit_of_time_does_not_matter(values: list[float], factor: float) -> None:
    a, b = drift.creep(values), drift.creep([value * factor for value in values])
    if a is not None and b is not None:
        assert b.slope == pytest.approx(a.slope * factor, rel=1e-6, abs=1e-9)


# ---------------------------------------------------------------- periodic spikes


@pytest.mark.parametrize(("every", "extra"), [(4, 0.5), (16, 3.0), (50, 9.0), (200, 40.0)])
def test_a_loss_every_k_steps_is_averaged_over_whole_periods(every: int, extra: float) -> None:
    """Wherever in a period it is looked at, the mean is that of whole ones, within a spike's share of what was seen."""
    values = [value + (extra if i % every == every - 1 else 0.0) for i, value in enumerate(noisy(3, 1600, cv=0.03))]
    truth = 0.3 + extra / every
    for count in range(1200, 1200 + every, max(1, every // 8)):
        folded = pace.add(Pace(), steps(values[:count]))
        assert len(folded.segments) == 1 and folded.creep is None
        assert folded.segments[-1].mean == pytest.approx(truth, rel=0.02 + extra / (truth * count))
