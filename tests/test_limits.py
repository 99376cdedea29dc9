"""`--until 12h`, `--deadline`, `--budget 25USD`: it stops in time, with a checkpoint, and says what fits and why it stopped.

Real supervisors and trainers with limits of a few seconds; a trainer's pace is set, its checkpoints are on steps.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine import process
from engine.config.plan import Plan
from engine.errors import UsageError
from engine.eta.forecast import Estimate
from engine.journals import journal
from engine.journals.events import (
    ExperimentEnded,
    LimitReached,
    LimitSet,
    RunEnded,
    RunStarted,
    SupervisorStarted,
    Verdict,
)
from engine.journals.limit_events import Limits, Rate, Session
from engine.limit import limits
from engine.limit.allowance import allowance, fit
from engine.limit.limits import NOTHING, Wanted
from engine.limit.platforms import machine_began, session
from engine.limit.slurm import end_in, job_end
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.runs import control, launch
from engine.runs.spending import reckoned, used_seconds
from engine.status import status
from tests.conftest import Laboratory, fake_plan, wait_until
from tui.verbs.showing import status_lines

NOW = 1_795_273_200.0  # Saturday 21 November 2026, 15:00 UTC
ENDED = ("finished", "stopped", "failed", "lost")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No platform of the machine these tests run on; one time zone."""
    for name in ("SLURM_JOB_ID", "KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"FAKE_EPOCHS": "2", "FAKE_STEPS": "10", "FAKE_STEP_SECONDS": "0.02"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def look(paths: ExperimentPaths) -> ExperimentState:
    return Watch(paths.folder).poll()


def step(paths: ExperimentPaths) -> int:
    run = look(paths).run
    return run.step if run else 0


def until_ended(paths: ExperimentPaths) -> ExperimentState:
    wait_until(lambda: look(paths).phase in ENDED and not look(paths).supervisor_alive, 20, "the experiment's end")
    return look(paths)


def limited(seconds: float, **more: object) -> Limits:
    return Limits(asked=time.time(), seconds=seconds, **more)  # type: ignore[arg-type]


def records(paths: ExperimentPaths, kind: type) -> list:  # type: ignore[type-arg]
    return [record for record in journal.read(paths.events) if isinstance(record, kind)]


# ---------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("12h", 43200), ("1d6h", 108000), ("1.5h", 5400), ("2h 30m", 9000), ("45s", 45)]
)
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert limits.duration(text) == seconds


@pytest.mark.parametrize("text", ["12", "", "h", "-3h", "0h", "12 hours", "1e9h", "99999d", "nan", "inf", "１２h", "12h;ls"])
def test_what_is_no_duration_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"90m, 12h or 1d6h|more than nothing"):
        limits.duration(text)


@given(st.integers(min_value=1, max_value=9 * 86_400))
def test_a_length_is_said_as_it_can_be_typed(seconds: int) -> None:
    again = limits.duration(limits.span(seconds))
    assert again == seconds if seconds < 36_000 else abs(again - seconds) < 60


