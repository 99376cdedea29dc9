"""Only the same is compared: another machine, another profile and other cores tell nothing of a training, and it is said.

What a test of profiles measured is known of each of its profiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.config.plan import Plan
from engine.config.profile import Value
from engine.config.run_keys import RunKey
from engine.eta import timings
from engine.eta.devices import called, device_called
from engine.eta.forecast import Forecast, before_launch, forecast
from engine.eta.lessons import timing_of, timings_of
from engine.eta.tested import timings_of_test
from engine.eta.timing import KeyTiming, benchmark_key
from engine.journals.events import AnyRecord, Begin, PhaseEnded, ProfileChanged, Steps
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, RunState, new_run
from engine.live.watch import Watch
from engine.machine.cores import machine
from engine.machine.device_preview import quick_device
from engine.runs.expected import expect
from engine.runs.launch import Request
from engine.whatif.estimate import of_request
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.recordings import LIKE_QUICKSTART, on_this_machine, write_recording
from tests.test_forecast import CALM, calm_records, finished
from tests.tested import seconds_of, write_test
from tests.traces import STARTED, experiment_state, plan_of, run_records, until_step

A100 = "NVIDIA A100-SXM4-80GB"
SIX = tuple(RunKey(fold=0, restart=restart, seed=42 + restart) for restart in range(6))
ONE = dataclasses.replace(CALM, num_workers=1)
FOUR = dataclasses.replace(CALM, num_workers=4)


def told(plan: Plan, device: str, experiment: str, seconds: float = 2.0, kind: str = "cpu") -> KeyTiming:
    """What an experiment on `device` left in timings.json."""
    return KeyTiming(
        key=benchmark_key(plan, device), device_name=device, experiment=experiment, steps=7400, step_seconds=seconds, device=kind
    )


def launched(plan: Plan, history: Sequence[KeyTiming], device: str) -> Forecast:
    return before_launch(plan, {0: 20}, {0: 24}, history, device)


# ---------------------------------------------------------------- another device


def test_a_launch_on_a_cpu_is_not_foretold_from_a_gpu_s_experiments() -> None:
    plan = plan_of(CALM)
    arc, here = told(plan, A100, "arc", 0.5, "cuda:0"), told(plan, "EPYC 7B12, 2 cores", "mine")
    said = launched(plan, [arc], "EPYC 7B12, 2 cores")
    assert said.run.seconds is None and said.experiment.seconds is None
    assert said.text == (
        "not known yet: nothing of this kind has run here: "
        f"device {A100} was measured, device EPYC 7B12, 2 cores was not (nearest: arc)"
    )
    assert launched(plan, [arc, here], "EPYC 7B12, 2 cores").run.basis == "from mine, 7,400 steps"
    assert launched(plan, [here, arc], A100).run.basis == "from arc, 7,400 steps"


def small(tmp_path: Path) -> Request:
    """What was recorded as `before`, to be launched again on this machine's CPU."""
    (tmp_path / "small.toml").write_text(LIKE_QUICKSTART)
    write_recording(tmp_path / "logs" / "before", "quickstart", 4.0)
    return Request(experiment=str(tmp_path / "small.toml"), logs=tmp_path / "logs", settings={"num_workers": 2}, device="cpu")


def test_the_launch_dialog_gives_no_hours_of_another_machine_and_estimate_names_it(tmp_path: Path) -> None:
    request = small(tmp_path)
    said = expect(request)
    assert said is not None and said.experiment.seconds is None
    here = called(quick_device("cpu")["name"], "cpu", machine().cores)
    assert f"device 2-core CPU was measured, device {here} was not (nearest: before)" in said.text
    assert of_request(request, ()).known.machine == "2-core CPU, 2 cores"


def test_what_ran_on_this_machine_is_what_a_launch_is_foretold_from(tmp_path: Path) -> None:
    request = small(tmp_path)
    on_this_machine(tmp_path / "logs" / "before")
    said = expect(request)
    assert said is not None and said.experiment.seconds is not None
    assert said.run.basis.startswith("from before, ")
    assert of_request(request, ()).known.step.basis == said.run.basis


