"""A training is launched detached, found again, stopped in three ways, and never misreported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import process
from engine.journals import journal
from engine.journals.events import RunEnded, RunStarted
from engine.journals.records import ExitInfo, ResultInfo
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.runs import control, launch
from tests.conftest import Laboratory, fake_plan, wait_until
from tui.verbs.common import CLEAN, left_over

ENDED = ("finished", "stopped", "failed", "lost")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Knobs of the stand-in trainer, inherited by supervisors started in the test."""
    for name, value in {"FAKE_EPOCHS": "2", "FAKE_STEPS": "10", "FAKE_STEP_SECONDS": "0.01"}.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch


def look(paths: ExperimentPaths) -> ExperimentState:
    return Watch(paths.folder).poll()


def step(paths: ExperimentPaths) -> int:
    run = look(paths).run
    return run.step if run else 0


def until_ended(paths: ExperimentPaths, seconds: float = 30.0) -> ExperimentState:
    wait_until(lambda: look(paths).phase in ENDED, seconds, "the experiment's end")
    return look(paths)


def about(paths: ExperimentPaths) -> list[str]:
    """Command lines of processes that name the experiment's folder: supervisors and samplers."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str(paths.folder) in words:
            lines.append(" ".join(words))
    return lines


def nothing_left(lab: Laboratory, paths: ExperimentPaths) -> None:
    """The universal check: no process of the experiment is alive, and its lock is free."""
    wait_until(lambda: not process.alive(lab.supervisor(paths).who), what="the supervisor's end")
    wait_until(lambda: not about(paths), what="the end of supervisor and sampler")
    for file in paths.folder.glob("fold_*/process.json"):
        info = lab.trainer(paths, *(int(word) for word in file.parent.name.split("_")[1::2]))
        assert process.holding(info.token) == []


def test_all_runs_are_trained_in_order_and_nothing_is_left_running(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    paths = lab.launch(fake_plan())
    state = until_ended(paths)
    assert state.phase == "finished"
    assert [run.phase for run in state.runs] == ["finished"] * 4
    order = [(r.fold, r.restart) for r in journal.read(paths.events) if isinstance(r, RunStarted)]
    assert order == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert state.ended is not None
    assert "nothing of it is left running" in state.ended.text
    nothing_left(lab, paths)


def test_every_folder_and_log_is_there_from_the_first_second(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.2")
    paths = lab.launch(fake_plan())
    for fold in (0, 1):
        for restart in (0, 1):
            assert paths.run(fold, restart).console.is_file()
    manifest = read_json(paths.manifest, dict)
    assert manifest is not None
    assert manifest["seeds"] == [42, 43]
    assert manifest["versions"]["torch"]
    assert manifest["configuration"]["epochs"] == 2
    assert paths.folder.stat().st_mode & 0o077 == 0


def test_stop_after_this_run_lets_it_finish_and_run_2_never_starts(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan())
    wait_until(lambda: step(paths) > 2, what="steps")
    control.request(paths, "stop_after_run", by="s")
    wait_until(lambda: (stop := look(paths).stop) is not None and stop.phase == "acknowledged", what="acknowledgement")
    assert look(paths).phase == "stopping"
    state = until_ended(paths)
    assert state.phase == "stopped"
    assert [run.phase for run in state.runs] == ["finished", "waiting", "waiting", "waiting"]
    assert state.runs[0].step == 20
    nothing_left(lab, paths)


def test_a_stop_is_taken_back(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    control.request(paths, "stop_after_run")
    wait_until(lambda: look(paths).phase == "stopping", what="stopping")
    control.request(paths, "stop_cancel")
    wait_until(lambda: look(paths).phase == "running", what="running again")
    assert until_ended(paths).phase == "finished"


def test_stop_after_run_1_at_launch(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    paths = lab.launch(fake_plan(stop_after_runs=1))
    state = until_ended(paths)
    assert state.phase == "stopped"
    assert state.runs_finished == 1
    launch.resume(paths.folder)
    wait_until(lambda: look(paths).phase == "finished", what="the rest")
    assert look(paths).runs_finished == 4


def test_stop_now_finishes_the_step_saves_and_ends_and_resume_goes_on(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "40")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 2, what="steps")
    control.request(paths, "stop_now")
    control.request(paths, "stop_now")
    state = until_ended(paths)
    assert state.phase == "stopped"
    run = state.runs[0]
    assert run.phase == "stopped"
    assert 2 < run.step < 80
    assert run.verdict is not None
    assert run.verdict.kind == "user_stop"
    nothing_left(lab, paths)
    fake.setenv("FAKE_STEP_SECONDS", "0.001")
    launch.resume(paths.folder)
    state = until_ended(paths)
    wait_until(lambda: look(paths).phase == "finished", what="the rest")
    state = look(paths)
    assert state.runs[0].attempt == 2
    assert state.runs[0].step == 80


def test_force_ends_a_trainer_that_ignores_everything(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_FAIL", "ignore_term")
    fake.setenv("FAKE_STEPS", "10000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    control.request(paths, "stop_now")
    wait_until(lambda: not control.pending(paths), what="acknowledgement")
    before = step(paths)
    wait_until(lambda: step(paths) > before, what="the trainer ignoring it")
    control.request(paths, "stop_force")
    state = until_ended(paths)
    assert state.phase == "stopped"
    assert state.runs[0].verdict is not None
    assert state.runs[0].verdict.kind == "forced"
    nothing_left(lab, paths)


def test_a_trainer_that_does_not_end_in_time_is_ended(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_FAIL", "ignore_term")
    fake.setenv("FAKE_STEPS", "10000")
    fake.setenv("STEPTOP_GRACE_SECONDS", "0.5")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    control.request(paths, "stop_now")
    state = until_ended(paths)
    assert state.runs[0].verdict is not None
    assert "did not end in time" in state.runs[0].verdict.text
    nothing_left(lab, paths)


def test_a_thousand_hangups_change_nothing(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.02")
    fake.setenv("FAKE_STEPS", "50")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    who, trainer = lab.supervisor(paths).who, lab.trainer(paths).who
    for _ in range(1000):
        assert process.signal_safely(who, signal.SIGHUP)
    for _ in range(100):
        process.signal_safely(trainer, signal.SIGHUP)
    assert until_ended(paths).phase == "finished"


def test_kill_9_of_the_supervisor_leaves_the_trainer_and_the_next_one_takes_it_over(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "40")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    trainer = lab.trainer(paths)
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    wait_until(lambda: not about(paths), what="the sampler following its supervisor")
    state = look(paths)
    assert state.phase == "running"
    assert state.trainer_alive
    before = state.run.step if state.run else 0
    wait_until(lambda: step(paths) > before, what="steps without a supervisor")
    assert launch.take_over(paths.folder)
    assert not launch.take_over(paths.folder)
    wait_until(lambda: look(paths).supervisor_alive, what="the new supervisor")
    assert process.alive(trainer.who)
    state = until_ended(paths)
    assert state.phase == "finished"
    assert [run.attempt for run in state.runs] == [1, 1]
    nothing_left(lab, paths)


def test_a_stop_that_was_acknowledged_outlives_its_supervisor(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "40")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    control.request(paths, "stop_after_run")
    wait_until(lambda: not control.pending(paths), what="acknowledgement")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    assert launch.take_over(paths.folder)
    state = until_ended(paths)
    assert state.phase == "stopped"
    assert [run.phase for run in state.runs] == ["finished", "waiting"]


def test_stop_after_run_2_counts_the_runs_of_the_supervisor_before(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "20")
    paths = lab.launch(fake_plan(folds=2, restarts=2, stop_after_runs=2))
    wait_until(lambda: look(paths).current == 1 and step(paths) > 0, what="run 2")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    assert launch.take_over(paths.folder)
    state = until_ended(paths)
    assert [run.phase for run in state.runs] == ["finished", "finished", "waiting", "waiting"]


def test_a_promise_of_two_more_runs_does_not_count_those_of_before_the_resume(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "20")
    paths = lab.launch(fake_plan(folds=2, restarts=2))
    wait_until(lambda: look(paths).current == 1 and step(paths) > 0, what="run 2")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    process.signal_safely(lab.trainer(paths, 0, 1).who, signal.SIGKILL)
    wait_until(lambda: look(paths).phase == "lost", 5, "lost")
    launch.resume(paths.folder, stop_after_runs=2)
    wait_until(lambda: (run := look(paths).run) is not None and run.attempt == 2 and run.step > 0, what="run 2 again")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    assert launch.take_over(paths.folder)
    state = until_ended(paths)
    assert [run.phase for run in state.runs] == ["finished", "finished", "finished", "waiting"]


def test_a_trainer_that_nobody_had_written_down_does_not_go_on_beside_the_next(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    """What a supervisor leaves that is killed between starting a trainer and writing process.json."""
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "40")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    trainer = lab.trainer(paths)
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: not look(paths).supervisor_alive, what="the kill")
    paths.run(0, 0).process.unlink()
    launch.resume(paths.folder)
    wait_until(lambda: not process.alive(trainer.who), what="the stray's end")
    assert until_ended(paths).phase == "finished"


def test_after_the_end_of_both_the_run_is_lost_and_resume_goes_on(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "40")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 12, what="steps")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    process.signal_safely(lab.trainer(paths).who, signal.SIGKILL)
    wait_until(lambda: look(paths).phase == "lost", 5, "lost")
    state = look(paths)
    assert state.runs[0].phase == "lost"
    assert state.verdict is not None
    assert "resume" in state.verdict.advice
    fake.setenv("FAKE_STEP_SECONDS", "0.001")
    launch.resume(paths.folder)
    wait_until(lambda: look(paths).phase == "finished", what="the rest")
    ends = [r for r in journal.read(paths.events) if isinstance(r, RunEnded)]
    assert [end.outcome for end in ends] == ["lost", "finished", "finished"]


def end(pids: tuple[int, ...]) -> None:
    for pid in pids:
        who = process.ident(pid)
        if who is not None:
            process.signal_safely(who, signal.SIGKILL)


def test_what_outlives_supervisor_and_trainer_is_listed_until_it_is_gone(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_SPAWN", "2")
    fake.setenv("FAKE_STEPS", "10000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    trainer = lab.trainer(paths)
    children = tuple(sorted(set(process.holding(trainer.token)) - {trainer.who.pid}))
    assert len(children) == 2
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    process.signal_safely(trainer.who, signal.SIGKILL)
    wait_until(lambda: look(paths).survivors == children, what="the trainer's children on the list")
    state = look(paths)
    assert state.phase == "lost"
    assert state.run is not None and state.run.survivors == children
    assert left_over(state) == f"still running: process {children[0]}, {children[1]}"
    assert state.verdict is not None and "ends what is left" in state.verdict.advice
    end(children)
    wait_until(lambda: not look(paths).survivors, what="an empty list")
    assert left_over(look(paths)) == CLEAN


def test_the_last_line_says_that_nothing_is_left_only_after_a_look(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    """A process of the experiment that no sweep knows: it has the folder, but no attempt's token."""
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    stray = subprocess.Popen(["sleep", "600"], env=os.environ | {process.FOLDER: str(paths.folder)})
    try:
        control.request(paths, "stop_force")
        state = until_ended(paths)
        assert state.ended is not None
        assert CLEAN not in state.ended.text
        assert state.survivors == (stray.pid,)
        assert left_over(state) == f"still running: process {stray.pid}"
        wait_until(lambda: not look(paths).supervisor_alive, what="the supervisor's end")
    finally:
        stray.kill()
        stray.wait()
    assert left_over(look(paths)) == CLEAN


