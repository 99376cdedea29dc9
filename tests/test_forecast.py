"""The forecast: everything left is counted once, ranges hold, and what cannot be known is not said."""

from __future__ import annotations

import dataclasses
from statistics import median

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.diagnosis.bottleneck import bottleneck
from engine.eta.costs import CLOSING_SECONDS
from engine.eta.forecast import Estimate, Forecast, before_launch, benchmark_key, forecast
from engine.eta.lessons import timing_of
from engine.journals.events import AnyRecord, Begin, End, ExperimentEnded, Progress, SpanEnded, Spans, Steps
from engine.live.fold_run import fold_run
from engine.live.state import RunState, StopState, new_run
from tests.benchmarks.forecast import replay
from tests.binomial import held
from tests.traces import KINDS, STARTED, Recipe, experiment_state, plan_of, run_records, trace, until_step

CALM = Recipe(
    epochs=6, steps_per_epoch=20, spans=Spans(data=0.4, forward=0.5, backward=1.1), startup_seconds=8.0, validate_every=2,
    validate_items=10, validate_item_seconds=0.9, evaluate_items=24, evaluate_item_seconds=0.9, checkpoint_seconds=1.0,
)
TWO = (RunKey(fold=0, restart=0, seed=42), RunKey(fold=0, restart=1, seed=43))


def calm_records(recipe: Recipe = CALM, key: RunKey = TWO[0], started: float = STARTED, seconds: float = 2.0) -> list[AnyRecord]:
    """A run whose steps all take the same."""
    return run_records(recipe, [seconds] * recipe.steps, started, key, seed=1)


def finished(recipe: Recipe = CALM, key: RunKey = TWO[0]) -> RunState:
    records = calm_records(recipe, key, STARTED - 10_000)
    return replace(fold_run(new_run(key), records), phase="finished", ended=records[-1].t)


def estimates(said: Forecast) -> list[Estimate]:
    return [said.epoch, said.run, said.stop_here, said.experiment]


def seconds(estimate: Estimate) -> float:
    assert estimate.seconds is not None
    return estimate.seconds


# ---------------------------------------------------------------- accuracy


def test_the_total_of_a_stationary_run_is_known_within_three_percent_after_a_tenth() -> None:
    replayed = [replay("stationary", seed) for seed in range(1000, 1030)]
    assert median(r.error for r in replayed) <= 0.03
    assert median(r.error for r in replayed) < 0.25 * median(r.tqdm for r in replayed)
    fewest, most = held(len(replayed))
    assert fewest <= sum(r.held for r in replayed) <= most


@pytest.mark.parametrize(("kind", "limit"), [("cold_epoch", 0.035), ("early_shift", 0.055), ("bursts", 0.04), ("spikes", 0.03)])
def test_the_total_is_known_although(kind: str, limit: float) -> None:
    replayed = [replay(kind, seed) for seed in range(1000, 1015)]
    assert median(r.error for r in replayed) <= limit
    fewest, most = held(len(replayed))
    assert fewest <= sum(r.held for r in replayed) <= most


def test_at_every_record_of_a_calm_run_the_end_is_foretold_right() -> None:
    """Validation, checkpoints and the evaluation are counted once each, before, while and after they happen."""
    records = calm_records()
    end = records[-1].t + CLOSING_SECONDS
    known = next(i for i, r in enumerate(records) if isinstance(r, SpanEnded) and r.name == "validate")
    run, wrong = fold_run(new_run(TWO[0]), records[: known + 1]), []
    for record in records[known + 1 :]:
        run = fold_run(run, [record])
        if run.phase == "finished":
            break
        state = replace(experiment_state(CALM, [], record.t), runs=(run,))
        off = (forecast(state).run.at or 0) - end
        # Between the last item of a span and its own line nothing says that it is over.
        if abs(off) > 2.5 and not isinstance(record, SpanEnded):
            wrong.append((record, off))
    assert not wrong


def test_an_epoch_ends_with_its_validation_and_checkpoint() -> None:
    records = calm_records()
    state = experiment_state(CALM, until_step(records, 65))  # epoch 4 of 6, 15 steps and then both to come
    assert seconds(forecast(state).epoch) == pytest.approx(15 * 2.0 + 10 * 0.9 + 1.0, rel=0.05)
    state = experiment_state(CALM, until_step(records, 85))  # epoch 5 of 6 is not validated
    assert seconds(forecast(state).epoch) == pytest.approx(15 * 2.0 + 1.0, rel=0.05)


