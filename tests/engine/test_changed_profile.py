"""After another profile was taken up: the forecast is that of the new pace, and what was measured is beside what it was."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import msgspec
import pytest

from engine.config.tables import Lock
from engine.diagnosis.consequences import consequences, sweep
from engine.errors import UsageError
from engine.eta.forecast import forecast
from engine.journals.events import ProfileChanged
from engine.live import pace
from engine.live.fold_profile import changed_profile
from engine.live.fold_run import fold_run
from engine.live.segments import Pace
from engine.live.state import ExperimentState, RunState
from engine.machine.cores import MOST_PER_CORE, Machine, machine
from engine.memory.footprint import knobs_now
from engine.phase import tested
from engine.runs import living
from engine.runs.control import Request
from engine.runs.launch import lay_out
from tests.conftest import Laboratory, fake_plan
from tests.recordings import state_of, write_recording
from tests.tested import line, write_changed
from tui.verbs import changing


@pytest.fixture
def before(tmp_path: Path) -> ExperimentState:
    """One worker, 18 s a step."""
    write_recording(tmp_path / "before" / "arc-meshnet26")
    return state_of(tmp_path / "before" / "arc-meshnet26")


@pytest.mark.parametrize("steps", [5, 10, 40, 300])
def test_the_forecast_is_of_the_new_pace(before: ExperimentState, tmp_path: Path, steps: int) -> None:
    after = write_changed(tmp_path / "arc-meshnet26", steps=steps)
    was, found = forecast(before).run.seconds, forecast(after).run
    assert was is not None and found.seconds is not None and found.low is not None and found.high is not None
    assert 0.4 < found.seconds / was < 0.6, "twice the workers, half the time"
    assert found.low < was / 2 < found.high or steps >= 300
    assert "resume" not in found.basis


def test_until_a_step_was_made_nothing_is_sure(tmp_path: Path) -> None:
    found = forecast(write_changed(tmp_path / "arc-meshnet26", steps=0))
    assert found.warming and "0 steps with this profile" in found.run.basis


def test_a_resumed_attempt_counts_its_own_steps() -> None:
    first = pace.add(Pace(), [line(step, 10.0) for step in range(1, 101)])
    again = pace.add(pace.rewound(first, 100), [line(step, 5.0) for step in range(101, 161)])
    assert again.segments[-1].steps == 60 and again.segments[-1].mean == pytest.approx(5.0)


def test_what_was_expected_is_beside_what_was_measured(tmp_path: Path) -> None:
    one, other = tested.tested(write_changed(tmp_path / "arc-meshnet26"))
    assert one.low is None and other.low is not None and other.high is not None and other.measured is not None
    assert other.low < other.measured.samples_per_second < other.high
    assert other.seconds["epoch"] == pytest.approx(one.seconds["epoch"] / 2, rel=0.05)


def test_what_a_change_brought_is_still_told_in_the_next_run_and_after_the_end(tmp_path: Path) -> None:
    state = write_changed(tmp_path / "arc-meshnet26")
    assert state.run is not None and state.current is not None
    after = next(place for place in range(len(state.runs)) if place > state.current)
    fresh = msgspec.structs.replace(state.run, key=state.runs[after].key, tested=())
    runs = tuple(fresh if place == after else run for place, run in enumerate(state.runs))
    later = msgspec.structs.replace(state, runs=runs, current=after)
    assert later.run is not None and later.run.tested == ()
    assert [(one.name, one.ratio) for one in tested.tested(later)] == [(one.name, one.ratio) for one in tested.tested(state)]


def test_changes_in_a_later_run_do_not_hide_those_of_an_earlier_one(tmp_path: Path) -> None:
    state = write_changed(tmp_path / "arc-meshnet26")
    assert state.run is not None and state.current is not None
    after = next(place for place in range(len(state.runs)) if place > state.current)
    shift = tuple(msgspec.structs.replace(one, t=one.t + 3600) for one in state.run.tested)
    fresh = msgspec.structs.replace(state.run, key=state.runs[after].key, tested=shift)
    runs = tuple(fresh if place == after else run for place, run in enumerate(state.runs))
    later = msgspec.structs.replace(state, runs=runs, current=after)
    here = tested.tested(later)
    found = tested.of_all_runs(later)
    assert len(found) == 2 * len(here)
    first, second = f"(run {state.current + 1})", f"(run {after + 1})"
    assert [one.name for one in found] == [f"{one.name} {run}" for run in (first, second) for one in here]
    assert [one.number for one in found] == list(range(len(found)))
    assert found[0].ratio is None and all(one.ratio is not None for one in found[1:])
    assert tested.of_all_runs(state) == tested.tested(state), "one run alone needs no number"


def test_a_launch_with_another_profile_leaves_behind_what_was_changed_before_it(tmp_path: Path) -> None:
    """Changed to two workers, stopped, and launched once more as it was at first: with one."""
    state = write_changed(tmp_path / "arc-meshnet26")
    run, plan = state.run, state.plan
    assert run is not None and run.begin is not None and state.current is not None
    assert knobs_now(state)["num_workers"] == 2
    profile = msgspec.structs.replace(plan.profile, name="as before", knobs=plan.profile.knobs | {"num_workers": 1})
    plan = msgspec.structs.replace(plan, profile=profile)

    def with_run(run: RunState) -> ExperimentState:
        runs = tuple(run if place == state.current else one for place, one in enumerate(state.runs))
        return msgspec.structs.replace(state, plan=plan, runs=runs)

    stopped = with_run(msgspec.structs.replace(run, phase="stopped"))
    assert knobs_now(stopped)["num_workers"] == 1, "what it would begin with"
    starting = with_run(msgspec.structs.replace(run, phase="running", attempt=run.begin.attempt + 1))
    assert knobs_now(starting)["num_workers"] == 1, "the attempt before had two"
    begin = msgspec.structs.replace(
        run.begin, attempt=run.begin.attempt + 1, resumed_from_step=run.step, num_workers=1, knobs=profile.knobs
    )
    steps = [line(run.step + step, 18.0) for step in range(1, 41)]
    again = with_run(fold_run(run, [begin, *steps]))
    assert knobs_now(again)["num_workers"] == 1
    assert [one.knobs["num_workers"] for one in tested.tested(again)] == [1, 2, 1]
    one, two, last = (found.measured for found in tested.tested(again))
    assert one is not None and two is not None and last is not None
    assert two.steps <= 40 and 0 < last.steps <= 40, "each profile has the steps that were taken with it"


def test_a_training_that_never_changed_has_nothing_to_compare(before: ExperimentState) -> None:
    assert tested.tested(before) == ()


def test_more_workers_than_computing_needs_bring_nothing_more(before: ExperimentState) -> None:
    found = sweep(before, {}, "num_workers", (1, 2, 4, 8, 16))
    assert found[2] == pytest.approx(2 * found[1], rel=0.1) and found[16] == pytest.approx(found[8], rel=0.1)


def test_back_to_the_locked_value_is_no_override(before: ExperimentState) -> None:
    locks = {"num_workers": Lock(value=2, reason="the disk is shared")}
    plan = msgspec.structs.replace(before.plan, experiment=msgspec.structs.replace(before.plan.experiment, locks=locks))
    state = msgspec.structs.replace(before, plan=plan)
    assert "the disk is shared" in living.refusal(plan, Request(id="1", verb="profile", knobs={"num_workers": 4}))
    assert living.refusal(plan, Request(id="1", verb="profile", knobs={"num_workers": 2})) == ""
    assert consequences(state, {"num_workers": 4}).locked and not consequences(state, {"num_workers": 2}).locked


@pytest.mark.skipif(machine().cores * MOST_PER_CORE >= 64, reason="this machine bears every number of workers")
def test_what_the_machine_cannot_bear_is_blamed_on_the_option_that_asked_for_it(tmp_path: Path) -> None:
    asked = Namespace(settings=[f"num_workers={machine().cores * MOST_PER_CORE + 1}"], profile=None)
    with pytest.raises(UsageError, match="in --set: "):
        changing.wanted(asked, {}, tmp_path)


def test_a_profile_without_a_name_is_called_by_what_changed() -> None:
    assert living.called({"num_workers": 4}) == "num_workers=4"
    assert living.called({"persistent_workers": False, "num_workers": 4}) == "persistent_workers=false, num_workers=4"
    assert living.called({"num_workers": 4, "prefetch_factor": 4, "cache": "ram"}) == "edited"


def test_true_and_false_are_written_one_way(before: ExperimentState) -> None:
    locks = {"persistent_workers": Lock(value=True, reason="spawning takes a minute")}
    plan = msgspec.structs.replace(before.plan, experiment=msgspec.structs.replace(before.plan.experiment, locks=locks))
    said = living.refusal(plan, Request(id="1", verb="profile", knobs={"persistent_workers": False}))
    assert "locked at true" in said
    changed = ProfileChanged(id="1", name="x", knobs={"persistent_workers": False}, changed=("persistent_workers",), step=3)
    run = changed_profile(before.runs[0], changed)
    assert run.sentences[-1].text.startswith("profile x since step 4: persistent_workers = false (")


@pytest.mark.parametrize(("slots", "said"), [(1, ""), (2, "At most 4")])
def test_a_living_change_is_held_against_a_runs_share_of_the_cores(lab: Laboratory, slots: int, said: str) -> None:
    """Six workers are borne by two cores, but not by each of two runs with one."""
    plan = fake_plan(slots=slots)
    folder = lab.logs / plan.name
    lay_out(folder, plan)
    asked = Request(id="1", verb="profile", knobs={"num_workers": 6})
    found = living.beyond(plan, asked, folder, Machine(cores=2, scheduled=2))
    assert (said in found) if said else not found