def test_a_kill_before_the_first_checkpoint_says_that_it_starts_again(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_STEPS", "10000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    control.request(paths, "stop_force")
    verdict = until_ended(paths).runs[0].verdict
    assert verdict is not None
    assert "all its steps are lost" in verdict.text
    assert "starts this run again" in verdict.advice


def test_a_kill_after_a_checkpoint_says_that_it_goes_on(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_EPOCHS", "1000")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 10, what="an epoch")
    control.request(paths, "stop_force")
    verdict = until_ended(paths).runs[0].verdict
    assert verdict is not None
    assert "steps since the last checkpoint are lost" in verdict.text
    assert "goes on from the last checkpoint" in verdict.advice


def test_a_trainer_that_finished_while_nobody_looked_is_not_trained_again(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.02")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    process.signal_safely(lab.supervisor(paths).who, signal.SIGKILL)
    wait_until(lambda: read_json(paths.run(0, 0).result, ResultInfo), what="the trainer's last word")
    wait_until(lambda: look(paths).phase == "lost", 5, "lost")
    assert look(paths).runs[0].phase == "finished"
    launch.resume(paths.folder)
    wait_until(lambda: look(paths).phase == "finished", what="the rest")
    assert len(paths.run(0, 0).segments()) == 1


def test_killed_trainers_leave_no_orphans(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_SPAWN", "4")
    fake.setenv("FAKE_STEPS", "10000")
    paths = lab.launch(fake_plan(folds=2, restarts=1, stop_after_runs=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    trainer = lab.trainer(paths)
    assert len(process.holding(trainer.token)) == 5
    process.signal_safely(trainer.who, signal.SIGKILL)
    wait_until(lambda: read_json(paths.run(0, 0).exit, ExitInfo), what="exit.json")
    ended = read_json(paths.run(0, 0).exit, ExitInfo)
    assert ended is not None
    assert (ended.signal, ended.swept, ended.survivors) == (9, 4, ())
    assert process.holding(trainer.token) == []
    control.request(paths, "stop_force")
    state = until_ended(paths)
    assert state.runs[0].verdict is not None
    assert state.runs[0].verdict.kind in ("external_kill", "host_oom_kill")
    assert not state.runs[0].verdict.sure


@pytest.mark.parametrize(("fail", "kind"), [("exception", "crash"), ("nan", "nan_loss"), ("oom_text", "gpu_oom")])
def test_a_failed_run_says_why_and_the_others_are_trained(
    lab: Laboratory, fake: pytest.MonkeyPatch, fail: str, kind: str
) -> None:
    fake.setenv("FAKE_FAIL", fail)
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    state = until_ended(paths)
    assert state.phase == "failed"
    assert state.runs[0].verdict is not None
    assert state.runs[0].verdict.kind == kind
    assert [run.phase for run in state.runs] == ["failed", "failed"]


def test_two_failures_in_a_row_end_a_long_queue(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_FAIL", "exception")
    paths = lab.launch(fake_plan(folds=3, restarts=3))
    state = until_ended(paths)
    assert [run.phase for run in state.runs].count("failed") == 2
    assert any("the rest is not started" in sentence.text for sentence in state.sentences)


def test_a_result_of_another_configuration_is_kept_aside_and_trained_again(
    lab: Laboratory, fake: pytest.MonkeyPatch
) -> None:
    plan = fake_plan(folds=2, restarts=1)
    folder = lab.logs / plan.name
    launch.lay_out(folder, plan)
    smoke = folder / "fold_0_restart_0" / "results.json"
    smoke.write_text('{"config_hash": "one-epoch-smoke", "test_dice": 0.99}')
    paths = lab.launch(plan)
    state = until_ended(paths)
    assert state.phase == "finished"
    assert state.runs[0].step == 20
    assert (folder / "fold_0_restart_0" / "results.one-epoch-smoke.json").is_file()


def test_eight_launches_of_one_folder_give_one_supervisor(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    plan = fake_plan(folds=2, restarts=1)
    folder = lab.logs / plan.name
    lab.folders.append(folder)
    launch.lay_out(folder, plan)
    children = [
        subprocess.Popen([sys.executable, "-P", "-m", "engine.runs.supervisor", str(folder)], start_new_session=True)
        for _ in range(8)
    ]
    wait_until(lambda: sum(child.poll() == launch.LOCKED for child in children) == 7, what="seven refusals")
    assert until_ended(ExperimentPaths(folder)).phase == "finished"
    assert sorted(child.wait(10) for child in children) == [0] + [launch.LOCKED] * 7


def test_the_launcher_may_die_at_once(lab: Laboratory, fake: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a closed terminal does: the process group that launched is killed whole."""
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    plan = fake_plan(folds=2, restarts=1)
    folder = lab.logs / plan.name
    lab.folders.append(folder)
    launch.lay_out(folder, plan)
    program = f"import time\nfrom pathlib import Path\nfrom engine.runs.launch import supervise\nsupervise(Path({str(folder)!r}))\ntime.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    paths = ExperimentPaths(folder)
    wait_until(lambda: step(paths) > 0, what="steps")
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    before = step(paths)
    wait_until(lambda: step(paths) > before, what="steps after the terminal's end")
    assert until_ended(paths).phase == "finished"


def test_the_machine_is_sampled_while_training(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.05")
    fake.setenv("FAKE_STEPS", "100")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: any(sample.workers for sample in look(paths).samples), 20, "a sample with the trainer in it")
    sample = next(s for s in look(paths).samples if s.workers)
    assert sample.ram_total > sample.ram_available > 0
    assert sample.workers[0].pid == lab.trainer(paths).who.pid
    assert 0 < (sample.workers[0].uss or 0) <= sample.workers[0].rss
    assert sample.gpus or sample.gpu_reason
    control.request(paths, "stop_force")
    until_ended(paths)
    nothing_left(lab, paths)


def test_the_end_of_a_frozen_trainer_is_not_assumed(lab: Laboratory, fake: pytest.MonkeyPatch) -> None:
    fake.setenv("FAKE_STEP_SECONDS", "0.02")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    wait_until(lambda: step(paths) > 0, what="steps")
    trainer = lab.trainer(paths).who
    process.signal_safely(trainer, signal.SIGSTOP)
    time.sleep(0.5)
    state = look(paths)
    assert state.phase == "running"
    assert state.trainer_alive
    process.signal_safely(trainer, signal.SIGCONT)
    assert until_ended(paths).phase == "finished"
