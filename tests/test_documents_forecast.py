"""The documents' sums about time, done by steptop: what they left out, where they were wrong, what it would have said.

Figures are those of references/seed-systems.md and the documents themselves; times are the documents' own, nothing is
measured here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.config import catalog
from engine.config.experiment import Experiment, resolve_profile
from engine.config.plan import Plan
from engine.config.run_keys import runs_of
from engine.config.tables import Runs
from engine.eta.forecast import Forecast, before_launch, forecast
from engine.eta.ladder import Part, Rung
from engine.eta.makespan import makespan
from engine.eta.timing import KeyTiming, benchmark_key
from engine.journals.events import (
    Begin,
    EpochEnded,
    Progress,
    RunEnded,
    RunStarted,
    SpanEnded,
    Steps,
    SupervisorStarted,
    Verdict,
)
from engine.live.fold_experiment import fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, new_experiment
from engine.whatif.wished import Wish, judged, steps_for
from tests.conftest import whole_plan
from tests.traces import STARTED
from tui.verbs.checking import long_epoch

HOUR, DAY = 3600.0, 86_400.0
MPS = "Apple MPS"
# Document 000: 148 steps an epoch, 75 subjects held out, 50 epochs, 3 folds × 10 restarts; "about 30 s a step".
STEPS, TESTS, EPOCHS, RUNS = 148, 75, 50, 30


def arc(**more: object) -> Plan:
    """The stroke experiment as steptop ships it."""
    experiment = replace(catalog.experiment_named("arc-meshnet26"), **more)
    profile, _ = resolve_profile(experiment, "conservative", "", {}, {})
    return whole_plan(experiment, profile, "arc", experiment_name="arc-meshnet26", created=STARTED)


def quoted(plan: Plan, step_seconds: float, who: str, **more: float) -> KeyTiming:
    return KeyTiming(
        key=benchmark_key(plan, MPS), device_name=MPS, experiment="", steps=0, step_seconds=step_seconds, quoted=who, **more
    )


def rung(said: Forecast, name: str) -> Rung:
    return next(one for one in said.ladder if one.name == name)


def part(one: Rung, name: str) -> Part:
    return next(part for part in one.parts if part.name == name)


# ---------------------------------------------------------------- 000: how long is the stroke study


def document_000() -> Forecast:
    plan = arc()
    return before_launch(
        plan, dict.fromkeys(range(3), STEPS), dict.fromkeys(range(3), TESTS), [quoted(plan, 30.0, "document 000")]
    )


def test_thirty_runs_of_fifty_epochs_of_148_steps_of_30_s_are_77_days() -> None:
    said = document_000()
    assert part(rung(said, "epoch"), "train").seconds == pytest.approx(74 * 60)
    assert part(rung(said, "run"), "train").seconds == pytest.approx(61.7 * HOUR, rel=0.001)
    assert part(rung(said, "experiment"), "train").seconds == pytest.approx(77 * DAY, rel=0.002)
    assert part(rung(said, "experiment"), "train").times == STEPS * EPOCHS * RUNS


def test_and_the_parts_it_left_out_are_there_each_with_what_it_rests_on() -> None:
    every = rung(document_000(), "experiment")
    names = {one.name: one for one in every.parts}
    assert set(names) == {"train", "evaluate", "checkpoint", "startup", "closing", "between runs"}
    assert names["evaluate"].times == TESTS * RUNS and names["evaluate"].basis == "modelled from a step"
    assert names["between runs"].times == RUNS - 1
    assert names["train"].kind == "quoted" and every.kind == "quoted"
    beyond = sum(one.seconds for one in every.parts) - names["train"].seconds
    assert 2 * HOUR < beyond < 2 * DAY  # "small relative to multi-day training", but not nothing


# Its three real runs, seconds with loading and evaluation (seed-systems.md §1.7).
REAL = (228_876.8, 231_511.6, 249_013.4)


def after_first_run() -> ExperimentState:
    """Run 1 has ended after 63.6 h, as it did; run 2 has not begun."""
    plan = arc()
    keys = tuple((key.fold, key.restart) for key in plan.runs)
    state = fold_supervisor(new_experiment("/logs/arc", plan), [
        SupervisorStarted(pid=1, host="mac", boot_id="b", runs=keys, t=STARTED, m=1000.0),
        RunStarted(fold=0, restart=0, attempt=1, pid=2, t=STARTED + 1, m=1001.0),
    ])
    evaluation = TESTS * 12.0
    step = (REAL[0] - 60.0 - evaluation) / (STEPS * EPOCHS)
    t, m = STARTED + 1, 1001.0
    records = [
        Begin(epochs=EPOCHS, steps_per_epoch=STEPS, device="mps", device_name=MPS, t=t, m=m),
        SpanEnded(name="startup", seconds=60.0, t=t + 60, m=m + 60),
    ]
    at = 60.0
    for number in range(1, STEPS * EPOCHS + 1):
        took = step * (1.1 if number % 3 == 0 else 0.95)
        at += took
        records.append(Steps(
            epoch=(number - 1) // STEPS + 1, step=number, steps=1, seconds=took, low=took, high=took, samples=1, t=t + at, m=m + at
        ))
        if number % STEPS == 0:
            records.append(EpochEnded(
                epoch=number // STEPS, step=number, steps=STEPS, seconds=STEPS * step, t=t + at, m=m + at
            ))
    records.append(Progress(name="evaluate", done=0, total=TESTS, t=t + at, m=m + at))
    at += evaluation
    records.append(SpanEnded(name="evaluate", seconds=evaluation, items=TESTS, t=t + at, m=m + at))
    run = fold_run(state.runs[0], records)
    state = replace(state, runs=(run, *state.runs[1:]))
    ended = RunEnded(
        fold=0, restart=0, attempt=1, outcome="finished", seconds=REAL[0], t=t + REAL[0], m=m + REAL[0],
        verdict=Verdict(kind="finished", text="trained to its last epoch and evaluated"),
    )
    return replace(fold_supervisor(state, [ended]), now=t + REAL[0] + 1, now_monotonic=m + REAL[0] + 1)


def test_after_run_1_all_three_real_runs_lie_in_the_range_for_a_run() -> None:
    said = forecast(after_first_run())
    one = rung(said, "run")
    low, high = one.estimate.low, one.estimate.high
    assert one.label == "the next run" and low is not None and high is not None
    assert all(low < seconds < high for seconds in REAL)
    assert high - low < 0.3 * REAL[0]  # a range that holds everything would be none
    assert one.estimate.basis == "from 1 earlier run"


def test_after_run_1_the_rest_of_what_they_stopped_at_lies_in_the_range_too() -> None:
    """They stopped after run 3: two more runs took 133.5 h."""
    state = replace(after_first_run(), stop_after_runs=3)
    said = forecast(state).experiment
    assert said.low is not None and said.high is not None
    assert said.low < REAL[1] + REAL[2] < said.high


def test_restarts_1_is_three_runs_and_steptop_says_so(tmp_path: Path) -> None:
    """The seed's smoke test, "--restarts 1 --epochs 1", was three runs: one for each fold."""
    (tmp_path / "three.toml").write_text(
        f'command = ["{sys.executable}", "-P", "{Path(__file__).parent / "fake_trainer.py"}"]\nepochs = 2\n'
        "[runs]\nfolds = 3\nrestarts = 10\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("FAKE")}
    done = subprocess.run(
        [sys.executable, "-m", "tui.cli", "--logs", str(tmp_path / "logs"), "run", str(tmp_path / "three.toml"),
         "--restarts", "1", "--epochs", "1", "--wait"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1], env=env, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert "3 runs (3 folds × 1 restart) of 1 epoch" in done.stdout, done.stderr


# ---------------------------------------------------------------- 001: steps per epoch for a wished length


def test_4000_steps_of_9_s_and_32_epochs_are_too_long_and_it_says_how_many_are_not() -> None:
    """Its own sum: 90 s for 10 steps, 10 h an epoch, 320 h; wished were about 6 to 8 h an epoch."""
    said = judged(4000, 32, 9.0, Wish(6 * HOUR, 8 * HOUR))
    assert said.too_long
    assert said.epoch_seconds == 10 * HOUR and said.seconds == 320 * HOUR
    assert (said.fewest, said.most) == (2400, 3200)
    assert said.text == (
        "too long: an epoch of 4,000 steps takes 10 h, 32 of them 13.3 d; 6 h to 8 h an epoch are 2,400 to 3,200 steps"
    )
    assert not judged(3200, 32, 9.0, Wish(6 * HOUR, 8 * HOUR)).too_long


def test_its_own_advice_of_2000_steps_is_5_hours_unless_the_step_gets_slower() -> None:
    assert steps_for(7 * HOUR, 9.0) == 2800
    assert judged(2000, 32, 9.0, Wish(6 * HOUR, 8 * HOUR)).epoch_seconds == 5 * HOUR


def test_its_table_took_seconds_since_the_start_for_seconds_of_an_epoch() -> None:
    """97, 185, 271 s are cumulative: 10 steps took 86 to 97 s. A journal's epochs are what they are."""
    ends, step = (97.0, 185.0, 271.0), 0
    plan = arc(command=("python", "train.py"), epochs=8)
    state = new_experiment("/logs/x", plan)
    records = [Begin(epochs=8, steps_per_epoch=10, device="cuda:0", device_name="A100", t=STARTED, m=1.0)]
    began = 0.0
    for epoch, end in enumerate(ends, start=1):
        for _ in range(10):
            step += 1
            began += (end - (ends[epoch - 2] if epoch > 1 else 0.0)) / 10
            took = (end - (ends[epoch - 2] if epoch > 1 else 0.0)) / 10
            records.append(Steps(
                epoch=epoch, step=step, steps=1, seconds=took, low=took, high=took, samples=1, t=STARTED + began, m=1 + began
            ))
    run = fold_run(replace(state.runs[0], phase="running"), records)
    state = replace(state, runs=(run, *state.runs[1:]), current=0, phase="running", now=STARTED + began, now_monotonic=1 + began)
    step_seconds = rung(forecast(state), "step").estimate.seconds
    assert step_seconds == pytest.approx(9.0, abs=0.4)
    assert 4000 * (step_seconds or 0) == pytest.approx(10 * HOUR, rel=0.05)  # and not 10 steps in 10 minutes


# ---------------------------------------------------------------- 003: validation is in an epoch


def document_003(seconds_per_batch: float) -> Forecast:
    """711 steps at 2.37 a second; 177 validation batches an epoch (141 volumes × 20 patches, 16 at a time), not 22."""
    experiment = Experiment(command=("python", "train.py"), epochs=100, runs=Runs(folds=1, restarts=1))
    profile, _ = resolve_profile(experiment, "conservative", "", {}, {"val_every_epochs": 1, "val_patches_per_volume": 1})
    plan = Plan(name="ds", experiment_name="ds", experiment=experiment, profile=profile, runs=runs_of(experiment))
    told = quoted(plan, 1 / 2.37, "document 003", validate_item=seconds_per_batch, evaluate_item=0.0)
    return before_launch(plan, {0: 711}, {0: 177}, [told])


def test_a_hundred_epochs_are_16_to_20_hours_not_10() -> None:
    quick, slow = (rung(document_003(seconds), "run").estimate.seconds or 0 for seconds in (1.5, 2.5))
    assert 15.5 * HOUR < quick < slow < 20.7 * HOUR
    train = part(rung(document_003(2.5), "run"), "train").seconds
    assert train == pytest.approx(100 * 300, rel=0.01)  # 8.3 h of training alone; its 10 h had a minute of validation
    assert part(rung(document_003(2.5), "run"), "validate").times == 177 * 100


def test_twenty_experiments_on_two_gpus_are_half_as_long_only_if_they_do_not_share_the_loader() -> None:
    one = rung(document_003(2.0), "run").estimate.seconds or 0
    assert makespan([one] * 20, 2) == pytest.approx(makespan([one] * 20, 1) / 2)
    assert makespan([2 * one] * 20, 2) == makespan([one] * 20, 1)  # two loaders on the cores of one: nothing is won


def test_the_preflight_says_that_an_epoch_is_too_long() -> None:
    plan = arc(epochs=32)
    slow, quick = (
        before_launch(plan, dict.fromkeys(range(3), 4000), dict.fromkeys(range(3), TESTS), [quoted(plan, seconds, "001")])
        for seconds in (9.0, 1.0)
    )
    assert long_epoch(plan, slow).startswith("too long: an epoch of 4,000 steps takes 10 h, 32 of them 13.3 d; ")
    assert long_epoch(plan, quick) == "" and long_epoch(plan, Forecast()) == ""
