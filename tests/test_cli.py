"""The command line as a user types it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import process
from engine.paths import ExperimentPaths
from tests.conftest import FAKE_TRAINER, Laboratory, wait_until
from tests.fake_trainer import open_gate
from tui.cli import parsed

EXPERIMENT = f"""
title = "stand-in"
command = [{json.dumps(sys.executable)}, "-P", {json.dumps(str(FAKE_TRAINER))}]
epochs = 2
[runs]
folds = 2
restarts = 1
"""
HOSTILE = "\x1b]52;c;ZXZpbA==\x07[red]x[/red]\x1b[2J"


class Shell:
    """A folder to stand in, with an experiment of one's own, and `steptop` to type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = os.environ | {"FAKE_EPOCHS": "2", "FAKE_STEPS": "10", "FAKE_STEP_SECONDS": "0.01"}
        (folder / "experiments").mkdir()
        (folder / "experiments" / "fake.toml").write_text(EXPERIMENT)

    def __call__(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tui.cli", *words], cwd=self.folder, env=self.environ, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )
        if code is not None:
            assert done.returncode == code, done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return done

    def status(self, *words: str) -> dict:  # type: ignore[type-arg]
        return json.loads(self("status", "--json", *words).stdout)  # type: ignore[no-any-return]


@pytest.fixture
def steptop(tmp_path: Path, lab: Laboratory) -> Shell:
    lab.folders += [tmp_path / "logs" / name for name in ("fake", "fake-2", "other")]
    return Shell(tmp_path)


def test_run_is_detached_and_prints_the_folder_last(steptop: Shell) -> None:
    done = steptop("run", "fake")
    folder = Path(done.stdout.splitlines()[-1])
    assert folder == steptop.folder / "logs" / "fake"
    assert "closing this terminal changes nothing" in done.stdout
    wait_until(lambda: steptop.status()["state"] == "finished", what="the end")


def test_run_wait_follows_to_the_end_with_plain_lines(steptop: Shell) -> None:
    done = steptop("run", "fake", "--wait")
    assert "run 2 finished" in done.stdout
    assert "all 2 runs finished" in done.stdout


def test_without_a_terminal_open_follows_instead(steptop: Shell) -> None:
    assert "all 2 runs finished" in steptop("run", "fake", "--open").stdout
    assert "finished already" in steptop("run", "fake", "--open").stdout


def test_status_tells_the_whole_contract_while_it_trains(steptop: Shell) -> None:
    steptop.environ |= {"FAKE_STEP_SECONDS": "0.05", "FAKE_STEPS": "400"}
    steptop("run", "fake")
    wait_until(lambda: (run := steptop.status()["run"]) is not None and run["step"] > 0, what="steps")
    status = steptop.status("fake")
    assert status["state"] == "running"
    assert status["run"]["index"] == 1
    assert (status["run"]["total"], status["run"]["epochs"], status["run"]["steps_per_epoch"]) == (2, 2, 400)
    assert set(status["spans"]) >= {"data", "h2d", "forward", "loss", "backward", "optimizer"}
    assert set(status["forecast"]) >= {"epoch", "run", "experiment"}
    assert set(status["forecast"]["run"]) == {"seconds", "low", "high", "at", "basis"}
    assert status["machine"]["cores"] is None or status["machine"]["cores"] >= 1
    assert status["stop"] is None
    text = steptop("status").stdout
    assert "fake  running" in text
    assert "`steptop resume fake` starts this run again" in steptop("stop", "--force").stdout
    wait_until(lambda: steptop.status()["state"] == "stopped", what="the stop")
    assert steptop.status()["verdict"]["kind"] == "forced"
    assert steptop.status()["verdict"]["advice"].startswith("`steptop resume fake` ")


def test_status_gives_a_training_that_lost_its_supervisor_a_new_one(steptop: Shell, lab: Laboratory) -> None:
    steptop.environ |= {"FAKE_GATE": "0.0"}
    steptop("run", "fake", "--stop-after-run", "1")
    paths = ExperimentPaths(steptop.folder / "logs" / "fake")
    trainer, first = lab.trainer(paths), lab.supervisor(paths)
    process.signal_safely(first.who, signal.SIGKILL)
    wait_until(lambda: not process.alive(first.who), what="the kill")
    assert "its supervisor is gone; the training goes on" in steptop("--readonly", "status").stdout
    assert not process.alive(lab.supervisor(paths).who)
    found = steptop.status()
    assert (found["supervisor_alive"], found["trainer_alive"], found["state"]) == (True, True, "running")
    assert (found["stop"]["phase"], found["stop"]["after_runs"]) == ("planned", 1)
    assert process.alive(trainer.who)
    text = steptop("status").stdout
    assert "supervisor is gone" not in text
    assert "stop after this run: planned" in text
    open_gate(paths.folder)
    wait_until(lambda: steptop.status()["state"] == "stopped", what="the promised stop")


def test_stop_after_run_is_pending_cancellable_and_happens(steptop: Shell) -> None:
    steptop.environ |= {"FAKE_GATE": "0.0"}
    steptop("run", "fake")
    assert "stops after the present run" in steptop("stop").stdout
    assert steptop.status()["stop"]["mode"] == "after_run"
    assert "cancelled" in steptop("stop", "--cancel").stdout
    assert steptop.status()["stop"] is None
    steptop("stop", "--after-run")
    open_gate(steptop.folder / "logs" / "fake")
    wait_until(lambda: steptop.status()["state"] == "stopped", 40, "the stop")
    assert steptop.status()["runs_finished"] == 1
    assert "all 2 runs finished" in steptop("resume", "--wait").stdout


def test_a_second_launch_of_a_running_experiment_is_refused_and_nothing_is_lost(steptop: Shell) -> None:
    steptop.environ |= {"FAKE_GATE": "0.0"}
    steptop("run", "fake")
    done = steptop("run", "fake", code=2)
    assert "already running" in done.stderr
    assert steptop.status()["state"] in ("running", "queued")
    steptop("stop", "--force")
    wait_until(lambda: steptop.status()["state"] == "stopped", what="the stop")


def test_another_configuration_gets_a_folder_of_its_own(steptop: Shell) -> None:
    steptop("run", "fake", "--wait", "--epochs", "1")
    done = steptop("run", "fake", "--wait")
    assert "holds another configuration; this one is fake-2" in done.stdout
    done = steptop("run", "fake", "--name", "fake", code=2)
    assert "holds another configuration (epochs 1)" in done.stderr
    done = steptop("status", code=2)
    assert "several experiments" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "fak"), "did you mean 'fake'"),
        (("run", "quikstart"), "did you mean 'quickstart'"),
        (("run", "fake", "--profile", "moderat"), "did you mean 'moderate'"),
        (("run", "fake", "--set", "num_worker=2"), "did you mean 'num_workers'"),
        (("run", "fake", "--set", "num_workers=many"), "whole number, 0 to 64"),
        (("run", "fake", "--set", "num_workers"), "write it as knob=value"),
        (("run", "fake", "--folds", "0,x"), "write fold numbers with commas"),
        (("run", "fake", "--folds", "7"), "no fold 7"),
        (("run", "fake", "--epochs", "0"), "a whole number, 1 or more"),
        (("run", "fake", "--devices", "tpu"), "it is auto, cpu or a CUDA device's number"),
        (("run", "fake", "--devices", "0,0"), "each once; `--slots 2` puts that many runs on what is named"),
        (("run", "quickstart", "--devices", "97,98"), "CUDA device 97"),
        (("run", "fake", "--slots", "4000"), "every run needs one of its own"),
        (("queue", "nothing"), "holds none"),
        (("run", "quickstart", "--devices", "cuda:97"), "CUDA device 97"),
        (("run", "fake", "--name", "../evil"), "cannot be an experiment's name"),
        (("run", "fake", "--name", ""), "cannot be an experiment's name"),
        (("run", "fake", "--logs", "/proc/nowhere"), "cannot be written"),
        (("run", "arc-meshnet26"), "--data DIR"),
        (("run", "arc-meshnet26", "--data", "/nowhere"), "there is no such folder"),
        (("status",), "holds no experiment"),
        (("status", "nothing"), "holds none"),
        (("stop",), "holds no experiment"),
        (("results", "x"), "holds none"),
        (("replay", "nowhere"), "nowhere is not an experiment"),
        (("open", "nothing"), "no experiment 'nothing'"),
        (("--theme", "nope", "status"), "no theme called 'nope'"),
        (("--theme", "drak", "experiments"), "did you mean 'dark'"),
        (("open", "nothing", "--theme", HOSTILE), "no theme called"),
        (("stauts",), "no verb called 'stauts'; did you mean 'status'?"),
        ((HOSTILE,), "no verb called"),
        (("--interval", "-5"), "a number from 0.25 to 10"),
        (("replay", "nowhere", "--speed", "nan"), "a number from 0.1"),
        (("replay", "nowhere", "--at", "2"), "a number from 0 to 1"),
        (("logs", "-n", "-3"), "a whole number, 1 or more"),
        (("run", HOSTILE), "no experiment called"),
        (("status", HOSTILE), "holds none"),
        ((), "needs a terminal"),
    ],
)
def test_bad_input_gets_a_clear_error_and_exit_code_2(steptop: Shell, words: tuple[str, ...], said: str) -> None:
    done = steptop(*words, code=2)
    assert said in done.stderr
    assert not (steptop.folder / "logs" / "fake").exists()