def test_before_the_trainer_has_said_its_device_the_supervisor_s_processor_counts(lab: Laboratory) -> None:
    paths = lab.launch(fake_plan(folds=1, restarts=1))
    wait_until(lambda: Watch(paths.folder).poll().processor, what="the supervisor's first line")
    state = Watch(paths.folder).poll()
    assert (state.processor, state.cores) == (quick_device("cpu")["name"], machine().cores)
    queued = replace(experiment_state(CALM, []), current=None, phase="queued", processor="EPYC", cores=2)
    plan = queued.plan
    assert forecast(queued, [told(plan, "EPYC, 2 cores", "mine")]).experiment.basis == "from mine, 7,400 steps"
    for elsewhere in (told(plan, A100, "arc", 0.5, "cuda:0"), told(plan, "EPYC, 64 cores", "node")):
        assert forecast(queued, [elsewhere]).experiment.seconds is None


# ---------------------------------------------------------------- cores


def test_two_cores_and_sixty_four_of_one_processor_are_two_devices() -> None:
    records = calm_records()[:2]
    begin = replace(records[0], cores=2, device_name="EPYC")  # type: ignore[type-var]
    state = experiment_state(CALM, [begin, *records[1:]])
    plan = state.plan
    assert isinstance(begin, Begin) and device_called(begin) == "EPYC, 2 cores"
    few, many, old = (told(plan, name, experiment) for name, experiment in (
        ("EPYC, 2 cores", "few"), ("EPYC, 64 cores", "many"), ("EPYC", "old"),
    ))
    assert forecast(state, [many]).run.seconds is None
    assert "device EPYC, 64 cores was measured, device EPYC, 2 cores was not" in forecast(state, [many]).text
    assert forecast(state, [many, few]).run.basis == "from few, 7,400 steps"
    assert forecast(state, [many, old]).run.basis == "from old (how many cores it had is not known), 7,400 steps"
    assert forecast(state, [old, few]).run.basis == "from few, 7,400 steps", "what is known goes before what is not"
    assert forecast(state, [told(plan, "Xeon", "other")]).run.seconds is None
    two = replace(plan, profile=replace(plan.profile, knobs=plan.profile.knobs | {"batch_size": 2}))
    assert "batch 1 was measured, batch 2 was not (nearest: old" in launched(two, [old], "EPYC, 2 cores").text


def test_an_experiment_that_knows_its_cores_is_remembered_with_them() -> None:
    run = finished()
    assert run.begin is not None
    done = replace(experiment_state(CALM, []), runs=(replace(run, begin=replace(run.begin, cores=2)),))
    timing = timing_of(done)
    assert timing is not None and timing.device_name == f"{CALM.device_name}, 2 cores"
    assert timing.key == benchmark_key(done.plan, timing.device_name)
    assert called(A100, "cuda:0", 12) == A100, "a GPU is a GPU, whatever loads for it"


def test_another_memory_layout_is_another_kind() -> None:
    plan = plan_of(CALM)
    last = replace(plan, profile=replace(plan.profile, knobs=plan.profile.knobs | {"channels_last": True}))
    said = launched(last, [told(plan, "CPU", "before")], "CPU")
    assert said.run.seconds is None
    assert "eager was measured, eager channels-last was not" in said.text


# ---------------------------------------------------------------- another profile


def changed(key: RunKey, step: int, started: float, before: float = 2.0, since: float = 0.5) -> RunState:
    """A run with one worker that took up four after `step`, with its seconds of a step; finished."""
    records = until_step(calm_records(ONE, key, started, before), step)
    last = records[-1]
    knobs = plan_of(ONE).profile.knobs
    taken: list[AnyRecord] = [ProfileChanged(
        t=last.t, m=last.m, id="1", name="fast", knobs=knobs | {"num_workers": 4}, former={"num_workers": 1},
        changed=("num_workers",), step=step, epoch=1 + step // 20, seconds=0.1,
    )]
    taken += [
        Steps(
            epoch=1 + (number - 1) // 20, step=number, steps=1, seconds=since, low=since, high=since,
            t=last.t + since * (number - step), m=last.m + since * (number - step),
        )
        for number in range(step + 1, ONE.steps + 1)
    ]
    run = fold_run(new_run(key), [*records, *taken])
    return replace(run, phase="finished", ended=taken[-1].t)