def test_parts_add_up_to_the_experiment() -> None:
    said = forecast(experiment_state(CALM, until_step(calm_records(), 65), runs=TWO))
    assert sum(said.parts.values()) == pytest.approx(seconds(said.experiment))
    assert set(said.parts) == {"train", "validate", "checkpoint", "evaluate", "startup", "closing", "between runs"}
    assert said.parts["train"] == pytest.approx((55 + 120) * 2.0, rel=0.02)


# ---------------------------------------------------------------- properties


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(KINDS), seed=st.integers(0, 40), cut=st.floats(0, 1), later=st.floats(0, 1e5), runs=st.integers(1, 5),
)
def test_ranges_hold_what_they_are_ranges_of(kind: str, seed: int, cut: float, later: float, runs: int) -> None:
    records, _, recipe = trace(kind, seed, epochs=5, steps_per_epoch=30)
    keys = tuple(RunKey(fold=i % 2, restart=i // 2, seed=42 + i // 2) for i in range(runs))
    past = records[: max(1, round(cut * len(records)))]
    state = experiment_state(recipe, past, past[-1].t + later, keys)
    said = forecast(state)
    for estimate in estimates(said):
        if estimate.seconds is None:
            assert estimate.low is None and estimate.high is None and estimate.at is None
            continue
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.seconds <= estimate.high < float("inf")
    for inner, outer in ((said.epoch, said.run), (said.run, said.experiment)):
        for name in ("seconds", "low", "high", "at"):
            a, b = getattr(inner, name), getattr(outer, name)
            if a is not None and b is not None:
                assert a <= b + 1e-6
    assert said.stop_here == said.run


@settings(max_examples=30, deadline=None)
@given(later=st.floats(0, 1e6), cut=st.integers(30, 110))
def test_a_finish_never_lies_in_the_past(later: float, cut: int) -> None:
    past = until_step(calm_records(), cut)
    state = experiment_state(CALM, past, past[-1].t + later)
    for estimate in estimates(forecast(state)):
        assert estimate.at is None or estimate.at >= state.now - 1e-6


# ---------------------------------------------------------------- what is not known


def test_before_the_volumes_are_prepared_nothing_is_known() -> None:
    state = replace(experiment_state(CALM, []), prepared=None, current=None, phase="preparing")
    said = forecast(state)
    assert all(estimate.seconds is None and estimate.basis == "not known yet" for estimate in estimates(said))


def test_before_the_first_step_nothing_is_known() -> None:
    said = forecast(experiment_state(CALM, calm_records()[:2]))
    assert said.run.seconds is None
    assert said.text.startswith("not known yet")


def test_in_the_first_steps_it_is_warming_and_wide() -> None:
    said = forecast(experiment_state(CALM, until_step(calm_records(), 3)))
    assert said.warming
    assert said.run.basis == "warming: 3 steps so far"
    assert said.run.low is not None and said.run.high is not None
    assert said.run.high > 2 * seconds(said.run) > 4 * said.run.low


def test_in_the_first_epoch_it_may_be_a_cold_one_and_the_range_says_so() -> None:
    records, truth, recipe = trace("cold_epoch", 5)
    state = experiment_state(recipe, until_step(records, 40))
    said = forecast(state)
    assert said.warming
    assert said.run.low is not None and said.run.low < truth.ended - state.now < (said.run.high or 0)
    after = forecast(experiment_state(recipe, until_step(records, 3 * recipe.steps_per_epoch)))
    assert not after.warming
    assert after.run.basis.startswith("measured here")


def test_what_has_not_been_seen_is_modelled_and_said() -> None:
    recipe = dataclasses.replace(CALM, validate_every=0)
    said = forecast(experiment_state(recipe, until_step(calm_records(recipe), 65)))
    assert "evaluate not seen yet: modelled from the forward pass" in said.text
    seen = forecast(experiment_state(recipe, until_step(calm_records(recipe), 65), runs=TWO, earlier=[finished(recipe)]))
    assert "modelled" not in seen.text
    assert seen.run.high is not None and said.run.high is not None
    assert (seen.run.high - seconds(seen.run)) < (said.run.high - seconds(said.run))


# ---------------------------------------------------------------- under way, stalled, over


def test_the_rest_of_an_evaluation_is_counted_by_its_progress() -> None:
    recipe = dataclasses.replace(CALM, validate_every=0, evaluate_item_seconds=30.0)
    records = calm_records(recipe)
    half = next(i for i, r in enumerate(records) if isinstance(r, Progress) and r.name == "evaluate" and r.done == 12)
    state = experiment_state(recipe, records[: half + 1])
    assert seconds(forecast(state).run) == pytest.approx(12 * 30, rel=0.1)
    assert forecast(state).epoch.seconds == 0.0


def test_within_a_long_step_the_clock_time_of_the_end_stays() -> None:
    recipe = dataclasses.replace(CALM, spans=Spans(data=10.0, forward=3.0, backward=5.0))
    past = until_step(calm_records(recipe, seconds=18.0), 65)
    at = [forecast(experiment_state(recipe, past, past[-1].t + wait)).run.at for wait in (0.0, 6.0, 17.0)]
    assert at[1] == pytest.approx(at[0])
    assert at[2] == pytest.approx(at[0])


def test_while_it_is_stalled_the_end_moves_on_with_the_clock() -> None:
    past = until_step(calm_records(), 65)
    early, late = (forecast(experiment_state(CALM, past, past[-1].t + wait)).run.at or 0 for wait in (300.0, 900.0))
    assert late - early == pytest.approx(600)


def test_after_the_end_nothing_is_left_and_the_end_is_known() -> None:
    records = calm_records()
    state = replace(experiment_state(CALM, records), phase="finished", ended=ExperimentEnded(
        t=records[-1].t + 1, outcome="finished", text="all runs finished"
    ), now=records[-1].t + 5000)
    for estimate in estimates(forecast(state)):
        assert estimate.seconds == estimate.low == estimate.high == 0.0
        assert estimate.at == records[-1].t + 1
        assert estimate.basis == "finished"


def test_a_lost_experiment_has_no_end() -> None:
    state = replace(experiment_state(CALM, until_step(calm_records(), 65)), phase="lost")
    assert all(estimate.seconds is None for estimate in estimates(forecast(state)))
    assert forecast(state).text == "lost: nobody is training"


# ---------------------------------------------------------------- several runs


def test_other_runs_take_as_long_as_this_one_with_start_evaluation_and_gap() -> None:
    records = calm_records()
    state = experiment_state(CALM, until_step(records, 65), runs=TWO, gaps=(4.0,))
    said = forecast(state)
    whole = records[-1].t - STARTED
    assert seconds(said.experiment) - seconds(said.run) == pytest.approx(whole + 4.0, rel=0.03)


def test_every_fold_has_its_own_steps() -> None:
    """148 training subjects in fold 0, 149 in the others: 50 steps more a run."""
    recipe = Recipe(epochs=50, steps_per_epoch=148, spans=Spans(data=1.5, forward=0.2, backward=0.3), validate_every=0,
                    evaluate_items=75)
    keys = tuple(RunKey(fold=fold, restart=0, seed=42) for fold in range(3))
    state = experiment_state(recipe, until_step(calm_records(recipe), 1000), runs=keys)
    splits = tuple(
        replace(split, train=split.train if split.fold == 0 else (*split.train, 0)) for split in state.prepared.splits  # type: ignore[union-attr]
    )
    uneven = replace(state, prepared=replace(state.prepared, splits=splits))  # type: ignore[type-var]
    assert forecast(uneven).parts["train"] - forecast(state).parts["train"] == pytest.approx(2 * 50 * 2.0, rel=0.01)


def test_a_second_run_knows_its_pace_from_the_first_before_its_first_step() -> None:
    begun = calm_records(key=TWO[1])[:2]
    state = experiment_state(CALM, begun, runs=TWO, earlier=[finished()])
    said = forecast(state)
    assert seconds(said.run) == pytest.approx(calm_records()[-1].t - STARTED, rel=0.05)
    assert said.run.basis == "from 1 earlier run"
    warm = forecast(experiment_state(CALM, until_step(calm_records(key=TWO[1]), 60), runs=TWO, earlier=[finished()]))
    assert warm.run.basis.startswith("measured here, 60 steps")


def test_a_run_twice_as_slow_as_the_earlier_ones_is_foretold_by_its_own_pace() -> None:
    """An earlier run's small spread says nothing of a run that plainly differs from it."""
    slow = calm_records(key=TWO[1], seconds=4.0)
    for step in (30, 60, 110):
        past = until_step(slow, step)
        said = forecast(experiment_state(CALM, past, runs=TWO, earlier=[finished()])).run
        truth = slow[-1].t - past[-1].t
        assert seconds(said) == pytest.approx(truth, rel=0.06)
        assert (said.low or 0) <= truth <= (said.high or 0)


def test_what_a_process_needs_to_start_and_end_is_known_from_runs_that_did() -> None:
    run = finished()
    slow = replace(run, attempt=1, elapsed=run.ended - run.started + 20.0)
    past = until_step(calm_records(key=TWO[1]), 60)
    quick, late = (
        forecast(experiment_state(CALM, past, runs=TWO, earlier=[earlier])) for earlier in (run, slow)
    )
    assert seconds(late.run) - seconds(quick.run) == pytest.approx(20.0 - CLOSING_SECONDS, abs=0.5)


def test_between_two_runs_the_experiment_goes_on() -> None:
    state = replace(experiment_state(CALM, []), runs=(finished(), new_run(TWO[1])), current=0, runs_ended_here=1)
    state = replace(state, plan=plan_of(CALM, TWO))
    said = forecast(state)
    assert said.run.seconds == 0.0 and said.run.at == state.runs[0].ended
    assert seconds(said.experiment) == pytest.approx(calm_records()[-1].t - STARTED, rel=0.08)


def test_a_stop_after_this_run_makes_it_the_last() -> None:
    past = until_step(calm_records(), 65)
    state = experiment_state(CALM, past, runs=TWO)
    asked = replace(state, stop=StopState(id="1", mode="after_run", phase="acknowledged"))
    assert forecast(asked).experiment == forecast(asked).run == forecast(state).stop_here
    assert seconds(forecast(state).experiment) > 1.5 * seconds(forecast(state).run)
    assert forecast(replace(state, stop_after_runs=1)).experiment == forecast(state).run
    assert forecast(replace(state, stop_after_runs=2)).experiment == forecast(state).experiment


def test_a_stop_now_is_a_step_and_a_checkpoint_away() -> None:
    state = experiment_state(CALM, until_step(calm_records(), 65), runs=TWO)
    said = forecast(replace(state, stop=StopState(id="1", mode="now", phase="requested")))
    assert seconds(said.experiment) == pytest.approx(3.0, rel=0.1)
    assert said.text == "stopping now"


def test_after_a_resume_the_old_pace_tells_the_end_from_the_first_minute() -> None:
    first = until_step(calm_records(), 75)
    run = fold_run(new_run(TWO[0]), first)
    recipe = dataclasses.replace(CALM, attempt=2, from_step=60)
    again = run_records(recipe, [2.0] * 60 + [30.0, 12.0, 6.0] + [2.0] * 57, first[-1].t + 100, seed=2)
    slow = until_step(again, 62)
    state = replace(experiment_state(CALM, [], slow[-1].t), runs=(fold_run(run, slow),))
    said = forecast(state)
    assert said.warming
    assert said.run.basis == "from before the resume, 75 steps"
    assert (said.run.at or 0) == pytest.approx(again[-1].t, abs=0.1 * (again[-1].t - state.now))


def test_before_a_stopped_run_is_taken_up_again_its_rest_is_what_is_left() -> None:
    run = replace(fold_run(new_run(TWO[0]), until_step(calm_records(), 60)), phase="stopped", ended=STARTED + 200)
    state = replace(experiment_state(CALM, []), plan=plan_of(CALM, TWO), runs=(run, new_run(TWO[1])), current=0)
    said, whole = forecast(state), calm_records()[-1].t - STARTED
    assert 0.45 * whole < seconds(said.run) < 0.65 * whole
    assert seconds(said.experiment) == pytest.approx(whole + seconds(said.run), rel=0.1)


# ---------------------------------------------------------------- trainers of one's own


def test_a_trainer_that_names_no_start_is_foretold_none() -> None:
    """A run of ten seconds does not become eighteen by a guessed start."""
    recipe = dataclasses.replace(CALM, epochs=10, startup_seconds=0.0, validate_every=0, evaluate_items=0, checkpoint_seconds=0.0)
    quick = calm_records(recipe, seconds=0.05)
    run = fold_run(new_run(TWO[0]), [r for r in quick if not isinstance(r, SpanEnded)])
    run = replace(run, phase="finished", ended=quick[-1].t, elapsed=run.pace.seconds + 0.1)
    state = replace(experiment_state(recipe, []), runs=(run, new_run(TWO[1])), current=0, runs_ended_here=1)
    state = replace(state, plan=plan_of(recipe, TWO), gaps=(0.1,))
    assert seconds(forecast(state).experiment) == pytest.approx(10.3, abs=0.5)


def test_a_trainer_of_ones_own_validates_as_often_as_it_has() -> None:
    recipe = dataclasses.replace(CALM, epochs=20, validate_every=4, checkpoint_every=5)
    records = calm_records(recipe)
    plan = plan_of(recipe)
    plan = replace(plan, experiment=replace(plan.experiment, command=("python", "train.py")))
    past = until_step(records, 245)
    state = replace(experiment_state(recipe, past), plan=plan, prepared=None)
    # Its evaluation cannot be known before it has been seen.
    assert (forecast(state).run.at or 0) == pytest.approx(records[-1].t - 24 * 0.9, rel=1e-3, abs=12)
    earlier = replace(state, runs=(*state.runs, finished(recipe, TWO[1])))
    assert (forecast(earlier).run.at or 0) == pytest.approx(records[-1].t, abs=12)


def test_spans_nobody_planned_are_counted_as_often_as_they_came() -> None:
    records: list[AnyRecord] = []
    for record in calm_records():
        records.append(record)
        if isinstance(record, Steps) and record.step % 40 == 0:
            records.append(SpanEnded(t=record.t, m=record.m, name="sample", seconds=50.0, step=record.step))
    said = forecast(experiment_state(CALM, until_step(records, 85)))
    assert said.parts["sample"] == pytest.approx(50, rel=0.35)


def test_whole_volumes_scored_between_epochs_are_in_the_forecast() -> None:
    plan = plan_of(CALM)
    every = replace(plan, profile=replace(plan.profile, knobs=plan.profile.knobs | {"reconstruct_every_epochs": 2}))
    past = until_step(calm_records(), 85)
    without = forecast(replace(experiment_state(CALM, past), plan=plan))
    said = forecast(replace(experiment_state(CALM, past), plan=every))
    assert said.parts["reconstruct"] > 0
    assert (said.run.seconds or 0) > (without.run.seconds or 0)


def test_checkpoints_by_the_clock_are_counted() -> None:
    recipe = dataclasses.replace(CALM, steps_per_epoch=600, epochs=4, validate_every=0, checkpoint_every=0)
    state = experiment_state(recipe, until_step(calm_records(recipe), 700))
    plan = state.plan
    checkpoints = replace(plan.experiment.checkpoints, epochs=1, minutes=5.0)
    state = replace(state, plan=replace(plan, experiment=replace(plan.experiment, checkpoints=checkpoints)))
    # 20 minutes an epoch: four by the clock (the last just before the epoch's own) and one at its end.
    assert forecast(state).parts["checkpoint"] == pytest.approx(0.5 * (3 + 4 * (500 + 1200) / 600), rel=0.1)


# ---------------------------------------------------------------- before a launch


def test_before_a_launch_an_earlier_experiment_of_the_same_kind_tells_how_long() -> None:
    done = replace(experiment_state(CALM, [], runs=TWO), runs=(finished(), finished(key=TWO[1])), current=1)
    timing = timing_of(done)
    assert timing is not None
    said = before_launch(plan_of(CALM, TWO), {0: 20}, {0: 24}, [timing])
    whole = calm_records()[-1].t - STARTED
    assert seconds(said.run) == pytest.approx(whole, rel=0.1)
    assert seconds(said.experiment) == pytest.approx(2 * whole, rel=0.1)
    assert said.run.low is not None and said.run.low < whole < (said.run.high or 0)
    assert said.experiment.basis == "from simulated, 240 steps"
    one = before_launch(replace(plan_of(CALM, TWO), stop_after_runs=1), {0: 20}, {0: 24}, [timing])
    assert one.experiment.seconds == one.run.seconds


def test_another_batch_size_or_device_is_another_kind() -> None:
    done = replace(experiment_state(CALM, []), runs=(finished(),))
    timing = timing_of(done)
    assert timing is not None
    plan = plan_of(CALM)
    knobs = plan.profile.knobs | {"batch_size": 2}
    other = replace(plan, profile=replace(plan.profile, knobs=knobs))
    assert before_launch(other, {0: 20}, {0: 24}, [timing]).run.seconds is None
    assert benchmark_key(plan, "A100") != benchmark_key(plan, "H100")
    assert benchmark_key(plan, CALM.device_name) == timing.key
    begun = experiment_state(CALM, calm_records()[:2])
    assert forecast(begun, [timing]).run.seconds is not None
    elsewhere = replace(begun, runs=(replace(begun.runs[0], begin=replace(begun.runs[0].begin, device_name="A100")),))  # type: ignore[type-var]
    assert forecast(elsewhere, [timing]).run.seconds is None


def test_an_experiment_that_has_not_ended_an_epoch_tells_nothing() -> None:
    assert timing_of(experiment_state(CALM, until_step(calm_records(), 15))) is None


def test_a_forecast_can_be_written_down() -> None:
    said = forecast(experiment_state(CALM, until_step(calm_records(), 65)))
    assert msgspec.json.decode(msgspec.json.encode(said), type=Forecast) == said


def test_records_of_a_run_that_ended_are_not_counted_again() -> None:
    records = calm_records()
    run = fold_run(new_run(TWO[0]), [*records[:-1], End(outcome="stopped", t=records[-1].t, m=records[-1].m)])
    state = replace(experiment_state(CALM, []), runs=(run,), phase="stopped")
    assert forecast(state).run.seconds == 0.0


def test_a_begin_without_a_plan_for_it_is_enough() -> None:
    """A trainer's own numbers count, not the plan's: it was started with --epochs 3, say."""
    past = until_step(calm_records(), 50)
    begin = past[0]
    assert isinstance(begin, Begin)
    state = experiment_state(CALM, [replace(begin, epochs=3), *past[1:]])
    assert forecast(state).parts["train"] == pytest.approx(10 * 2.0, rel=0.1)


NUMBERS = st.one_of(st.floats(0, 1e8), st.sampled_from([0.0, 1e-9, 1.0]))
COUNTS = st.integers(0, 10_000)
NAMES = st.sampled_from(["startup", "validate", "evaluate", "checkpoint", "reconstruct", ""])
STRANGE = st.lists(
    st.one_of(
        st.builds(
            Begin, t=NUMBERS, m=NUMBERS, epochs=COUNTS, steps_per_epoch=COUNTS, num_workers=st.integers(0, 64),
            resumed_from_step=COUNTS, batch_size=COUNTS,
        ),
        st.builds(
            Steps, t=NUMBERS, m=NUMBERS, epoch=COUNTS, step=COUNTS, steps=st.integers(0, 100), seconds=NUMBERS, low=NUMBERS,
            high=NUMBERS, samples=COUNTS, loads=COUNTS, load_seconds=NUMBERS,
            spans=st.builds(Spans, data=NUMBERS, forward=NUMBERS, backward=NUMBERS),
        ),
        st.builds(SpanEnded, t=NUMBERS, m=NUMBERS, name=NAMES, seconds=NUMBERS, items=COUNTS),
        st.builds(Progress, t=NUMBERS, m=NUMBERS, name=NAMES, done=COUNTS, total=COUNTS),
    ), max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(records=STRANGE, now=NUMBERS, own=st.booleans(), prepared=st.booleans())
def test_whatever_a_trainer_writes_nothing_breaks(records: list[AnyRecord], now: float, own: bool, prepared: bool) -> None:
    state = experiment_state(CALM, records, now, runs=TWO)
    if not own:
        state = replace(state, plan=replace(state.plan, experiment=replace(state.plan.experiment, command=("train",))))
    if not prepared:
        state = replace(state, prepared=None)
    for estimate in estimates(forecast(state)):
        if estimate.seconds is not None:
            assert 0 <= (estimate.low or 0) <= estimate.seconds <= (estimate.high or 0)
    assert bottleneck(state).headline
