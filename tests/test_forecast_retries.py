"""Runs that failed and are tried again are in the forecast, those that failed for good are not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.eta.forecast import Forecast, forecast
from engine.eta.remaining import runs_left
from engine.journals.events import AnyRecord, RunEnded, RunsPutBack, RunStarted, SupervisorStarted, Verdict
from engine.live.fold_experiment import fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, new_experiment
from engine.live.watch import Watch
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.test_forecast import CALM, calm_records
from tests.traces import STARTED, plan_of, prepared_of, until_step

RUNS = tuple(RunKey(fold=0, restart=restart, seed=42 + restart) for restart in range(4))
FAILED = Verdict(kind="exception", text="it raised ValueError")


def told(retries: int, ends: Sequence[tuple[int, int, str]], running: int | None) -> ExperimentState:
    """Four runs of which these have ended (place, attempt, outcome), one after the other; `running` is at its 65th step,
    or there is none."""
    state = new_experiment("/logs/simulated", plan_of(CALM, RUNS, retries=retries))
    now, events = STARTED, list[AnyRecord]()

    def said(record: AnyRecord) -> None:
        events.append(replace(record, t=now, m=now - STARTED + 1000.0))  # type: ignore[type-var]

    said(SupervisorStarted(pid=1, host="h", boot_id="b"))
    for place, attempt, outcome in ends:
        key = RUNS[place]
        said(RunStarted(fold=0, restart=key.restart, attempt=attempt, pid=2))
        now += 300.0
        said(RunEnded(fold=0, restart=key.restart, attempt=attempt, outcome=outcome, verdict=FAILED, seconds=300.0))  # type: ignore[arg-type]
        now += 3.0
    if running is not None:
        attempt = 1 + sum(place == running for place, _, _ in ends)
        said(RunStarted(fold=0, restart=RUNS[running].restart, attempt=attempt, pid=2))
    state = replace(fold_supervisor(state, events), prepared=prepared_of(CALM), supervisor_alive=True, now=now, now_monotonic=now)
    if running is None:
        return state
    records = until_step(calm_records(key=RUNS[running], started=now), 65)
    run = replace(fold_run(state.runs[running], records), phase="running")
    runs = (*state.runs[:running], run, *state.runs[running + 1 :])
    return replace(state, runs=runs, trainer_alive=True, now=records[-1].t, now_monotonic=records[-1].m)


def left(state: ExperimentState, running: bool = True) -> list[int]:
    return [RUNS.index(run.key) for run in runs_left(state, running)]


def runs(said: Forecast) -> int:
    return next(one for one in said.ladder if one.name == "experiment").runs


def test_a_run_that_failed_comes_again_behind_the_others_where_it_has_a_try_left() -> None:
    state = told(1, [(0, 1, "failed")], running=1)
    assert left(state) == [2, 3, 0]
    assert runs(forecast(state)) == 4
    without = told(0, [(0, 1, "failed")], running=1)
    assert left(without) == [2, 3]
    longer, shorter = forecast(state).experiment.seconds, forecast(without).experiment.seconds
    assert longer is not None and shorter is not None and longer - shorter > 120 * 2.0


def test_while_the_retry_trains_those_that_failed_for_good_are_over() -> None:
    state = told(1, [(0, 1, "failed"), (1, 1, "failed"), (2, 1, "finished"), (3, 1, "finished"), (1, 2, "failed")], running=0)
    assert left(state) == []
    assert runs(forecast(state)) == 1
    assert forecast(state).experiment == forecast(state).run


def test_several_are_tried_again_in_the_order_in_which_they_failed() -> None:
    state = told(2, [(1, 1, "failed"), (0, 1, "failed"), (2, 1, "finished"), (1, 2, "failed")], running=3)
    assert left(state) == [0, 1]


@pytest.mark.parametrize(("retries", "after"), [(0, [1, 2, 3]), (1, [1, 2, 3, 0])])
def test_between_two_runs_it_is_the_same(retries: int, after: list[int]) -> None:
    assert left(told(retries, [(0, 1, "failed")], running=None), running=False) == after


def test_whoever_takes_the_experiment_up_again_tries_all_that_is_not_finished() -> None:
    failed = told(0, [(0, 1, "failed"), (1, 1, "finished"), (2, 1, "failed")], running=None)
    again = fold_supervisor(failed, [SupervisorStarted(pid=3, host="h", boot_id="b", t=failed.now + 60, m=5000.0)])
    assert left(again, running=False) == [0, 2, 3]
    begun = fold_supervisor(again, [RunStarted(fold=0, restart=0, attempt=2, pid=4, t=failed.now + 61, m=5001.0)])
    assert left(begun) == [2, 3]


def test_a_run_that_failed_for_good_is_in_the_forecast_as_soon_as_it_is_put_back_by_hand() -> None:
    failed = told(0, [(0, 1, "failed")], running=1)
    assert left(failed) == [2, 3]
    back = fold_supervisor(failed, [RunsPutBack(runs=(RUNS[0].at,), t=failed.now, m=failed.now_monotonic)])
    assert left(back) == [0, 2, 3], "in the plan's order, which the same wish decides"
    assert runs(forecast(back)) == 4
    longer, shorter = forecast(back).experiment.seconds, forecast(failed).experiment.seconds
    assert longer is not None and shorter is not None and longer - shorter > 120 * 2.0


def test_after_a_resume_the_end_of_an_earlier_launch_s_run_is_not_told_as_no_time_left() -> None:
    stopped = told(0, [(0, 1, "finished")], running=None)
    assert forecast(stopped).run.seconds == 0.0, "between two runs of a launch the one that has ended is over"
    again = fold_supervisor(stopped, [SupervisorStarted(pid=3, host="h", boot_id="b", t=stopped.now + 60, m=5000.0)])
    said = forecast(again)
    assert [one.seconds for one in (said.epoch, said.run, said.stop_here)] == [None, None, None]


def test_a_promise_to_stop_after_two_more_counts_a_retry_too() -> None:
    state = told(1, [(0, 1, "failed"), (1, 1, "finished"), (2, 1, "finished")], running=3)
    assert left(replace(state, stop_after_runs=4)) == [0]
    assert left(replace(state, stop_after_runs=3)) == []


def test_a_real_queue_s_forecast_goes_to_the_end_of_the_retry(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FAKE_STEPS": "1000", "FAKE_STEP_SECONDS": "0.05", "FAKE_FAIL": "exception", "FAKE_FAIL_ONLY": "0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    paths = lab.launch(fake_plan(folds=1, restarts=2, retries=1))

    def second() -> ExperimentState:
        return Watch(paths.folder).poll()

    wait_until(lambda: (state := second()).current == 1 and state.runs[1].step > 20, 60, "the second run's steps")
    state = second()
    assert [run.failures for run in state.runs] == [1, 0]
    assert [run.key.restart for run in runs_left(state, running=True)] == [0]
    wait_until(lambda: any(one.name == "experiment" for one in forecast(second()).ladder), 60, "a forecast")
    assert runs(forecast(second())) == 2