def after_the_change(records: Sequence[AnyRecord] = ()) -> ExperimentState:
    """Six runs: three with one worker, the fourth took up four on its way, the fifth has begun with `records`."""
    done = [
        replace(fold_run(new_run(key), calm_records(ONE, key, STARTED + 1000 * place)), phase="finished", ended=STARTED + 1000)
        for place, key in enumerate(SIX[:3])
    ]
    state = experiment_state(FOUR, records, runs=SIX, earlier=[*done, changed(SIX[3], 60, STARTED + 3000)])
    return replace(state, runs_ended_here=4)


def test_after_another_profile_only_steps_taken_with_it_are_remembered_as_its_own() -> None:
    state = replace(after_the_change(), current=3)
    timing = timing_of(state)
    assert timing is not None
    assert timing.key.endswith("workers 4") and timing.key == benchmark_key(plan_of(FOUR), CALM.device_name)
    assert timing.step_seconds == pytest.approx(0.5, rel=0.01)
    assert 40 < timing.steps <= 60
    slower = replace(state, runs=(*state.runs[:3], changed(SIX[3], 60, STARTED + 3000, 0.5, 2.0), *state.runs[4:]))
    timing = timing_of(slower)
    assert timing is not None and timing.step_seconds == pytest.approx(2.0, rel=0.01), "no mean of what was and what is"


def test_the_next_run_begins_with_the_pace_of_the_profile_it_has() -> None:
    said = forecast(after_the_change(calm_records(FOUR, SIX[4], STARTED + 4000)[:2]))
    assert said.run.basis == "from 1 earlier run"
    assert said.parts["train"] == pytest.approx(2 * FOUR.steps * 0.5, rel=0.02)
    between = forecast(replace(after_the_change(), current=3))
    assert between.experiment.basis == "from 1 earlier run"
    assert between.parts["train"] == pytest.approx(2 * FOUR.steps * 0.5, rel=0.02)


def test_what_was_measured_before_a_change_stays_known_under_the_profile_it_was_measured_with() -> None:
    """Stopped, taken up with another number of workers, and stopped again before an epoch was done."""
    knobs = plan_of(ONE).profile.knobs
    first, *rest = calm_records(ONE, SIX[0])
    done = replace(fold_run(new_run(SIX[0]), [replace(first, knobs=knobs), *rest]), phase="finished")  # type: ignore[type-var]
    begin = replace(calm_records(FOUR, SIX[1], STARTED + 1000)[0], knobs=knobs | {"num_workers": 4})  # type: ignore[type-var]
    state = experiment_state(FOUR, [begin], runs=SIX, earlier=[done])
    timing = timing_of(state)
    assert timing is not None and timing.key.endswith("workers 1")
    unknown = experiment_state(FOUR, [replace(begin, knobs={})], runs=SIX, earlier=[finished(ONE, SIX[0])])
    assert timing_of(unknown) is None, "the plan says four, and nothing says with what its steps were taken"


def test_runs_of_the_former_profile_and_the_steps_before_the_change_teach_the_next_launch_with_it() -> None:
    found = timings_of(replace(after_the_change(), current=3))
    assert [timing.key.rpartition("|")[2] for timing in found] == ["workers 4", "workers 1"]
    four, one = found
    assert four == timing_of(replace(after_the_change(), current=3))
    assert one.step_seconds == pytest.approx(2.0, rel=0.01) and one.steps > 3 * 90, "three runs, and half of the fourth"
    said = before_launch(plan_of(ONE, SIX), {0: 20}, {0: 75}, found)
    assert said.run.basis == f"from {one.experiment}, {one.steps:,} steps"
    assert said.parts["train"] == pytest.approx(6 * ONE.steps * 2.0, rel=0.02)


@pytest.mark.parametrize(("step", "taught"), [(10, ["workers 4"]), (60, ["workers 4", "workers 1"]), (110, ["workers 1"])])
def test_a_profile_that_ran_for_less_than_an_epoch_teaches_nothing(step: int, taught: list[str]) -> None:
    state = experiment_state(FOUR, [], runs=SIX, earlier=[changed(SIX[0], step, STARTED)])
    assert [timing.key.rpartition("|")[2] for timing in timings_of(state)] == taught


