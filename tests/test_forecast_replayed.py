"""Recorded runs foretold again: `steptop replay --forecast`, what is remembered of them, and what a later launch gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Plan
from engine.errors import UsageError
from engine.eta import timings
from engine.eta.earlier import Earlier
from engine.eta.forecast import forecast
from engine.eta.replayed import foretold, residuals
from engine.journals.events import RunEnded, SupervisorStarted
from engine.journals.journal import read, write_all
from engine.journals.records import SupervisorInfo
from engine.live.replay import Replay
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json, timings_file, write_json
from engine.process import ident
from tests.recordings import write_recording
from tests.tui.conftest import view
from tui.widgets.finish import finish_lines
from tui.widgets.ladder import ladder_lines
from tui.widgets.line import text_of, width_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished experiment of four runs, and one that is in its second."""
    folder = tmp_path_factory.mktemp("logs")
    write_recording(folder / "whole", "quickstart", 4.0)
    write_recording(folder / "half", "quickstart", 1.5)
    return folder


def steptop(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui.cli", *words], capture_output=True, text=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL
    )


# ---------------------------------------------------------------- forecast against truth


def test_every_percent_of_every_finished_run_has_its_line(logs: Path) -> None:
    found = [one for one in foretold(logs / "whole") if one.rung == "run"]
    runs = list(dict.fromkeys(one.run for one in found))
    assert runs == [f"whole/fold {fold} restart {restart}" for fold in (0, 1) for restart in (0, 1)]
    for run in runs:
        own = [one for one in found if one.run == run]
        assert [one.percent for one in own] == sorted({one.percent for one in own})
        assert own[-1].percent == 100 and len(own) > 50
        assert len({round(one.true_total, 6) for one in own}) == 1
        assert abs(own[-1].error) < 0.05
    last = [one for one in found if one.run == runs[-1]]
    assert all(abs(one.error) < 0.1 for one in last)
    assert any("from 3 earlier runs" in one.basis for one in last)


def test_the_truth_of_the_experiment_and_of_epochs_is_known_too(logs: Path) -> None:
    found = foretold(logs / "whole", every=10)
    events = read(ExperimentPaths(logs / "whole").events)
    took = sum(event.seconds for event in events if isinstance(event, RunEnded))
    whole = [one for one in found if one.rung == "experiment"]
    assert whole[0].true_total == pytest.approx(took, rel=0.1)
    assert {one.rung for one in found} == {"run", "epoch", "experiment"}
    assert all(one.truth >= 0 for one in found)


def test_an_unfinished_run_has_no_truth(logs: Path) -> None:
    assert {one.run for one in foretold(logs / "half")} == {"half/fold 0 restart 0"}


def test_a_wall_clock_that_was_set_changes_no_figure(logs: Path, tmp_path: Path) -> None:
    shutil.copytree(logs / "whole", tmp_path / "whole")
    paths = ExperimentPaths(tmp_path / "whole")
    begun = read(paths.events)[0].m
    for file in (paths.events, *paths.folder.glob("fold_*/steps-001.jsonl")):
        records = [msgspec.structs.replace(r, t=r.t - 3600.0 * (r.m > begun + 60)) for r in read(file)]
        file.unlink()
        write_all(file, records)
    usual, set_back = (foretold(folder, every=20) for folder in (logs / "whole", tmp_path / "whole"))
    assert [(one.gone, one.truth) for one in usual] == pytest.approx([(one.gone, one.truth) for one in set_back])
    assert [one.seconds for one in usual] == pytest.approx([one.seconds for one in set_back])


