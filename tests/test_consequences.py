"""What edited knobs would bring: one basis for every figure, so that none of them contradicts another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.config.knob import Value
from engine.config.profile import defaults
from engine.diagnosis.candidates import Candidate
from engine.diagnosis.consequences import consequences, sweep
from engine.eta.forecast import forecast
from engine.journals.events import Sample, Spans
from engine.live.state import ExperimentState
from engine.machine.cores import Machine
from tests.recordings import state_of, write_recording
from tests.tested import write_test
from tests.traces import Recipe, experiment_state, run_records, until_step
from tui.comparison import expected_of
from tui.desk import AS_IT_RUNS, Desk, Reference, with_consequences
from tui.draft import draft_of, with_knob
from tui.monitor import view_of
from tui.widgets.outcome import Figure, figures

TWELVE = Machine(cores=12, scheduled=12, gpus=1)
GIB = 1 << 30
MACHINE = Sample(cores=12, cpu=1.0, ram_total=200 * GIB, ram_available=100 * GIB)
SPEED: dict[str, st.SearchStrategy[Value]] = {
    "num_workers": st.integers(0, 12), "prefetch_factor": st.integers(1, 6), "in_order": st.booleans(),
    "batch_size": st.integers(1, 4), "accumulate_steps": st.integers(1, 3),
}
BESIDE: dict[str, st.SearchStrategy[Value]] = {
    "val_every_epochs": st.integers(0, 5), "val_num_workers": st.integers(0, 4), "compile": st.booleans(),
    "reconstruct_every_epochs": st.integers(0, 5), "persistent_workers": st.booleans(),
}
EDITS = st.fixed_dictionaries({}, optional=SPEED | BESIDE)


def training(
    data: float, compute: float, load: float, held: dict[str, Value], step: int = 60, uneven: float = 0.0
) -> ExperimentState:
    """One that has begun with the knobs `held`, on twelve cores."""
    recipe = Recipe(
        epochs=4, steps_per_epoch=60, spans=Spans(data=data, forward=compute / 2, backward=compute / 2),
        num_workers=int(held.get("num_workers", 1)), load_seconds=load, device="cuda:0", validate_every=1,
    )
    seconds = [(data + compute) * (1 + uneven * (i % 3)) for i in range(recipe.steps)]
    state = experiment_state(recipe, until_step(run_records(recipe, seconds), step), samples=(MACHINE,))
    return with_held(state, {"num_workers": 1} | held)


def with_held(state: ExperimentState, held: dict[str, Value]) -> ExperimentState:
    profile = replace(state.plan.profile, knobs=defaults() | state.plan.profile.knobs | held)
    return replace(state, plan=replace(state.plan, profile=profile))


def desk_of(state: ExperimentState, edits: dict[str, Value]) -> Desk:
    draft = draft_of(state.plan.profile.name, state.plan.profile.knobs)
    for name, value in edits.items():
        draft = with_knob(draft, name, value, TWELVE)
    own = Reference(name=AS_IT_RUNS, knobs=state.plan.profile.knobs)
    view = view_of(state)
    return with_consequences(
        Desk(draft=draft, plan=state.plan, cursor="num_workers", reference=own, taker="training", view=view)
    )


def rows(desk: Desk) -> dict[str, Figure]:
    return {row.label: row for row in figures(desk)}


# ---------------------------------------------------------------- one basis


@settings(max_examples=60, deadline=None)
@given(
    data=st.floats(0.0, 5), compute=st.floats(0.05, 5), load=st.floats(0.01, 8), uneven=st.floats(0, 1),
    held=st.fixed_dictionaries({}, optional=SPEED), edits=EDITS,
)
def test_ratio_figures_colour_and_end_agree(
    data: float, compute: float, load: float, uneven: float, held: dict[str, Value], edits: dict[str, Value]
) -> None:
    state = training(data, compute, load, held, uneven=uneven)
    now = forecast(state)
    before, after = consequences(state, {}, now), consequences(state, edits, now)
    rate, there, by = before.samples_per_second.value, after.samples_per_second.value, after.ratio
    assert rate and there and by.value and by.low and by.high
    assert there / rate == pytest.approx(by.value) and by.low <= by.value <= by.high
    step, longer = before.step_seconds.value, after.step_seconds.value
    assert step and longer
    assert longer / step == pytest.approx(after.effective_batch / before.effective_batch / by.value)
    shown = rows(desk_of(state, edits))["samples/s"]
    ends = after.finish
    assert ends.value is not None and ends.low is not None and ends.high is not None
    assert ends.low <= ends.value <= ends.high
    assert (shown.role == "good") == (by.low > 1 and bool(shown.after)), shown
    assert (shown.role == "bad") == (by.high < 1 and bool(shown.after)), shown
    if set(after.changes) and not {one.name for one in after.changes} & (set(BESIDE) | {"batch_size", "accumulate_steps"}):
        less = (after.finish.value or 0) - (before.finish.value or 0)
        assert less == pytest.approx((1 / by.value - 1) * now.parts["train"], abs=1e-3 * now.parts["train"])


@settings(max_examples=25, deadline=None)
@given(data=st.floats(0.0, 5), compute=st.floats(0.05, 5), load=st.floats(0.01, 8), held=st.fixed_dictionaries({}, optional=SPEED))
def test_no_edit_changes_nothing(data: float, compute: float, load: float, held: dict[str, Value]) -> None:
    state = training(data, compute, load, held)
    now = forecast(state)
    same = consequences(state, dict(state.plan.profile.knobs), now)
    assert same == consequences(state, {}, now) and same.ratio.value == 1.0
    assert same.finish.value == now.experiment.seconds
    assert not any(row.after for row in rows(desk_of(state, {})).values())


@settings(max_examples=25, deadline=None)
@given(data=st.floats(0.0, 5), compute=st.floats(0.05, 5), load=st.floats(0.01, 8), workers=st.integers(0, 12))
def test_values_of_a_knob_side_by_side_are_those_of_the_panel(data: float, compute: float, load: float, workers: int) -> None:
    state = training(data, compute, load, {"num_workers": 2})
    found = sweep(state, {}, "num_workers", (2, workers))
    for count in (2, workers):
        panel = consequences(state, {"num_workers": count}).samples_per_second.value
        assert found[count] == pytest.approx(panel)


def test_what_is_measured_has_its_range_before_anything_is_edited() -> None:
    shown = rows(desk_of(training(3.0, 1.0, 4.0, {"num_workers": 1}, uneven=0.2), {}))
    assert "–" in shown["s/step"].more and "–" in shown["samples/s"].more


# ---------------------------------------------------------------- in a test of profiles


def test_in_a_test_the_profile_that_is_edited_has_its_own_phases_pace(tmp_path: Path) -> None:
    """The last phase was four workers; what is edited is the launch's one worker at 18 s a step."""
    state = write_test(tmp_path / "arc-phases", over=False)
    before = consequences(state, {})
    assert before.step_seconds.value == pytest.approx(18.0, rel=0.02) and before.measured
    assert before.samples_per_second.value == pytest.approx(1 / 18, rel=0.02)
    shown = rows(desk_of(state, {}))
    assert shown["s/step"].before.startswith(("17", "18")) and shown["batch"].before == "1"


