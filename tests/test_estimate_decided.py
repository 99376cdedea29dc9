"""What `steptop estimate --decide N` prints, typed: it brings about what was decided, in the folder asked about."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from engine.config.plan import Plan
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from tests.conftest import Laboratory, has_ended, wait_until
from tests.fake_trainer import open_gate
from tests.test_cli import EXPERIMENT
from tests.test_cli_limits import Typed, stand

ENDED = 3


@pytest.fixture
def steptop(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    experiment = EXPERIMENT.replace("restarts = 1", "restarts = 3")
    stand(tmp_path, lab, monkeypatch, ("fake", "mine", "mine-2"), experiment)
    return Typed(tmp_path, capsys)


def decided(steptop: Typed, *words: str) -> list[list[str]]:
    """The commands that are printed, behind `steptop`."""
    lines = steptop("estimate", "mine", *words).splitlines()
    assert lines[0].startswith("decided: ")
    return [shlex.split(line)[1:] for line in lines[1:] if line.startswith("steptop ")]


def runs(steptop: Typed, name: str = "mine") -> dict[str, str]:
    """Run -> phase, in the queue's order."""
    lines = (line.split() for line in steptop("queue", name).splitlines())
    return {f"{words[2]},{words[4]}": words[5] for words in lines}


def plan(steptop: Typed, name: str = "mine") -> Plan:
    found = read_json(ExperimentPaths(steptop.folder / "logs" / name).plan, Plan)
    assert found is not None
    return found


def test_the_runs_asked_about_are_those_of_the_folders_queue(steptop: Typed) -> None:
    steptop("run", "fake", "--name", "mine", "--restarts", "2", "--stop-after-run", "1", "--wait", code=ENDED)
    steptop("queue", "mine", "--skip", "1,1", "--add", "0,2")
    said = steptop("estimate", "mine")
    assert said.startswith("mine (fake): 4 runs (some of 2 folds × 3 restarts) of 2 epochs of 10 steps")
    assert "2. All runs, 4 runs: " in said and "4 runs, some of 2 folds × 3 restarts: mean ± std" in said
    assert "3. Fewer restarts, 2 runs: " in said and "than of all 4 runs" in said
    found = json.loads(steptop("estimate", "mine", "--json"))
    assert [one["runs"] for one in found["options"]] == [1, 4, 2] and found["asked"]["runs"] == 4
    fewer = decided(steptop, "--decide", "3")
    assert fewer == [["queue", "mine", "--skip", "0,1", "--skip", "0,2"], ["resume", "mine"]]
    for words in fewer:
        steptop(*words, *(["--wait"] if words[0] == "resume" else []))
    assert runs(steptop) == {"0,0": "finished", "1,0": "finished"}
    held = json.loads((steptop.folder / "logs" / "mine" / "decision.json").read_text())
    assert [held["command"], *held["then"]] == [["steptop", *words] for words in fewer]


def test_all_of_a_stopped_folder_with_other_workers_goes_on_in_it(steptop: Typed) -> None:
    steptop("run", "fake", "--name", "mine", "--folds", "1", "--stop-after-run", "1", "--wait", code=ENDED)
    (words,) = decided(steptop, "--decide", "2", "--set", "num_workers=2")
    assert words[:4] == ["run", "fake", "--name", "mine"]
    assert "all 3 runs finished" in steptop(*words, "--wait")
    assert list(runs(steptop)) == ["1,0", "1,1", "1,2"] and plan(steptop).profile["num_workers"] == 2
    assert "it is done: nothing to start" in steptop("estimate", "mine", "--decide", "2")


def test_one_run_of_a_folder_that_has_one_is_done_and_names_no_finished_run(steptop: Typed) -> None:
    steptop("run", "fake", "--name", "mine", "--folds", "0", "--stop-after-run", "1", "--wait", code=ENDED)
    said = steptop("estimate", "mine", "--decide", "1")
    assert said.splitlines()[1:] == ["it is done: nothing to start, `steptop results mine` shows it"]


def test_one_run_of_a_folder_that_has_none_yet_stops_after_it(steptop: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    steptop("run", "fake", "--name", "mine", "--folds", "0")
    paths = ExperimentPaths(steptop.folder / "logs" / "mine")
    wait_until(lambda: Watch(paths.folder).poll().runs[0].step > 60, what="steps")
    steptop("stop", "mine", "--now")
    wait_until(lambda: has_ended(paths), what="the stop")
    assert "finished" not in runs(steptop).values()
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0")
    (words,) = decided(steptop, "--decide", "1")
    assert words == ["resume", "mine", "--stop-after-run", "1"]
    steptop(*words, "--wait", code=ENDED)
    assert list(runs(steptop).values()) == ["finished", "waiting", "waiting"]


def test_of_a_training_that_goes_on_its_queue_is_changed(steptop: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GATE", "0.1")
    steptop("run", "fake", "--name", "mine", "--restarts", "2")
    paths = ExperimentPaths(steptop.folder / "logs" / "mine")
    wait_until(lambda: (found := runs(steptop))["0,0"] == "finished" and found["0,1"] == "running", what="the gate")
    (more,) = decided(steptop, "--decide", "2", "--restarts", "3")
    assert more == ["queue", "mine", "--add", "0,2", "--add", "1,2"]
    (fewer,) = decided(steptop, "--decide", "3")
    assert fewer == ["queue", "mine", "--skip", "1,1"], "what goes on is not taken out"
    steptop(*fewer)
    assert list(runs(steptop)) == ["0,0", "0,1", "1,0"]
    open_gate(paths.folder)
    wait_until(lambda: has_ended(paths), what="the end")
    assert set(runs(steptop).values()) == {"finished"}


def test_another_number_of_epochs_is_another_training_in_a_folder_of_its_own(steptop: Typed) -> None:
    steptop("run", "fake", "--name", "mine", "--restarts", "1", "--stop-after-run", "1", "--wait", code=ENDED)
    (words,) = decided(steptop, "--decide", "1", "--epochs", "3")
    steptop(*words, "--wait")
    name = words[words.index("--name") + 1] if "--name" in words else "fake"
    assert list(runs(steptop, name)) == ["0,0"] and plan(steptop, name).experiment.epochs == 3
    assert list(runs(steptop)) == ["0,0", "1,0"], "that one stays as it is"


@pytest.mark.parametrize(("words", "said"), [(["--wish", "banana"], "--wish 'banana'"), (["--decide", "9"], "1 to 3")])
def test_what_cannot_be_asked_is_refused_before_anything_is_read(steptop: Typed, words: list[str], said: str) -> None:
    """There is no such training: had it been looked for, that would be said."""
    found = steptop("estimate", "nothing", *words, code=2)
    assert said in found and not re.search("no experiment called", found)