def test_a_run_that_was_stopped_and_goes_on_with_another_profile_teaches_both() -> None:
    knobs = plan_of(ONE).profile.knobs
    first, *rest = until_step(calm_records(ONE), 60)
    recipe = dataclasses.replace(FOUR, attempt=2, from_step=60)
    begin, *others = run_records(recipe, [0.5] * ONE.steps, rest[-1].t + 100, seed=2)
    again = replace(begin, knobs=knobs | {"num_workers": 4}, num_workers=4)  # type: ignore[type-var]
    run = fold_run(new_run(SIX[0]), [replace(first, knobs=knobs), *rest, again, *others])  # type: ignore[type-var]
    state = experiment_state(FOUR, [], runs=SIX, earlier=[replace(run, phase="finished")])
    told = {timing.key.rpartition("|")[2]: timing for timing in timings_of(state)}
    assert set(told) == {"workers 1", "workers 4"}
    assert told["workers 1"].step_seconds == pytest.approx(2.0, rel=0.05) and told["workers 1"].steps <= 60
    assert told["workers 4"].step_seconds == pytest.approx(0.5, rel=0.05) and told["workers 4"].steps >= 30
    assert told["workers 1"].closing is None, "what came after its steps was with the other profile"


def resumed(**begin: object) -> Forecast:
    """A run of 2 s a step, taken up again from its 60th step; its new process has taken none yet."""
    knobs = plan_of(ONE).profile.knobs
    first, *rest = until_step(calm_records(ONE), 75)
    recipe = dataclasses.replace(ONE, attempt=2, from_step=60)
    again = run_records(recipe, [2.0] * ONE.steps, rest[-1].t + 100, seed=2)[:2]
    own = replace(again[0], **{"knobs": knobs, **begin})  # type: ignore[type-var]
    run = fold_run(new_run(SIX[0]), [replace(first, knobs=knobs), *rest, own, again[1]])  # type: ignore[type-var]
    return forecast(replace(experiment_state(ONE, [], again[1].t), runs=(run,)))


def with_knobs(**knobs: Value) -> dict[str, Value]:
    return plan_of(ONE).profile.knobs | knobs


def test_a_resume_goes_by_the_old_pace_only_with_the_old_profile_on_the_old_device() -> None:
    assert resumed().run.basis == "from before the resume, 75 steps"
    assert resumed(knobs=with_knobs(val_every_epochs=1)).run.basis == "from before the resume, 75 steps"
    workers = resumed(knobs=with_knobs(num_workers=4), num_workers=4)
    assert workers.run.basis == "warming: 0 steps with this profile so far" and workers.warming
    assert resumed(knobs=with_knobs(compile=True)).run.basis == "warming: 0 steps with this profile so far"
    assert resumed(device_name=A100).run.basis == "warming: 0 steps on this device so far"
    old = resumed(knobs={}, num_workers=4)
    assert old.run.basis == "warming: 0 steps with this profile so far", "journals that name their workers alone"


# ---------------------------------------------------------------- tests of profiles


def test_a_test_of_profiles_teaches_each_profile_that_it_measured(tmp_path: Path) -> None:
    state = write_test(tmp_path / "tried")
    found = {timing.key.rpartition("|")[2]: timing for timing in timings_of_test(state)}
    assert set(found) == {"workers 1", "workers 2", "workers 4"}, "the one that ran out of memory has measured nothing"
    for workers in (1, 2, 4):
        knobs = state.plan.profile.knobs | {"num_workers": workers}
        assert found[f"workers {workers}"].step_seconds == pytest.approx(seconds_of(knobs), rel=0.05)
        plan = replace(state.plan, test=None, profile=replace(state.plan.profile, knobs=knobs))
        said = before_launch(plan, {0: 148}, {0: 75}, timings.history(tmp_path))
        assert said.run.basis == f"from tried, {found[f'workers {workers}'].steps} steps"
    assert timing_of(state) == found["workers 1"]


def test_of_two_profiles_of_one_key_the_one_measured_longest_counts_and_loading_alone_is_no_training(tmp_path: Path) -> None:
    state = write_test(tmp_path / "tried")
    visits = [
        replace(visit, knobs=visit.knobs | {"num_workers": 1}) if visit.phase == 2 else visit for visit in state.visits
    ]
    (first,) = [visit for visit in visits if isinstance(visit, PhaseEnded) and visit.phase == 0 and visit.round == 0]
    third = [replace(first, phase=2, round=number) for number in (2, 3)]
    loading = replace(first, phase=4, mode="load")
    again = replace(state, visits=(*visits, *third, loading))
    found = timings_of_test(again)
    assert [timing.key.rpartition("|")[2] for timing in found] == ["workers 1", "workers 2"]
    assert found[0].steps > timings_of_test(state)[0].steps

