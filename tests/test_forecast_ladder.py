"""The ladder: from a step to the experiment, each rung with its end and what it consists of."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.eta.forecast import Forecast, before_launch, forecast
from engine.eta.ladder import Rung
from engine.eta.lessons import timing_of
from engine.eta.timing import KeyTiming, benchmark_key, unlike
from engine.journals.events import Gpu, ProfileChanged, Sample, Steps
from engine.live.fold_run import fold_run
from engine.live.state import RunState, new_run
from tests.test_forecast import CALM, TWO, calm_records, finished
from tests.traces import KINDS, experiment_state, plan_of, trace, until_step

SIX = tuple(RunKey(fold=fold, restart=restart, seed=42 + restart) for fold in range(2) for restart in range(3))


def rung(said: Forecast, name: str) -> Rung:
    return next(one for one in said.ladder if one.name == name)


def under_way(step: int = 65, runs: tuple[RunKey, ...] = SIX, earlier: tuple[RunState, ...] = ()) -> Forecast:
    records = calm_records(key=runs[len(earlier)])
    return forecast(experiment_state(CALM, until_step(records, step), runs=runs, earlier=earlier))


def test_it_goes_from_a_step_to_the_experiment() -> None:
    said = under_way()
    assert [one.name for one in said.ladder] == ["step", "epoch", "run", "stop_here", "fold", "experiment"]
    assert [one.runs for one in said.ladder] == [0, 0, 1, 1, 3, 6]
    assert rung(said, "step").estimate.seconds == pytest.approx(2.0, rel=0.01)
    assert rung(said, "fold").label == "fold 0"
    assert rung(said, "run").estimate == said.run and rung(said, "experiment").estimate == said.experiment
    ends = [one.estimate.at for one in said.ladder]
    assert all(at is not None for at in ends) and ends == sorted(ends)  # type: ignore[type-var]


def test_a_fold_is_three_runs_of_which_the_present_one_is_partly_done() -> None:
    said = under_way()
    run, fold, every = (rung(said, name).estimate.seconds or 0 for name in ("run", "fold", "experiment"))
    whole = (every - fold) / 3
    assert fold - run == pytest.approx(2 * whole, rel=0.02)


def test_the_last_fold_is_the_experiment_and_has_no_rung_of_its_own() -> None:
    assert all(one.name != "fold" for one in under_way(runs=SIX[:3]).ladder)


def test_what_each_rung_consists_of_adds_up_and_says_how_it_is_known() -> None:
    said = under_way()
    for one in said.ladder:
        assert sum(part.seconds for part in one.parts) == pytest.approx(one.estimate.seconds)
        assert all(part.times * part.each == pytest.approx(part.seconds) for part in one.parts)
    kinds = {part.name: (part.kind, part.basis) for part in rung(said, "experiment").parts}
    assert kinds["train"] == ("measured", "measured here, 65 steps")
    assert kinds["validate"] == ("measured", "measured here")
    assert kinds["evaluate"] == ("modelled", "modelled from validate")
    assert kinds["between runs"] == ("modelled", "assumed")
    assert rung(said, "experiment").kind == "measured"


def test_before_a_run_its_parts_are_of_earlier_ones() -> None:
    said = forecast(experiment_state(CALM, calm_records(key=TWO[1])[:2], runs=TWO, earlier=[finished()]))
    train = next(part for part in rung(said, "run").parts if part.name == "train")
    assert (train.kind, train.basis) == ("earlier", "from 1 earlier run")


def test_what_somebody_says_is_quoted_and_its_range_is_wide() -> None:
    plan = plan_of(CALM, TWO)
    key = benchmark_key(plan, "M2 Max")
    told = KeyTiming(key=key, device_name="M2 Max", experiment="", steps=0, step_seconds=2.0, quoted="a colleague")
    said = before_launch(plan, {0: 20}, {0: 24}, [told])
    assert rung(said, "run").kind == "quoted"
    assert said.experiment.basis == "quoted: a colleague"
    measured = before_launch(plan, {0: 20}, {0: 24}, [replace(told, quoted="")])
    assert said.run.high is not None and measured.run.high is not None and said.run.high > measured.run.high


def test_another_kind_does_not_leak_in_and_it_is_said_which_was_measured() -> None:
    done = replace(experiment_state(CALM, []), runs=(finished(),))
    timing = timing_of(done)
    assert timing is not None
    plan = plan_of(CALM)
    two = replace(plan, profile=replace(plan.profile, knobs=plan.profile.knobs | {"batch_size": 2}))
    said = before_launch(two, {0: 20}, {0: 24}, [timing])
    assert said.experiment.seconds is None
    assert said.text == (
        "not known yet: nothing of this kind has run here: batch 1 was measured, batch 2 was not (nearest: simulated)"
    )
    begun = replace(experiment_state(CALM, calm_records()[:2]), plan=two)
    assert forecast(begun, [timing]).run.seconds is None
    assert "batch 1 was measured, batch 2 was not" in forecast(begun, [timing]).text


def test_before_it_has_begun_only_a_device_it_may_get_counts() -> None:
    plan = plan_of(CALM)
    slow, quick = (
        KeyTiming(key=benchmark_key(plan, name), device_name=name, experiment=name, steps=99, step_seconds=seconds)
        for name, seconds in (("EPYC", 20.0), ("NVIDIA A100", 0.5))
    )
    state = replace(experiment_state(CALM, []), current=None, phase="queued")
    seen = replace(state, samples=(Sample(cores=8, cpu=1.0, gpus=(Gpu(index=0, name="NVIDIA A100"),)),))
    on_cpu = replace(seen, plan=replace(plan, device="cpu"), processor="EPYC")
    assert forecast(seen, [slow, quick]).experiment.basis == "from NVIDIA A100, 99 steps"
    assert forecast(on_cpu, [quick, slow]).experiment.basis == "from EPYC, 99 steps"
    assert forecast(replace(state, processor="EPYC"), [quick, slow]).experiment.basis == "from EPYC, 99 steps"
    elsewhere = forecast(replace(state, processor="Xeon", cores=8), [quick, slow])
    assert elsewhere.experiment.seconds is None
    assert "device NVIDIA A100 was measured, device Xeon, 8 cores was not (nearest: NVIDIA A100)" in elsewhere.text
    assert forecast(state, [slow, quick]).experiment.seconds is None, "nobody knows what it will train on"


def test_experiments_of_one_kind_that_took_unlike_long_make_the_next_one_unsure() -> None:
    plan = plan_of(CALM, TWO)
    times = (2.0, 2.1, 1.2, 3.4)
    told = [
        KeyTiming(key=benchmark_key(plan, "CPU"), device_name="CPU", experiment=f"e{i}", steps=100, step_seconds=seconds)
        for i, seconds in enumerate(times)
    ]
    one, all_of_them = (before_launch(plan, {0: 20}, {0: 24}, some).run for some in (told[:1], told))
    assert all_of_them.basis == "from e0 and 3 more, 400 steps"
    assert one.low is not None and one.high is not None and all_of_them.low is not None and all_of_them.high is not None
    assert all_of_them.high - all_of_them.low > 2 * (one.high - one.low)
    assert rung(before_launch(plan, {0: 20}, {0: 24}, told), "step").parts[0].each == pytest.approx(sum(times) / 4)


def test_of_several_others_the_nearest_is_named() -> None:
    plan = plan_of(CALM)
    key = benchmark_key(plan, "A100")
    near = KeyTiming(key=key.replace("workers 0", "workers 4"), device_name="A100", experiment="near", steps=9, step_seconds=1.0)
    far = replace(near, key=near.key.replace("batch 1×1", "batch 8×1"), experiment="far")
    assert unlike(plan, "A100", [far, near]).endswith("workers 4 was measured, workers 0 was not (nearest: near)")
    assert "device A100 was measured, device H100 was not" in unlike(plan, "H100", [near])
    assert unlike(plan, "A100", [replace(near, key=key)]) == ""
    assert unlike(plan, "A100", []) == ""


def test_a_command_with_bars_in_it_is_a_key_like_any_other() -> None:
    plan = plan_of(CALM)
    own = replace(plan, experiment=replace(plan.experiment, command=("sh", "-c", "a|b")))
    other = KeyTiming(key=benchmark_key(plan, "CPU"), device_name="CPU", experiment="x", steps=9, step_seconds=1.0)
    assert "sh -c a|b was not" in unlike(own, "CPU", [other])


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 30), cut=st.floats(0.01, 1), runs=st.integers(1, 6))
def test_every_rung_holds_the_one_before_it(kind: str, seed: int, cut: float, runs: int) -> None:
    records, _, recipe = trace(kind, seed, epochs=4, steps_per_epoch=30)
    past = records[: max(1, round(cut * len(records)))]
    said = forecast(experiment_state(recipe, past, runs=SIX[:runs]))
    above = [one for one in said.ladder if one.name != "step"]
    for inner, outer in pairwise(above):
        for name in ("seconds", "low", "high", "at"):
            assert getattr(inner.estimate, name) <= getattr(outer.estimate, name) + 1e-6
        assert inner.runs <= outer.runs
    for one in said.ladder:
        assert sum(part.seconds for part in one.parts) == pytest.approx(one.estimate.seconds, abs=1e-6)


# ---------------------------------------------------------------- steps that get slower and slower


def creeping(step: int) -> Forecast:
    recipe = dataclasses.replace(CALM, epochs=20, steps_per_epoch=40, validate_every=0)
    from tests.traces import run_records

    seconds = [1.0 * (1 + i / 800) for i in range(recipe.steps)]
    return forecast(experiment_state(recipe, until_step(run_records(recipe, seconds), step), runs=TWO))


def test_a_creep_is_in_the_forecast_and_begins_anew_with_the_next_run() -> None:
    said = creeping(500)
    assert said.creep is not None and said.creep.grown == pytest.approx(500 / 800, abs=0.12)
    left = sum(1 + i / 800 for i in range(500, 800))
    train = next(part for part in rung(said, "run").parts if part.name == "train")
    assert train.seconds == pytest.approx(left, rel=0.06)
    assert said.run.low is not None and said.run.high is not None
    assert said.run.low < left < said.run.high
    both = next(part for part in rung(said, "experiment").parts if part.name == "train")
    assert both.seconds - train.seconds == pytest.approx(800 * 1.5, rel=0.15)


def test_after_a_profile_change_the_pace_of_before_is_no_change_of_it() -> None:
    run = fold_run(new_run(TWO[0]), until_step(calm_records(), 60))
    last = run.recent[-1]
    change = ProfileChanged(
        t=last.t, m=last.m, id="1", name="fast", knobs={"num_workers": 4}, changed=("num_workers",), former={"num_workers": 0},
        step=60, epoch=3, seconds=0.1,
    )
    quick = [
        Steps(epoch=4, step=60 + i, steps=1, seconds=0.5, low=0.5, high=0.5, t=last.t + i / 2, m=last.m + i / 2)
        for i in range(1, 41)
    ]
    run = fold_run(run, [change, *quick])
    said = forecast(replace(experiment_state(CALM, [], quick[-1].t), runs=(run,)))
    assert said.changes == ()
    assert rung(said, "step").estimate.seconds == pytest.approx(0.5, rel=0.02)
