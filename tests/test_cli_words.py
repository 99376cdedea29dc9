"""What the command line answers, in words: a stop that was asked for at launch, other knobs, names of recordings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from engine.config.catalog import experiment_named
from engine.config.experiment import resolve_profile
from engine.config.plan import Phase, Plan, Test
from engine.paths import ExperimentPaths, read_json, write_json
from engine.runs.joined import otherwise
from tests.conftest import fake_plan, wait_until
from tests.engine.test_notify import Hook
from tests.fake_trainer import open_gate
from tests.test_cli_limits import Typed, hook as hook, steptop as steptop
from tui.verbs.changing import relaunched

STOPPED = 3
AFTER = '["sh", "-c", "echo $STEPTOP_OUTCOME"]'


# ---------------------------------------------------------------- a stop that was asked for at launch


def test_a_command_for_the_end_is_not_run_while_a_run_waits_that_the_launch_left_for_later(
    steptop: Typed, hook: Hook
) -> None:
    words = ("--wait", "--on-finish", AFTER, "--notify", hook.url)
    said = steptop("run", "fake", "--stop-after-run", "1", *words, code=STOPPED)
    assert "note: the --on-finish command is not run if it stops after 1 run as asked; --on-finish-always runs" in said
    assert "on-finish command sh is not run after a stop that was asked for (see --on-finish-always)" in said
    wait_until(lambda: hook.events() == ["stopped"], what="the message")
    assert "`steptop resume fake` goes on" in steptop("status")
    said = steptop("resume", "--wait")
    assert "is not run" not in said
    log = ExperimentPaths(steptop.folder / "logs" / "fake").on_finish_log
    wait_until(lambda: log.is_file() and log.read_text() == "finished\n", what="the command, once")


def test_a_command_for_every_end_is_run_then_too(steptop: Typed) -> None:
    words = ("--on-finish", AFTER, "--on-finish-always", "--wait")
    said = steptop("run", "fake", "--stop-after-run", "1", *words, code=STOPPED)
    assert "is not run" not in said
    log = ExperimentPaths(steptop.folder / "logs" / "fake").on_finish_log
    wait_until(lambda: log.is_file() and log.read_text() == "stopped\n", what="the command")


def test_as_many_runs_as_there_are_is_the_end_and_no_stop(steptop: Typed) -> None:
    said = steptop("run", "fake", "--stop-after-run", "2", "--on-finish", AFTER, "--wait")
    assert "is not run" not in said
    log = ExperimentPaths(steptop.folder / "logs" / "fake").on_finish_log
    wait_until(lambda: log.is_file() and log.read_text() == "finished\n", what="the command")


# ---------------------------------------------------------------- what was before


def test_a_launch_that_finds_it_finished_tells_no_old_story(steptop: Typed) -> None:
    assert "before:" not in steptop("run", "fake", "--wait")
    said = steptop("run", "fake", "--open")
    assert "fake is finished already" in said
    assert re.search(r"^before: \d+ events; `steptop open fake` shows them$", said, re.MULTILINE)
    assert not re.search(r"^\d\d:\d\d:\d\d ", said, re.MULTILINE)


# ---------------------------------------------------------------- other knobs


def test_knobs_that_a_training_under_way_does_not_have_are_not_dropped_without_a_word(
    steptop: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GATE", "0.0")
    said = steptop("run", "fake", "--set", "prefetch_factor=7", "--stop-after-run", "1")
    assert re.search(r"profile \S+ with prefetch_factor=7$", said, re.MULTILINE)
    assert "with prefetch_factor=7 " in steptop("status")
    said = steptop("run", "fake", "--set", "prefetch_factor=5", code=2)
    assert "; its profile stays as it is; prefetch_factor=5: stop it first, then the same command" in said
    assert "profile stays" not in steptop("run", "fake", "--set", "prefetch_factor=7", code=2)
    assert "profile stays" not in steptop("run", "fake", code=2)
    open_gate(steptop.folder / "logs" / "fake")
    steptop("run", "fake", "--wait", code=STOPPED)
    typed = re.search(r"`steptop ([^`]*)` goes on", steptop("change", "--set", "prefetch_factor=5", code=2))
    assert typed is not None and typed[1] == "run fake --set prefetch_factor=5"
    assert "all 2 runs finished" in steptop(*shlex.split(typed[1]), "--wait")
    assert "another --name trains it anew" in steptop("change", "--set", "prefetch_factor=7", code=2)


def test_what_a_living_loader_takes_is_named_as_a_change() -> None:
    quickstart = experiment_named("quickstart")
    held = msgspec.structs.replace(fake_plan(), experiment=quickstart)
    wanted, _ = resolve_profile(quickstart, "x", "", {}, {"num_workers": 0, "compile": True})
    said = otherwise("mine", held, wanted, ("num_workers", "compile"))
    assert "`steptop change mine --set num_workers=0` sets what is asked for here" in said
    assert said.endswith("; compile=true: stop it first, then the same command")
    assert wanted.said == "x with num_workers=0, compile=true"


def test_a_launch_is_written_again_with_other_knobs_and_to_its_end() -> None:
    command = shlex.split("steptop run a --wait --profile p --set num_workers=1 --set=compile=true --stop-after-run=1")
    assert shlex.join(relaunched(command, "q", ["num_workers=2"])) == (
        "steptop run a --set compile=true --profile q --set num_workers=2"
    )


# ---------------------------------------------------------------- names and folders


def test_a_recording_is_named_like_an_experiment_and_what_has_no_table_has_a_reason(steptop: Typed) -> None:
    steptop("run", "fake", "--wait", "--stop-after-run", "1", code=STOPPED)
    told = steptop("replay", "fake", "--forecast")
    assert "fake, the experiment: it has not finished, so there is no truth" in told
    steptop("resume", "--wait")
    for word in ("fake", "logs/fake", str(steptop.folder / "logs" / "fake")):
        assert "fake, the experiment: it ended 2 times and was gone on with" in steptop("replay", word, "--forecast")
    assert "did you mean 'fake'" in steptop("replay", "fak", "--forecast", code=2)


def test_a_test_of_profiles_is_listed_as_one(steptop: Typed) -> None:
    steptop("run", "fake", "--wait")
    paths = ExperimentPaths(steptop.folder / "logs" / "fake")
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    test = Test(kind="bench", phases=(Phase(name="one", knobs={}),))
    write_json(paths.plan, msgspec.structs.replace(plan, test=test))
    assert re.search(r"^  fake  \w+ +a test of profiles \(bench\)$", steptop("experiments"), re.MULTILINE)


def test_an_empty_log_is_said_to_be_empty(steptop: Typed, tmp_path: Path) -> None:
    steptop("run", "fake", "--wait")
    said = steptop("logs", "fake", "--supervisor", "-n", "3")
    assert "supervisor.log is empty: the supervisor has printed nothing" in said


@pytest.mark.parametrize("words", ["bench quickstart --plan x", "estimate --nosuch"])
def test_an_option_of_another_verb_gets_the_usage_of_the_verb_that_was_typed(steptop: Typed, words: str) -> None:
    said = steptop(*shlex.split(words), code=2)
    assert said.startswith(f"usage: steptop {words.split()[0]} ")
    assert f"unrecognized arguments: {words[words.index('--') :]}" in said
