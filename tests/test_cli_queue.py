"""What becomes of a folder's queue when a user types `run`, `queue` and `resume` in turn: nothing is lost unsaid."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Phase, Plan, Test
from engine.errors import UsageError
from engine.paths import ExperimentPaths, read_json, write_json
from engine.runs.joined import joined
from tests.conftest import Laboratory, fake_plan
from tests.fake_trainer import open_gate
from tests.test_cli_limits import Typed, stand

ENDED = 3


@pytest.fixture
def steptop(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    stand(tmp_path, lab, monkeypatch, ("fake", "other"), FAKE_EPOCHS="1", FAKE_STEPS="5")
    return Typed(tmp_path, capsys)


def queued(steptop: Typed, name: str = "fake") -> list[tuple[int, int]]:
    plan = read_json(ExperimentPaths(steptop.folder / "logs" / name).plan, Plan)
    assert plan is not None
    return [(key.fold, key.restart) for key in plan.runs]


def states(steptop: Typed) -> set[str]:
    """What every list says of the only experiment there is."""
    listed = json.loads(steptop("experiments", "--json"))["logs"]
    said = {steptop.status()["state"], *(one["state"] for one in listed)}
    said |= set(re.findall(r"^  fake +(\w+)", steptop("experiments"), re.MULTILINE))
    return said | set(re.findall(r"^fake  (\w+)", steptop("status"), re.MULTILINE))


# ---------------------------------------------------------------- `run` where there is a queue already


def test_a_run_that_names_other_runs_than_a_stopped_folder_has_leaves_its_queue_and_says_what_to_type(
    steptop: Typed,
) -> None:
    steptop("run", "fake", "--stop-after-run", "1", "--wait", code=ENDED)
    steptop("queue", "--add", "1,4")
    before = (steptop.folder / "logs" / "fake" / "plan.json").read_bytes()
    said = steptop("run", "fake", "--folds", "0", "--restarts", "2", code=2)
    assert "fake has 2 runs to do that are not asked for here (fold 1 restart 0, fold 1 restart 4): nothing was changed" in said
    assert (steptop.folder / "logs" / "fake" / "plan.json").read_bytes() == before
    assert not (steptop.folder / "logs" / "fake-2").exists()
    typed = re.findall(r"`steptop ([^`]*)`", said)
    assert typed == ["resume fake", "queue fake --add 0,1", "queue fake --add 0,1 --skip 1,0 --skip 1,4"]
    assert "another --name" in said
    steptop(*shlex.split(typed[1]))
    assert queued(steptop) == [(0, 0), (1, 0), (1, 4), (0, 1)]
    steptop(*shlex.split(typed[2].replace("--add 0,1 ", "")))
    assert queued(steptop) == [(0, 0), (0, 1)]
    assert "all 2 runs finished" in steptop(*shlex.split(typed[0]), "--wait")
    steptop("run", "fake", "--folds", "1", "--name", "other", "--wait")
    assert queued(steptop, "other") == [(1, 0)]


def test_a_run_that_names_no_runs_goes_on_with_all_that_its_folder_has_in_its_order(steptop: Typed) -> None:
    steptop("run", "fake", "--restarts", "2", "--stop-after-run", "1", "--wait", code=ENDED)
    steptop("queue", "--add", "0,7", "--first", "1,1", "--skip", "1,0")
    said = steptop("run", "fake", "--wait")
    assert "finished runs are kept; added to its queue: fold 1 restart 0" in said
    assert queued(steptop) == [(0, 0), (1, 1), (0, 1), (0, 7), (1, 0)]
    assert "all 5 runs finished" in said


def test_more_runs_of_a_finished_experiment_are_added_and_the_finished_ones_stay_in_its_results(
    steptop: Typed,
) -> None:
    steptop("run", "fake", "--folds", "1", "--wait")
    said = steptop("run", "fake", "--folds", "0", "--wait")
    assert "added to its queue: fold 0 restart 0" in said
    assert queued(steptop) == [(1, 0), (0, 0)]
    assert "all 2 runs finished" in said
    assert "finished already" in steptop("run", "fake", "--folds", "0", code=2)


def test_a_run_beside_one_under_way_says_how_what_it_asks_for_gets_into_that_one_s_queue(
    steptop: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GATE", "0.0")
    steptop("run", "fake")
    assert "`steptop queue fake --add 1,1`" not in steptop("run", "fake", code=2)
    said = steptop("run", "fake", "--folds", "1", "--restarts", "2", code=2)
    assert "already running" in said and "its queue stays as it is, `steptop queue fake --add 1,1` adds" in said
    steptop("queue", "fake", "--add", "1,1")
    assert queued(steptop) == [(0, 0), (1, 0), (1, 1)]
    open_gate(steptop.folder / "logs" / "fake")
    assert "all 3 runs finished" in steptop("run", "fake", "--wait")


def test_the_folder_of_a_test_of_profiles_is_no_training_to_go_on_with(steptop: Typed) -> None:
    steptop("run", "fake", "--name", "other", "--wait")
    paths = ExperimentPaths(steptop.folder / "logs" / "other")
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    test = Test(kind="bench", phases=(Phase(name="one", knobs={}),))
    write_json(paths.plan, msgspec.structs.replace(plan, test=test))
    assert "another configuration (a test of profiles" in steptop("run", "fake", "--name", "other", code=2)


def test_an_order_that_is_typed_holds_for_what_waits_in_the_folder() -> None:
    held, wanted = fake_plan(), fake_plan()
    runs = held.runs
    turned = fake_plan(restarts=3)
    found = joined("x", held, turned, {runs[0].at}, some=True, reorder=True)
    assert found.runs == turned.runs
    assert [key.at for key in found.added] == [(0, 2, ""), (1, 2, "")]
    assert joined("x", held, wanted, set(), some=True).said == ""


def test_of_many_runs_a_command_says_how_each_is_written() -> None:
    with pytest.raises(UsageError) as refused:
        joined("x", fake_plan(restarts=20), fake_plan(restarts=1), set(), some=True)
    said = str(refused.value)
    assert "fold 0 restart 1, fold 0 restart 2, fold 0 restart 3 and 35 more" in said
    assert "--skip 0,8 … and so on for 30 more`" in said
    assert "--add" not in said


# ---------------------------------------------------------------- a finished experiment gets more runs


def test_runs_added_to_a_finished_experiment_make_it_resumable_and_every_list_says_so(steptop: Typed) -> None:
    steptop("run", "fake", "--wait")
    assert states(steptop) == {"finished"}
    said = steptop("queue", "--add", "0,3")
    assert said.strip() == "fake: added: fold 0 restart 3; `steptop resume fake` begins it"
    assert states(steptop) == {"stopped"}
    found = steptop.status()
    assert found["runs_finished"] == 2
    assert found["verdict"]["kind"] == "added"
    text = steptop("status")
    assert "it had finished before 1 run was added: fold 0 restart 3" in text
    assert "`steptop resume fake` trains what was added" in text
    assert text.count("fold 0 restart 3") == 1
    said = steptop("resume", "--wait")
    assert "all 3 runs finished" in said and "all 2 runs finished" not in said
    assert re.search(r"^before: \d+ events; `steptop open fake` shows them$", said, re.MULTILINE)
    assert states(steptop) == {"finished"}


def test_what_was_added_and_left_out_again_leaves_it_finished(steptop: Typed) -> None:
    steptop("run", "fake", "--wait")
    steptop("queue", "--add", "0,3")
    assert steptop("queue", "--skip", "0,3").strip() == "fake: changed; it is finished"
    assert states(steptop) == {"finished"}
    assert "finished already" in steptop("resume", code=2)


def test_a_run_that_could_not_be_added_either_is_not_said_to_be_addable(steptop: Typed) -> None:
    steptop("run", "fake", "--stop-after-run", "1", "--wait", code=ENDED)
    said = steptop("queue", "--first", "9,9", code=2)
    assert "no fold 9: the experiment has folds 0 to 1" in said
    assert "--add" not in said
    assert "--add makes it one" in steptop("queue", "--first", "1,9", code=2)
    steptop("queue", "--add", "1,9", "--first", "1,9")
    assert queued(steptop) == [(0, 0), (1, 9), (1, 0)]