def test_what_no_phase_had_is_modelled_and_says_so(tmp_path: Path) -> None:
    state = with_held(write_test(tmp_path / "arc-phases", over=False), {"num_workers": 3})
    before = consequences(state, {})
    assert not before.measured and before.step_seconds.basis.startswith("modelled")
    assert before.step_seconds.value == pytest.approx(6.0, rel=0.1)


# ---------------------------------------------------------------- the end


@pytest.fixture
def quick(tmp_path: Path) -> ExperimentState:
    """Validates every other epoch, in its first run of four."""
    write_recording(tmp_path / "quickstart", "quickstart", at=0.3)
    return state_of(tmp_path / "quickstart")


def more(state: ExperimentState, **knobs: Value) -> float:
    """Seconds that it would take longer."""
    now = forecast(state)
    found = consequences(state, knobs, now).finish.value
    assert found is not None and now.experiment.seconds is not None
    return found - now.experiment.seconds


def test_validating_more_often_ends_later_and_never_ends_sooner(quick: ExperimentState) -> None:
    often, never = more(quick, val_every_epochs=1), more(quick, val_every_epochs=0)
    assert never < 0 < often
    assert more(quick, val_every_epochs=2) == 0.0


def test_validation_that_is_not_planned_yet_costs_what_it_would(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc-meshnet26", "arc")
    state = state_of(tmp_path / "arc-meshnet26")
    assert state.plan.profile["val_every_epochs"] == 0
    assert more(state, val_every_epochs=1) > 3600


def test_reconstructing_steps_and_patches_move_the_end(quick: ExperimentState) -> None:
    assert more(quick, reconstruct_every_epochs=1) > more(quick, reconstruct_every_epochs=4) > 0
    twice = int(2 * quick.runs[0].steps_per_epoch)
    assert more(quick, steps_per_epoch=twice) > 0 > more(quick, steps_per_epoch=twice // 4)
    assert more(quick, val_patches_per_volume=8) > 0


def test_twice_the_batch_makes_half_the_steps(quick: ExperimentState) -> None:
    """As many samples go through it: what the end gains is what samples per second gain, not the steps."""
    now = forecast(quick)
    found = consequences(quick, {"batch_size": 2}, now)
    assert found.effective_batch == 2 and found.ratio.value
    assert found.finish.value == pytest.approx(
        (now.experiment.seconds or 0) - (1 - 1 / found.ratio.value) * now.parts["train"], rel=0.06
    )


def test_the_effective_batch_keeps_the_passes_that_are_not_edited(quick: ExperimentState) -> None:
    state = with_held(quick, {"accumulate_steps": 4})
    assert consequences(state, {"batch_size": 2}).effective_batch == 8


@pytest.mark.parametrize("knob", ["compile", "precision", "persistent_workers", "cache", "val_batch_size", "channels_last"])
def test_what_is_in_no_model_says_so_and_shows_no_figure(quick: ExperimentState, knob: str) -> None:
    value: Value = {"precision": "bf16", "cache": "none", "val_batch_size": 4}.get(knob, not quick.plan.profile[knob])
    found = consequences(quick, {knob: value}, forecast(quick))
    assert found.unmodelled == (knob,)
    assert any(f"{knob} is not modelled" in said and "test it in a phase" in said for said in found.sentences)
    shown = rows(desk_of(quick, {knob: value}))
    assert not any(shown[label].after for label in ("s/step", "samples/s", "time left") if label in shown)
    assert "speed" not in shown


def test_a_training_with_passes_and_uneven_steps_is_measured_as_the_dashboard_says() -> None:
    state = training(2.0, 1.0, 3.0, {"num_workers": 1}, uneven=0.1)
    assert consequences(state, {}).step_seconds.value == pytest.approx(view_of(state).bottleneck.step_seconds)


def test_the_end_has_the_range_of_the_forecast_and_the_colour_of_the_difference(quick: ExperimentState) -> None:
    shown = rows(desk_of(quick, {"val_every_epochs": 1}))["time left"]
    assert shown.role == "bad" and shown.after
    now = forecast(quick).experiment
    found = consequences(quick, {"val_every_epochs": 1}, forecast(quick)).finish
    assert found.high is not None and found.value is not None and now.high is not None and now.seconds is not None
    assert found.high - found.value > 0.9 * (now.high - now.seconds)


def test_a_profile_that_no_model_knows_of_has_no_pace_foretold(quick: ExperimentState) -> None:
    changed = {"persistent_workers": not quick.plan.profile["persistent_workers"]}
    one = Candidate(name="other", knobs=dict(quick.plan.profile.knobs) | changed, changed=dict(changed))
    assert expected_of(view_of(quick), one).value is None
    assert expected_of(view_of(quick), replace(one, changed=changed | {"num_workers": 1})).value is not None
