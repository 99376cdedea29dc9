"""Limits, costs and options of experiments whose runs go on side by side, or on more than one device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine import process
from engine.config.plan import Plan
from engine.config.tables import Variant
from engine.errors import UsageError
from engine.eta.forecast import forecast
from engine.journals.journal import Writer
from engine.journals.limit_events import Limits, LimitSet, Rate
from engine.journals.records import SupervisorInfo
from engine.limit import asked, limits
from engine.limit.allowance import ends_after, fit_of
from engine.limit.ends import one_more
from engine.limit.guard import Guard, stop_seconds
from engine.limit.limits import Wanted
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json, write_json
from engine.runs import control, launch
from engine.whatif import hardware, hardware_table, session_limits, staged_plan, stages
from engine.whatif.bring_about import commands
from engine.whatif.known import Known, known_of
from engine.whatif.options import options
from engine.whatif.remarks import remarks
from engine.whatif.what_if import Question, times
from tests.conftest import FAKE_TRAINER, Laboratory, fake_plan, wait_until
from tests.recordings import state_of, write_recording
from tui.verbs.limiting import foretold, foretold_again

ROOT = Path(__file__).parents[1]
NOW = 1_795_273_200.0
TWO = ("0", "1")


def on_two(state: ExperimentState, far: float = 0.5) -> ExperimentState:
    """The same experiment in two slots: beside the run that is shown another goes on, so much of a run behind it."""
    assert state.run is not None and state.current is not None
    plan = msgspec.structs.replace(state.plan, slots=2, devices=TWO)
    place = next(at for at, run in enumerate(state.runs) if run.phase == "waiting")
    step = max(1, round(state.run.step * far))
    beside = msgspec.structs.replace(state.run, key=state.runs[place].key, step=step)
    runs = (*state.runs[:place], beside, *state.runs[place + 1 :])
    return msgspec.structs.replace(state, plan=plan, runs=runs, supervisor_alive=True, trainer_alive=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> ExperimentState:
    """A quarter of 30 runs done, one under way."""
    folder = tmp_path_factory.mktemp("beside") / "arc"
    write_recording(folder, "arc", 0.25)
    return msgspec.structs.replace(state_of(folder), supervisor_alive=True, trainer_alive=True)


# ---------------------------------------------------------------- money


def test_a_budget_pays_for_every_device() -> None:
    def left(devices: int) -> float:
        held = limits.limits(Wanted(budget="25USD", price="2USD"), NOW, lambda: "", devices=devices)
        return limits.dues(LimitSet(limits=held), NOW, 0.0)[0].seconds

    assert left(1) == pytest.approx(12.5 * 3600)
    assert left(2) == pytest.approx(6.25 * 3600)


def test_a_launch_on_two_devices_says_what_an_hour_of_both_costs() -> None:
    held = limits.limits(Wanted(budget="25USD", price="2USD"), time.time(), lambda: "", devices=2)
    plan = msgspec.structs.replace(fake_plan(), devices=TWO, slots=2, limits=held)
    assert "limit: an hour costs 4 USD for 2 devices (as given)" in list(foretold(plan, lambda: None))


def test_a_budget_given_to_a_training_is_of_all_its_devices(alone: ExperimentState) -> None:
    held = Limits(asked=NOW, budget=10, rate=Rate(hourly=2, currency="USD", devices=2))
    plan = msgspec.structs.replace(alone.plan, slots=2, devices=TWO, limits=held)
    changed = asked.of_training(msgspec.structs.replace(alone, plan=plan), Wanted(budget="20USD"))
    assert changed.rate is not None and (changed.budget, changed.rate.hourly, changed.rate.devices) == (20, 2, 2)
    fresh = msgspec.structs.replace(plan, limits=Limits())
    given = asked.of_training(msgspec.structs.replace(alone, plan=fresh), Wanted(budget="20USD"))
    assert given.rate is not None and given.rate.devices == 2 and "A100" in given.rate.basis


def test_two_devices_cost_twice_wherever_a_cost_is_told(alone: ExperimentState) -> None:
    gpu = hardware.named("H200")
    money = {
        name: hardware_table.row(known_of(state, hardware.gpus()), Question(), gpu)
        for name, state in (("alone", alone), ("both", msgspec.structs.replace(
            alone, plan=msgspec.structs.replace(alone.plan, slots=2, devices=TWO))))
    }
    one, two = money["alone"], money["both"]
    assert gpu.price is not None and two.money.low is not None and two.times.experiment.low is not None
    assert two.times.experiment.value is not None and one.times.experiment.value is not None
    assert two.times.experiment.value < 0.6 * one.times.experiment.value, "both train at once"
    assert two.money.low == pytest.approx(2 * two.times.experiment.low / 3600 * gpu.price.low)


def test_what_is_used_up_already_is_not_offered_again(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time was used up before it was stopped; a resume has the other half."""
    monkeypatch.setenv("FAKE_STEPS", "2000")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.02")
    paths = lab.launch(fake_plan(folds=1, restarts=1))
    lab.trainer(paths)
    control.request(paths, "stop_now")
    wait_until(lambda: Watch(paths.folder).poll().ended is not None, 60, "the stop")
    wait_until(lambda: not Watch(paths.folder).poll().supervisor_alive, 60, "the supervisor's end")
    held = Limits(asked=time.time() - 7200, seconds=4 * 3600.0)
    record = LimitSet(limits=held, elapsed=2 * 3600.0, boot_id=process.boot_id(), t=time.time(), m=time.monotonic())
    with Writer(paths.events) as book:
        book.write(record, sync=True)
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    write_json(paths.plan, msgspec.structs.replace(plan, limits=held))
    said = "\n".join(foretold_again(paths.folder, Watch(paths.folder).poll(), 0))
    now = time.time()
    assert any(limits.clock(now + 2 * 3600.0 + minutes * 60) in said for minutes in (-2, -1, 0, 1)), said