def test_a_deadline_is_local_unless_it_names_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    there = limits.deadline("2026-11-22T08:00", NOW)
    assert there == limits.deadline("2026-11-22T07:00Z", NOW) == limits.deadline("2026-11-22T08:00+01:00", NOW)
    assert limits.clock(there) == "Sun 22 Nov 08:00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-21T14:59", "has passed: it is Sat 21 Nov 15:00 here. A later one, such as 2026-11-22T08:00"),
        ("2026-02-30T08:00", "there is no such time (day is out of range for month)"),
        ("2026-11-22T25:00", "there is no such time (hour must be in 0..23)"),
        ("24:00", "a day has no such time; it goes from 00:00 to 23:59"),
        ("2026-11-22", "at what time of that day? Such as 2026-11-22T08:00"),
        ("tomorrow", "it is no date and time; write it as 2026-11-22T08:00"),
        ("9999-12-31T23:59", "at most ten years"),
        ("2026-11-22T08:00\x1b[2J", "it is no date and time"),
    ],
)
def test_a_deadline_that_cannot_be_is_refused_with_one_that_can(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        limits.deadline(text, NOW)
    assert said in str(refused.value)


def test_a_time_of_day_is_the_next_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert limits.clock(limits.deadline("23:00", NOW)) == "Sat 21 Nov 23:00"
    assert limits.clock(limits.deadline("8:00", NOW)) == "Sun 22 Nov 08:00"
    typed = limits.typed("23:00")
    assert typed is not None and typed.deadline == "23:00"


def test_an_hour_that_the_clocks_leave_out_is_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    with pytest.raises(UsageError, match="that hour does not exist here"):
        limits.deadline("2027-03-28T02:30", NOW)


def priced(budget: str, price: str | None = None, device: str = "") -> Limits:
    return limits.limits(Wanted(budget=budget, price=price), NOW, lambda: device)


def test_a_budget_takes_the_price_that_is_given() -> None:
    found = priced("$25", "1.89USD/h")
    assert (found.budget, found.rate) == (25.0, Rate(hourly=1.89, currency="USD", basis="as given"))


def test_without_a_price_the_high_end_of_the_quoted_range_counts_and_is_said() -> None:
    found = priced("25USD", device="NVIDIA A100-SXM4-80GB")
    assert found.rate is not None
    assert found.rate.hourly > 1
    assert "the high end counts" in found.rate.basis
    low, high = (float(word) for word in found.rate.basis.split("quoted ")[1].split(" USD")[0].split(" to "))
    assert low < high == found.rate.hourly
    assert any(year in found.rate.basis for year in ("2022-", "2025-", "2026-"))


@pytest.mark.parametrize(
    ("budget", "price", "device", "said"),
    [
        ("25", None, "", "say the currency too, such as 25USD"),
        ("0USD", None, "", "more than nothing"),
        ("many USD", None, "", "an amount and its currency"),
        ("25EUR", "1.89USD", "", "steptop converts no currencies"),
        ("25USD", None, "Voodoo 2", "Voodoo 2 is not in the GPU sheet: say what an hour costs with --price"),
        ("25USD", None, "", "the device is not in the GPU sheet"),
        ("25EUR", None, "NVIDIA A100-SXM4-80GB", "is quoted in USD"),
    ],
)
def test_a_budget_that_buys_an_unknown_time_is_refused(budget: str, price: str | None, device: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        priced(budget, price, device)
    assert said in str(refused.value)


def test_a_price_without_a_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="there is none"):
        limits.limits(Wanted(price="2USD"), NOW, lambda: "")


# ---------------------------------------------------------------- how many runs fit


def ends_of(run: float, spread: float) -> Callable[[int], Estimate]:
    return lambda count: Estimate(run * count, run * count * (1 - spread), run * count * (1 + spread), None, "measured")


def test_four_of_thirty_runs_fit_and_the_fifth_would_end_too_late() -> None:
    found = fit(ends_of(9 * 3600, 0.2), 30, 42 * 3600)
    assert found is not None
    assert (found.runs, found.surely, found.at_best, found.total) == (4, 3, 5, 30)
    assert found.text == "4 of 30 runs fit (3 to 5); run 5 would end 3 h too late"


def test_runs_that_are_done_count_and_all_may_fit() -> None:
    assert (found := fit(ends_of(3600, 0.05), 3, 5 * 3600, done=2)) is not None
    assert found.text == "all 5 runs fit"
    assert (found := fit(ends_of(3600, 0.05), 3, 1800, done=2)) is not None
    assert found.text == "2 of 5 runs fit; run 3 would end 30 min too late"
    assert fit(lambda count: Estimate(), 3, 100.0) is None


def test_the_earliest_limit_counts_and_is_named() -> None:
    asked = Limits(asked=NOW, seconds=7200, deadline=NOW + 3 * 3600, budget=10, rate=Rate(hourly=2, currency="EUR"))
    record = LimitSet(limits=asked, elapsed=600, spent=9.0)
    found = limits.dues(record, NOW, 60)
    assert [due.kind for due in found] == ["budget", "time", "deadline"]
    assert [round(due.seconds) for due in found] == [1740, 6540, 3 * 3600]
    kaggle = Session(kind="kaggle", name="Kaggle", at=NOW + 100, seconds=43_200, quoted="somebody, once")
    first = limits.dues(msgspec.structs.replace(record, session=kaggle), NOW, 60)[0]
    assert first.text == "Kaggle session's end (12 h, quoted)"


# ---------------------------------------------------------------- stopping in time


def test_it_stops_before_its_time_is_over_with_a_checkpoint_and_resume_goes_on(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    asked = limited(3.0)
    paths = lab.launch(fake_plan(folds=2, restarts=1, limits=asked))
    state = until_ended(paths)
    run = state.runs[0]
    assert state.phase == "stopped"
    assert state.ended is not None
    assert run.checkpoint is not None and run.checkpoint.step == run.step > 10
    assert run.verdict is not None and state.verdict is not None
    assert run.verdict.kind == state.verdict.kind == "limit"
    assert run.verdict.text == f"stopped at its time limit (3 s), after step {run.step}, checkpoint saved"
    assert state.ended.text.startswith(f"{run.verdict.text}: 0 of 2 runs finished")
    assert "`steptop resume`" in run.verdict.advice
    (reached,) = records(paths, LimitReached)
    assert reached.kind == "time" and 0 < reached.left <= reached.needed
    text = "\n".join(status_lines(state))
    assert run.verdict.text in text and "`steptop resume fake --until 3s` goes on" in text
    with pytest.raises(UsageError, match=r"time limit \(3 s\) is used up.*--no-limit"):
        launch.resume(paths.folder)
    assert not look(paths).supervisor_alive
    monkeypatch.setenv("FAKE_STEPS", "100")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.001")
    # Money goes on with it too: the time that is used up then no longer counts.
    launch.resume(paths.folder, wanted=Wanted(budget="10USD", price="1USD"))
    state = until_ended(paths)
    assert state.phase == "finished"
    assert state.plan.limits.seconds is None and state.plan.limits.budget == 10
    assert state.runs[0].begin is not None and state.runs[0].begin.resumed_from_step == run.step
    assert len(records(paths, LimitReached)) == 1


def test_a_run_that_surely_ends_too_late_is_not_begun_unless_it_can_be_gone_on_with(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of more than a minute, as their first steps have shown; a trainer of one's own may not be able to go on."""
    monkeypatch.setenv("FAKE_STEPS", "2000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 20, what="steps")
    control.request(paths, "stop_now")
    until_ended(paths)
    launch.resume(paths.folder, wanted=Wanted(until="20s"))
    state = until_ended(paths)
    assert state.ended is not None
    assert state.ended.text.startswith("stopped for its time limit (20 s): the next run would end too late: 0 of 2 runs")
    (reached,) = records(paths, LimitReached)
    assert not reached.begun and reached.needed > 20 > reached.left
    assert len(records(paths, RunStarted)) == 1
    launch.resume(paths.folder, wanted=Wanted(until="5s", partial_runs="yes"))
    state = until_ended(paths)
    assert len(records(paths, RunStarted)) == 2
    verdict = state.runs[0].verdict
    assert verdict is not None and verdict.text.startswith("stopped at its time limit (5 s), after step")
    assert any("it trains until then, and goes on after a resume" in sentence.text for sentence in state.sentences)


def test_a_budget_is_spent_by_all_attempts_together(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    price = Rate(hourly=3600.0, currency="EUR", basis="as given")  # a second costs one
    asked = Limits(asked=time.time(), budget=5.0, rate=price, partial=True)
    paths = lab.launch(fake_plan(folds=2, restarts=1, limits=asked))
    wait_until(lambda: step(paths) > 10, what="steps")
    control.request(paths, "stop_now")
    first = until_ended(paths)
    cost = status(first).limit
    assert cost is not None and cost.spent is not None
    assert 0 < cost.spent < 5
    launch.resume(paths.folder)
    state = until_ended(paths)
    (before, after) = records(paths, LimitSet)
    assert before.spent == pytest.approx(0, abs=1)
    assert after.spent == pytest.approx(cost.spent, abs=1)
    assert state.ended is not None and "stopped at its budget (5 EUR), after step" in state.ended.text
    spent = status(state).limit
    assert spent is not None and spent.spent is not None and cost.spent < spent.spent <= 5.5
    assert any("of 5 EUR spent; an hour costs 3600 EUR (as given)" in line for line in status_lines(state))
    with pytest.raises(UsageError, match=r"its budget of 3 EUR is spent.*--budget"):
        launch.resume(paths.folder, wanted=Wanted(budget="3EUR"))


def test_a_supervisor_that_takes_over_keeps_the_promise(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    asked = limited(4.0)
    paths = lab.launch(fake_plan(folds=2, restarts=1, limits=asked))
    wait_until(lambda: step(paths) > 5, what="steps")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    assert launch.take_over(paths.folder)
    state = until_ended(paths)
    assert state.ended is not None
    assert "stopped at its time limit (4 s), after step" in state.ended.text
    first, second = records(paths, LimitSet)
    assert second.elapsed > first.elapsed
    assert second.elapsed == pytest.approx(second.m - first.m + first.elapsed, abs=0.01)
    assert len(records(paths, RunStarted)) == 1


def test_a_living_training_gets_another_limit_and_loses_it_again(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "60")
    paths = lab.launch(fake_plan(folds=1, restarts=1))
    wait_until(lambda: step(paths) > 3, what="steps")
    assert status(look(paths)).limit is None
    name = control.request(paths, "limit", by="me", limits=limited(3600.0))
    wait_until(lambda: control.answer_to(paths, name), what="the answer")
    answer = control.answer_to(paths, name)
    assert answer is not None and answer.accepted and "(time limit, 1 h)" in answer.text
    state = look(paths)
    allowed = allowance(state)
    assert allowed is not None and allowed.fit is not None
    assert allowed.fit.text == "the run fits"
    assert allowed.first.seconds <= 3600
    plan = read_json(paths.plan, Plan)
    assert plan is not None and plan.limits.seconds == 3600
    name = control.request(paths, "limit", by="me", limits=Limits())
    wait_until(lambda: control.answer_to(paths, name), what="the answer")
    assert allowance(look(paths)) is None
    assert any("no limit any more, asked for by me" in sentence.text for sentence in look(paths).sentences)
    assert until_ended(paths).phase == "finished"


@pytest.mark.slow
def test_a_stop_for_a_limit_is_not_cancelled_but_a_later_limit_takes_it_back(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of two seconds: the stop is under way for a while."""
    monkeypatch.setenv("FAKE_STEP_SECONDS", "2")
    monkeypatch.setenv("FAKE_STEPS", "2")
    monkeypatch.setenv("FAKE_EPOCHS", "1")
    paths = lab.launch(fake_plan(folds=1, restarts=1, limits=limited(2.6)))
    wait_until(lambda: look(paths).phase == "stopping", what="the stop for the limit")
    name = control.request(paths, "stop_cancel")
    wait_until(lambda: control.answer_to(paths, name), what="the answer")
    answer = control.answer_to(paths, name)
    assert answer is not None and not answer.accepted and "`steptop limit` gives it another one" in answer.text
    control.request(paths, "limit", limits=limited(3600.0))
    assert until_ended(paths).phase == "finished"


def test_a_warning_signal_stops_it_as_stop_now_does(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 3, what="steps")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGUSR1)
    state = until_ended(paths)
    assert state.phase == "stopped"
    assert state.runs[0].checkpoint is not None
    assert any("SIGUSR1, a warning that the time is nearly over" in sentence.text for sentence in state.sentences)


# ---------------------------------------------------------------- what was used


def started(m: float, adopted: int = 0) -> SupervisorStarted:
    return SupervisorStarted(pid=1, host="h", boot_id="b", adopted=adopted, m=m)


def test_the_time_of_a_killed_supervisor_ends_with_its_trainer_and_not_with_the_resume() -> None:
    """Killed together 31 s after the start, found and gone on with much later, for ten seconds."""
    first = [started(0), RunStarted(fold=0, restart=0, attempt=1, pid=2, m=1)]
    lost = RunEnded(fold=0, restart=0, attempt=1, outcome="lost", verdict=Verdict(kind="lost", text=""), seconds=30, m=500)
    over = ExperimentEnded(outcome="stopped", text="", m=509)
    assert used_seconds([*first, started(499), lost, over], 0.0) == 31 + 10
    assert used_seconds([*first, started(499), lost], 520.0) == 31 + 21
    assert used_seconds(first, 0.0) == 1
    assert used_seconds([], 100.0) == 0


def test_a_supervisor_that_takes_a_training_over_goes_on_with_its_time() -> None:
    first = [started(0), RunStarted(fold=0, restart=0, attempt=1, pid=2, m=1)]
    ended = RunEnded(fold=0, restart=0, attempt=1, outcome="finished", verdict=Verdict(kind="finished", text=""), seconds=99, m=100)
    assert used_seconds([*first, started(60, adopted=2), ended], 0.0) == 100


def test_money_is_counted_at_the_price_of_its_time() -> None:
    cheap = Limits(asked=NOW, budget=100, rate=Rate(hourly=3600, currency="EUR"))
    book = [started(0), LimitSet(limits=cheap, used=0.0, spent=0.0, m=0), ExperimentEnded(outcome="stopped", text="", m=10)]
    dear = msgspec.structs.replace(cheap, rate=Rate(hourly=7200, currency="EUR"))
    assert reckoned(book, cheap, 0.0).spent == 10
    later = LimitSet(limits=dear, used=10.0, spent=10.0, m=100)
    book += [started(100), later, ExperimentEnded(outcome="stopped", text="", m=105)]
    assert reckoned(book, dear, 0.0).spent == 10 + 5 * 2
    foreign = msgspec.structs.replace(dear, rate=Rate(hourly=3600, currency="USD"))
    assert reckoned(book, foreign, 0.0).spent == 15


# ---------------------------------------------------------------- what platforms allow


def scontrol(folder: Path, text: str) -> dict[str, str]:
    """An environment with a stand-in for Slurm's program, and a job's number."""
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\n[ "$*" = "show job 4711" ] || exit 1\ncat <<END\n{text}\nEND\n')
    program.chmod(0o755)
    return {"SLURM_JOB_ID": "4711", "PATH": f"{folder}:{os.environ['PATH']}"}


def test_slurm_says_when_the_job_ends_in_the_environment_or_through_scontrol(tmp_path: Path) -> None:
    assert job_end({}) is None
    assert job_end({"SLURM_JOB_ID": "4711", "SLURM_JOB_END_TIME": "1795302000"}) == 1795302000
    said = scontrol(tmp_path, "JobId=4711 JobName=x\n   StartTime=2026-11-21T15:00:00 EndTime=2026-11-22T03:00:00 Deadline=N/A")
    assert job_end(said) == NOW + 12 * 3600
    assert job_end(said | {"SLURM_JOB_ID": "4711; rm -rf /"}) is None
    assert job_end(said | {"SLURM_JOB_END_TIME": "soon"}) == NOW + 12 * 3600
    assert end_in("JobId=4711 EndTime=Unknown TimeLimit=UNLIMITED") is None
    assert job_end({"SLURM_JOB_ID": "4711", "PATH": str(tmp_path / "nowhere")}) is None


def test_a_scontrol_that_fails_says_nothing(tmp_path: Path) -> None:
    environ = scontrol(tmp_path, "")
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho EndTime=2026-11-22T03:00:00\nexit 1\n")
    assert job_end(environ) is None


def test_kaggle_and_colab_are_quoted_and_the_quoted_can_be_corrected() -> None:
    kaggle = session({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, NOW, began=NOW - 3600)
    assert kaggle is not None
    assert (kaggle.name, kaggle.at, kaggle.seconds) == ("Kaggle", NOW + 11 * 3600, 12 * 3600)
    assert "2025-" in kaggle.quoted
    colab = session({"COLAB_RELEASE_TAG": "x"}, NOW, own_seconds=24 * 3600, began=NOW)
    assert colab is not None
    assert (colab.at, colab.quoted) == (NOW + 24 * 3600, "")
    assert session({"COLAB_RELEASE_TAG": "x"}, NOW, own_seconds=0) is None
    assert session({}, NOW) is None
    assert machine_began(NOW) <= NOW


def test_a_job_that_ends_soon_stops_the_training_in_time(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    end = int(time.time()) + 5
    said = time.strftime("EndTime=%Y-%m-%dT%H:%M:%S", time.localtime(end))
    for name, value in scontrol(tmp_path, f"JobId=4711 JobState=RUNNING {said}").items():
        monkeypatch.setenv(name, value)
    paths = lab.launch(fake_plan(folds=2, restarts=1, limits=limited(3600.0)))
    wait_until(lambda: look(paths).limit, what="the limit")
    seen = status(look(paths)).limit
    assert seen is not None
    assert (seen.kind, seen.at, seen.also) == ("slurm", end, ("time limit (1 h)",))
    state = until_ended(paths)
    assert state.ended is not None
    assert f"stopped at its Slurm job's end ({limits.clock(end)}), after step" in state.ended.text


def test_plans_without_limits_say_nothing_of_them(lab: Laboratory) -> None:
    paths = lab.launch(fake_plan(folds=1, restarts=1))
    state = until_ended(paths)
    assert records(paths, LimitSet) == []
    assert status(state).limit is None
    assert not NOTHING.any