def test_the_command_prints_the_table_without_a_terminal(logs: Path) -> None:
    done = steptop("replay", str(logs / "whole"), "--forecast", "--every", "10")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "whole/fold 0 restart 0"
    assert lines[1].split() == ["%", "gone", "total", "low", "high", "truth", "error", "inside", "basis"]
    assert sum(line.lstrip().startswith("from ") and "the 90 % range held" in line for line in lines) == 8
    assert sum(" yes " in line or " NO " in line for line in lines) >= 72
    runs = [f"whole/fold {fold} restart {restart}" for fold in (0, 1) for restart in (0, 1)]
    assert [line for line in lines if line.startswith("whole/")] == [name for run in runs for name in (run, f"{run}: the experiment")]


def test_of_one_run_the_experiment_is_the_run_and_is_not_said_twice(logs: Path, tmp_path: Path) -> None:
    shutil.copytree(logs / "whole", tmp_path / "alone")
    plan = read_json(ExperimentPaths(tmp_path / "alone").plan, Plan)
    assert plan is not None
    write_json(ExperimentPaths(tmp_path / "alone").plan, msgspec.structs.replace(plan, runs=plan.runs[:1]))
    done = steptop("replay", str(tmp_path / "alone"), "--forecast", "--every", "10")
    assert done.returncode == 0, done.stderr
    assert "the experiment" not in done.stdout and done.stdout.count("the 90 % range held") == 1