# ---------------------------------------------------------------- what fits


def test_the_first_of_two_side_by_side_is_done_before_both_are(alone: ExperimentState) -> None:
    both = on_two(alone)
    first, second = ends_after(both, 1), ends_after(both, 2)
    own = forecast(alone).run
    assert first.seconds is not None and second.seconds is not None and own.seconds is not None
    assert first.seconds == pytest.approx(own.seconds, rel=0.05)
    assert second.seconds > 1.05 * first.seconds
    fit = fit_of(both, (first.seconds + second.seconds) / 2)
    assert fit is not None and fit.runs == both.runs_finished + 1


def test_a_run_that_failed_for_good_is_not_said_to_fit(alone: ExperimentState) -> None:
    gone = msgspec.structs.replace(alone.runs[-1], phase="failed", failures=1)
    state = msgspec.structs.replace(alone, runs=(*alone.runs[:-1], gone))
    fit, every = fit_of(state, 1e9), fit_of(alone, 1e9)
    assert fit is not None and every is not None
    assert (fit.runs, every.runs) == (len(alone.runs) - 1, len(alone.runs))


def test_a_run_is_begun_beside_another_only_if_it_is_done_in_time_itself(
    alone: ExperimentState, tmp_path: Path
) -> None:
    """The other ends in a fifth of a run; a whole one takes five times as long."""
    state = on_two(alone, 1.0)
    whole = one_more(state)
    assert whole.low is not None and whole.seconds is not None
    beside = forecast(alone).run.seconds
    assert beside is not None and beside < 0.9 * whole.low, "the one under way has come some way"
    room = (beside + whole.low) / 2
    held = Limits(asked=time.time(), seconds=room, partial=False)
    plan = msgspec.structs.replace(state.plan, limits=held)
    with Writer(tmp_path / "events.jsonl") as book:
        guard = Guard(ExperimentPaths(tmp_path), plan, book, session=lambda _: None, look=lambda: state)
        guard.begin()
        refused = guard.unfit(9)
    assert refused is not None and not refused.begun
    assert refused.needed == pytest.approx(whole.low, rel=0.01)


