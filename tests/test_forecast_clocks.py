"""A machine that sleeps, a clock that is set: neither bends a pace, a range, or the order of what happened."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.eta.forecast import forecast
from engine.journals import clocks
from engine.journals.events import AnyRecord, Note, Progress, RunEnded, RunStarted, Sample, SupervisorStarted, Verdict
from engine.live.fold_experiment import fold_samples, fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, Sentence, all_sentences, new_experiment, new_run
from tests.test_forecast import CALM, TWO, calm_records
from tests.traces import Recipe, experiment_state, plan_of, run_records, until_step

BOOT = "boot-1"
FINISHED = Verdict(kind="finished", text="trained to its last epoch and evaluated")


def moved(records: list[AnyRecord], after: float, by: float) -> list[AnyRecord]:
    """The wall clock of what was written after monotonic `after` goes `by` seconds on (back, if negative)."""
    return [replace(record, t=record.t + by) if record.m > after else record for record in records]


def seen(records: list[AnyRecord], now: float, now_monotonic: float) -> ExperimentState:
    return replace(experiment_state(CALM, records, now), now_monotonic=now_monotonic)


@pytest.mark.parametrize("by", [8 * 3600.0, -3600.0, -30 * 86_400.0])
@pytest.mark.parametrize("at", [30, 65, 66, 100])
def test_the_time_left_is_the_same_whatever_the_wall_clock_did(by: float, at: int) -> None:
    past = until_step(calm_records(), 101)
    usual = forecast(seen(past, past[-1].t, past[-1].m))
    jump = until_step(past, at)[-1].m
    now = moved(past, jump, by)
    said = forecast(seen(now, now[-1].t, now[-1].m))
    for name in ("epoch", "run", "experiment"):
        a, b = getattr(usual, name), getattr(said, name)
        assert (a.seconds, a.low, a.high) == pytest.approx((b.seconds, b.low, b.high))
        assert b.at - now[-1].t == pytest.approx(a.seconds)


def test_a_laptop_that_slept_in_a_validation_has_not_validated_for_hours() -> None:
    records = calm_records()
    half = next(i for i, r in enumerate(records) if isinstance(r, Progress) and r.name == "validate" and r.done == 5)
    past = records[: half + 1]
    usual = forecast(seen(past, past[-1].t, past[-1].m))
    slept = forecast(seen(past, past[-1].t + 8 * 3600, past[-1].m + 0.001))
    assert slept.run.seconds == pytest.approx(usual.run.seconds, rel=1e-3)
    assert slept.run.high == pytest.approx(usual.run.high, rel=1e-3)


def test_a_night_between_two_runs_is_no_gap() -> None:
    keys = ((0, 0), (0, 1), (0, 2))
    events: list[AnyRecord] = [SupervisorStarted(pid=1, host="h", boot_id=BOOT, runs=keys, t=1000.0, m=10.0)]
    t, m = 1001.0, 11.0
    for restart, sleep in ((0, 0.0), (1, 9 * 3600.0), (2, -7200.0)):
        t += sleep  # the machine slept, then the clock was set back
        events.append(RunStarted(fold=0, restart=restart, attempt=1, pid=2, t=t, m=m))
        t, m = t + 100, m + 100
        events.append(RunEnded(
            fold=0, restart=restart, attempt=1, outcome="finished", verdict=FINISHED, seconds=100.0, t=t, m=m
        ))
        t, m = t + 3, m + 3
    state = fold_supervisor(new_experiment("/logs/x", plan_of(CALM, tuple(RunKey(fold=0, restart=i, seed=1) for i in range(3)))), events)
    assert state.gaps == pytest.approx((3.0, 3.0))


def test_a_change_after_the_clock_was_set_back_is_said() -> None:
    rng = random.Random(1)
    seconds = [0.5 * rng.uniform(0.97, 1.03) * (1.4 if i >= 300 else 1) * (1.4 if i >= 700 else 1) for i in range(1000)]
    records = run_records(Recipe(epochs=1, steps_per_epoch=1000, validate_every=0, checkpoint_every=0), seconds)
    at = until_step(records, 500)[-1].m
    run = fold_run(new_run(TWO[0]), moved(records, at, -5000.0))
    slower = [one.text for one in run.sentences if "slower" in one.text]
    assert len(slower) == 2
    live = new_run(TWO[0])
    for record in moved(records, at, -5000.0):
        live = fold_run(live, [record])
    assert [one.text for one in live.sentences] == [one.text for one in run.sentences]


# ---------------------------------------------------------------- the order of events


def test_events_keep_their_order_over_a_clock_set_back() -> None:
    """The supervisor and the trainer write to files of their own; the clock goes back an hour between two lines."""
    key = RunKey(fold=0, restart=0, seed=42)
    state = new_experiment("/logs/x", plan_of(CALM, (key,)))
    state = fold_supervisor(state, [
        SupervisorStarted(pid=1, host="h", boot_id=BOOT, runs=((0, 0),), t=10_000.0, m=100.0),
        RunStarted(fold=0, restart=0, attempt=1, pid=2, t=10_001.0, m=101.0),
        Note(text="said by the supervisor, third", t=6_450.0, m=150.0),
    ])
    begin = replace(calm_records()[0], boot_id=BOOT, t=10_002.0, m=102.0)
    run = fold_run(state.runs[0], [
        begin, Note(text="said by the trainer, second", t=10_040.0, m=140.0), Note(text="fourth", t=6_460.0, m=160.0)
    ])
    said = [one.text for one in all_sentences(replace(state, runs=(run,)))]
    wanted = ["said by the trainer, second", "said by the supervisor, third", "fourth"]
    assert [text for text in said if text in wanted] == wanted


sentences = st.lists(st.tuples(st.floats(0, 1e6), st.floats(1, 1e6)), max_size=20).map(
    lambda times: [Sentence(t, str(i), "info", m, BOOT) for i, (t, m) in enumerate(sorted(times, key=lambda one: one[1]))]
)


@given(first=sentences, second=sentences)
def test_merging_reorders_neither_and_loses_nothing(first: list[Sentence], second: list[Sentence]) -> None:
    both = clocks.merged(first, second)
    assert [one.m for one in both] == sorted(one.m for one in (*first, *second))
    assert [one for one in both if any(one is other for other in first)] == first
    assert len(both) == len(first) + len(second)


def test_of_different_boots_the_wall_clock_decides() -> None:
    before, after = Sentence(100.0, "before", "info", 90_000.0, "a"), Sentence(200.0, "after", "info", 5.0, "b")
    assert clocks.merged([after], [before]) == [before, after]


# ---------------------------------------------------------------- what is said about it


def test_a_jump_is_said_once_and_a_late_reading_is_none() -> None:
    readings = [Sample(cores=2, cpu=0.1, t=1000.0 + 2 * i, m=50.0 + 2 * i) for i in range(10)]
    slept = [replace(one, t=one.t + 7800.0) if i >= 5 else one for i, one in enumerate(readings)]
    state = new_experiment("/logs/x", plan_of(CALM))
    assert [one.text for one in fold_samples(state, slept).sentences] == [
        "the clock went on 2.2 h while nothing ran: the machine slept, or its clock was set"
    ]
    back = [replace(one, t=one.t - 600.0) if i >= 5 else one for i, one in enumerate(readings)]
    for one in back:
        state = fold_samples(state, [one])
    assert [one.text for one in state.sentences] == ["the clock was set back by 10 min"]
    late = [replace(one, t=one.t + 90.0, m=one.m + 90.0) if i >= 5 else one for i, one in enumerate(readings)]
    assert fold_samples(new_experiment("/logs/x", plan_of(CALM)), late).sentences == ()


def test_a_new_boot_is_no_jump() -> None:
    assert clocks.jump((1000.0, 90_000.0), (5000.0, 20.0)) == 0.0