def test_as_json_with_its_mean_error_and_coverage(logs: Path) -> None:
    done = steptop("replay", str(logs / "whole"), "--forecast", "--json", "--run", "1,0")
    body = json.loads(done.stdout)
    (run,) = body["runs"]
    assert (body["format"], run["run"]) == (1, "whole/fold 1 restart 0")
    errors = [abs(one["error"]) for one in run["percents"] if one["percent"] >= 2]
    assert run["mean_error"] == pytest.approx(sum(errors) / len(errors))
    assert 0 <= run["inside"] <= 1
    assert {"percent", "step", "gone", "total", "low", "high", "truth", "error", "inside", "basis"} == set(run["percents"][0])
    whole = run["experiment"]
    assert set(whole) == set(run) - {"run", "experiment"}
    assert whole["seconds"] > 3 * run["seconds"] and whole["percents"][0]["total"] > 3 * run["percents"][0]["total"]
    half = json.loads(steptop("replay", str(logs / "half"), "--forecast", "--json").stdout)
    assert half["runs"][0]["experiment"] is None, "it has not ended"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--run", "7,7"), "run 7,7 has not finished"),
        (("--run", "first"), "--run 'first': write fold and restart with a comma, as 0,3"),
        (("--every", "0"), "it is a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_told_is_said_with_exit_code_2(logs: Path, words: tuple[str, ...], said: str) -> None:
    done = steptop("replay", str(logs / "whole"), "--forecast", *words)
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_a_folder_that_is_no_experiment(tmp_path: Path) -> None:
    done = steptop("replay", str(tmp_path), "--forecast")
    assert done.returncode == 2 and "has no readable plan.json" in done.stderr
    with pytest.raises(UsageError):
        foretold(tmp_path)


# ---------------------------------------------------------------- what is remembered


@pytest.fixture
def fresh(logs: Path, tmp_path: Path) -> Path:
    for name in ("whole", "half"):
        shutil.copytree(logs / name, tmp_path / name)
    return tmp_path


def test_what_ended_is_read_once_and_made_anew_where_it_is_missing(fresh: Path) -> None:
    known = timings.refresh(fresh)
    assert {entry.name for entry in known.experiments} == {"whole", "half"}
    assert timings_file(fresh).exists()
    stamp = timings_file(fresh).stat().st_mtime_ns
    assert timings.refresh(fresh) == known
    assert timings_file(fresh).stat().st_mtime_ns == stamp
    timings_file(fresh).unlink()
    assert timings.refresh(fresh) == known
    timings_file(fresh).write_text('{"format": 1, "experiments": [{"name"')
    assert timings.refresh(fresh) == known


def test_an_experiment_that_was_removed_is_forgotten_and_one_that_went_on_is_read_again(fresh: Path) -> None:
    before = timings.refresh(fresh)
    shutil.rmtree(fresh / "half")
    assert [entry.name for entry in timings.refresh(fresh).experiments] == ["whole"]
    write_recording(fresh / "half", "quickstart", 2.5)
    again = {entry.name: entry for entry in timings.refresh(fresh).experiments}
    former = {entry.name: entry for entry in before.experiments}
    assert again["whole"] == former["whole"] and again["half"] != former["half"]


def test_of_one_that_was_taken_up_again_what_it_told_stays_until_it_has_ended(fresh: Path) -> None:
    before = {entry.name: entry for entry in timings.refresh(fresh).experiments}
    paths = ExperimentPaths(fresh / "half")
    own = ident(os.getpid())
    assert own is not None
    write_json(paths.supervisor, SupervisorInfo(who=own, started=0.0))
    write_all(paths.events, [SupervisorStarted(pid=1, host="h", boot_id="b")])
    assert {entry.name: entry for entry in timings.refresh(fresh).experiments} == before
    assert len(timings.history(fresh)) == 2


def test_where_nothing_may_be_written_it_is_known_all_the_same(fresh: Path) -> None:
    timings_file(fresh).mkdir()  # nobody, not even root, can write a file there
    assert len(timings.refresh(fresh).experiments) == 2
    assert len(timings.history(fresh)) == 2


def test_an_experiment_never_hears_of_itself_nor_of_later_ones(fresh: Path) -> None:
    timings.refresh(fresh)
    assert [one.experiment for one in timings.earlier(fresh, "half").timings] == ["whole"]
    created = timings.refresh(fresh).experiments[0].created
    assert timings.earlier(fresh, before=created) == Earlier()


def test_the_dashboard_knows_before_the_first_step_how_long_it_takes(fresh: Path) -> None:
    paths = ExperimentPaths(fresh / "half")
    for file in paths.folder.glob("fold_*/steps-001.jsonl"):
        begun = read(file)[:2]
        file.unlink()
        write_all(file, begun)
    events = [event for event in read(paths.events) if not isinstance(event, RunEnded)][:4]
    paths.events.unlink()
    write_all(paths.events, events)
    watch = Watch(paths.folder)
    assert forecast(watch.poll()).run.seconds is None
    watch.recall()
    said = forecast(msgspec.structs.replace(watch.poll(), phase="running"))
    assert said.run.basis.startswith("from whole, ")
    truth = next(one for one in foretold(fresh / "whole", every=50) if one.rung == "run").true_total
    assert said.run.seconds == pytest.approx(truth, rel=0.15)


def test_a_recording_played_again_knows_only_what_was_known_then(fresh: Path) -> None:
    replay = Replay(fresh / "half")
    replay.recall()
    assert replay.state_at(replay.begins).earlier == Earlier()


def test_residuals_are_few_of_each_run(logs: Path) -> None:
    found = residuals(foretold(logs / "whole"))
    runs = [one for one in found if one.rung == "run"]
    assert 16 <= len(runs) <= 36 and len({one.run for one in runs}) == 4


# ---------------------------------------------------------------- on the screen


@pytest.mark.parametrize("width", [76, 116, 190])
def test_enlarged_the_finish_is_a_ladder_with_what_it_consists_of(logs: Path, width: int) -> None:
    replay = Replay(logs / "half")
    seen = view(replay.state_at(replay.begins + 0.5 * (replay.ends - replay.begins)))
    lines = finish_lines(seen, width, 30)
    texts = [text_of(line).rstrip() for line in lines]
    assert lines == ladder_lines(seen, width, 30)
    assert all(width_of(line) <= width for line in lines)
    assert [text.split()[0] for text in texts[1:7]] == ["step", "epoch", "run", "stop", "fold", "experiment"]
    table = texts.index(next(text for text in texts if text.startswith("consists of")))
    assert texts[table + 1].startswith("train")
    assert any("measured here" in text for text in texts[1:7]) == (width > 76)
    assert any(text.startswith("ranges as wide as") for text in texts)