def test_a_stop_waits_for_the_slowest_of_those_that_go_on(alone: ExperimentState) -> None:
    both = on_two(alone)
    place = next(at for at in both.under_way if at != both.current)
    slow = both.runs[place]
    slow = msgspec.structs.replace(
        slow, recent=[msgspec.structs.replace(line, high=line.high + 600.0) for line in slow.recent]
    )
    slower = msgspec.structs.replace(both, runs=(*both.runs[:place], slow, *both.runs[place + 1 :]))
    quick, long = stop_seconds(both), stop_seconds(slower)
    assert quick is not None and long is not None and long > quick + 600.0


# ---------------------------------------------------------------- a job's warning


def test_a_warning_to_the_whole_job_does_not_end_the_command_that_waits(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm sends --signal=USR1@300 to every process of a job's step, `steptop run --wait` among them."""
    toml = f'title = "fake"\ncommand = ["{sys.executable}", "-P", "{FAKE_TRAINER}"]\nepochs = 2\n[runs]\nfolds = 1\n'
    (tmp_path / "fake.toml").write_text(toml)
    folder = lab.logs / "fake"
    lab.folders.append(folder)
    env = os.environ | {"PYTHONPATH": str(ROOT), "FAKE_STEPS": "5000", "FAKE_STEP_SECONDS": "0.02"}
    command = [sys.executable, "-m", "tui.cli", "--logs", str(lab.logs), "run", "./fake.toml", "--wait"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as waiting:
        try:
            assert waiting.stdout is not None
            for line in waiting.stdout:
                if "epoch 1" in line:
                    break
            os.kill(waiting.pid, signal.SIGUSR1)
            info = read_json(ExperimentPaths(folder).supervisor, SupervisorInfo)
            assert info is not None
            os.kill(info.who.pid, signal.SIGUSR1)
            said = waiting.stdout.read()
            assert waiting.wait(60) == 3, "it waits until the training has stopped"
        finally:
            if waiting.poll() is None:
                waiting.kill()
    assert "SIGUSR1, a warning that the time is nearly over" in said
    assert Watch(folder).poll().phase == "stopped"


# ---------------------------------------------------------------- options


def asked_of(known: Known) -> Callable[[Question], hardware_table.HardwareRow]:
    return lambda question: hardware_table.row(known, question, None)


def test_what_is_decided_on_two_gpus_is_launched_on_two(alone: ExperimentState) -> None:
    known, question = known_of(alone, hardware.gpus()), Question(gpus=2)
    every = next(one for one in options(known, question, asked_of(known)) if one.title == "All runs")
    assert commands(known, question, every)[-1][-2:] == ("--devices", "0,1")
    one = options(known, question, asked_of(known))[0]
    assert all("--devices" not in words for words in commands(known, question, one)), "one run trains on one"
    assert "--devices" not in commands(known, question, one, here=False)[0]


def test_an_option_of_a_training_on_two_devices_keeps_them(alone: ExperimentState) -> None:
    known = known_of(on_two(alone), hardware.gpus())
    fewer = next(one for one in options(known, Question(), asked_of(known)) if one.title == "Fewer restarts")
    assert commands(known, Question(), fewer, here=False)[0][-2:] == ("--devices", "0,1")
    onward = commands(known, Question(), fewer)[-1]
    assert onward == ("steptop", "resume", known.name), "its folder has them"


def test_a_remark_names_the_option_that_trains_on_several(alone: ExperimentState) -> None:
    known, question = known_of(alone, hardware.gpus()), Question(gpus=2)
    said = " ".join(remarks(known, question, times(known, question)))
    assert "`--devices 0,1` trains 2 runs at a time" in said


def test_one_run_of_an_ablation_is_one_run(alone: ExperimentState) -> None:
    """Four variants: the first option trains one of them, and not one of each."""
    variants = {name: Variant(title=name) for name in ("a", "b", "c", "d")}
    experiment = msgspec.structs.replace(alone.plan.experiment, variants=variants)
    keys = tuple(msgspec.structs.replace(key, variant=name) for key in alone.plan.runs for name in variants)
    plan = msgspec.structs.replace(alone.plan, experiment=experiment, runs=keys)
    known = msgspec.structs.replace(known_of(alone, hardware.gpus()), plan=plan, runs=keys)
    found = options(known, Question(), asked_of(known))
    one, every = found[0], next(option for option in found if option.title == "All runs")
    assert (one.runs, one.variants, every.runs) == (1, ("a",), 4 * len(alone.plan.runs))
    assert one.timeline.value is not None and every.timeline.value is not None
    assert every.timeline.value == pytest.approx(every.runs * one.timeline.value, rel=0.1)
    (words,) = commands(known, Question(), one, here=False)
    assert words[words.index("--variants") + 1] == "a"
    assert any("every variant but a" in lost for lost in one.loses)


# ---------------------------------------------------------------- sessions and stages


PARTITIONS = """PartitionName=gpu MaxTime=2-00:00:00 State=UP TRES=cpu=64,mem=512G,node=2,gres/gpu:a100=8
PartitionName=any MaxTime=08:00:00 State=UP TRES=cpu=64
"""


def test_a_partition_is_of_the_gpus_it_names_or_of_this_machine(alone: ExperimentState) -> None:
    named, unnamed = session_limits.partitions(PARTITIONS)
    assert named.gpus == (hardware.named("a100").name,) and not named.here
    assert unnamed.gpus == () and unnamed.here
    known = known_of(alone, hardware.gpus())
    elsewhere = hardware_table.row(known, Question(), hardware.named("T4"), (named, unnamed))
    assert [one.session for one in elsewhere.sessions] == ["Slurm gpu"] and elsewhere.sessions[0].run == "not offered"
    here = hardware_table.row(known, Question(), known.gpu, (named, unnamed))
    assert [one.session for one in here.sessions] == ["Slurm gpu", "Slurm any"]


def test_a_stage_is_timed_as_its_command_trains(tmp_path: Path) -> None:
    """The experiment was measured with other knobs than those that the stage begins with."""
    folder = tmp_path / "logs" / "before"
    write_recording(folder, "quickstart", 1.5)
    own = launch.plan_for(launch.Request(experiment="quickstart", logs=tmp_path / "logs")).profile.knobs
    every = int(own["val_every_epochs"])
    paths = ExperimentPaths(folder)
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    profile = msgspec.structs.replace(plan.profile, knobs=plan.profile.knobs | {"val_every_epochs": every + 3})
    write_json(paths.plan, msgspec.structs.replace(plan, experiment_name="quickstart", profile=profile))

    def seconds(knobs: str) -> float:
        file = tmp_path / "mine.toml"
        head = 'title = "t"\nexperiment = "quickstart"\n[[stage]]\nname = "one"\nepochs = 12\nchecks = ["finished"]\n'
        file.write_text(head + knobs)
        [stage] = stages.progress(staged_plan.load(file), tmp_path / "logs", hardware.gpus(), ())
        assert stage.time.value is not None, stage.why
        return stage.time.value

    said = seconds("")
    assert said == pytest.approx(seconds(f"[stage.knobs]\nval_every_epochs = {every}\n"))
    assert said != pytest.approx(seconds(f"[stage.knobs]\nval_every_epochs = {every + 3}\n"))


@pytest.mark.parametrize("said", ["2026-02-31", "2026-13"])
def test_a_date_that_is_none_is_refused(tmp_path: Path, said: str) -> None:
    own = tmp_path / "hardware.toml"
    own.write_text(f'[[gpu]]\nname = "T4"\nprice = {{ low = 1, high = 2, currency = "USD", as_of = "{said}", source = "x" }}\n')
    with pytest.raises(UsageError, match="is no date"):
        hardware.gpus(own)