def test_a_failed_training_says_why_and_exits_with_1(steptop: Shell) -> None:
    steptop.environ |= {"FAKE_FAIL": "oom_text"}
    done = steptop("run", "fake", "--wait", code=1)
    assert "the GPU's memory was full" in done.stdout
    assert "batch_size" in done.stdout


def test_logs_shows_the_output_without_what_a_terminal_would_obey(steptop: Shell) -> None:
    steptop("run", "fake", "--wait")
    console = ExperimentPaths(steptop.folder / "logs" / "fake").run(1, 0).console
    console.write_bytes(HOSTILE.encode() + b"\nlast line\n\xff\xfe\n")
    done = steptop("logs", "--run", "1,0")
    assert "[red]x[/red]" in done.stdout
    assert "last line" in done.stdout
    assert "\x07" not in done.stdout


def test_experiments_and_profiles_list_what_there_is(steptop: Shell) -> None:
    assert "fake" in steptop("experiments").stdout
    assert "(yours)" in steptop("experiments").stdout
    listed = json.loads(steptop("profiles", "--json").stdout)
    assert {"conservative", "moderate", "aggressive"} <= {profile["name"] for profile in listed["profiles"]}
    found = json.loads(steptop("experiments", "--json").stdout)
    assert "fake" in {entry["name"] for entry in found["experiments"]}
    text = steptop("profiles").stdout
    for knob in listed["knobs"]:
        assert knob["name"] in text
        assert knob["help"] in text


def test_options_of_the_screen_may_stand_before_the_verb() -> None:
    options = parsed(["--readonly", "--ascii", "--logs", "there", "open", "x"])
    assert (options.readonly, options.ascii, options.logs, options.low_bandwidth) == (True, True, Path("there"), False)
    options = parsed(["open", "x", "--readonly"])
    assert (options.readonly, options.logs, options.theme) == (True, Path("logs"), None)


def test_the_commands_answer_quickly_enough_to_be_typed_often(steptop: Shell) -> None:
    """No figure here (a loaded machine is slow): only that no verb loads torch or textual."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-P", "-m", "tui.cli", "experiments"], cwd=steptop.folder,
        capture_output=True, text=True, check=True,
    )
    assert "torch" not in done.stderr
    assert "textual" not in done.stderr


def test_a_folder_called_engine_where_the_user_stands_is_not_imported(steptop: Shell) -> None:
    (steptop.folder / "engine").mkdir()
    (steptop.folder / "engine" / "__init__.py").write_text("raise RuntimeError('wrong engine')")
    steptop("run", "fake")
    deadline = time.monotonic() + 20
    while steptop.status()["state"] != "finished" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert steptop.status()["state"] == "finished"
