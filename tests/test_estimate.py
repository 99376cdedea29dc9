"""`steptop estimate` on the command line: the table, its JSON, decisions, staged plans, and what it refuses."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.config import catalog
from engine.config.profile import KNOBS
from engine.errors import UsageError
from engine.machine import cores
from engine.paths import ExperimentPaths, read_json
from engine.whatif import staged_plan
from engine.whatif.options import Decision
from tests.recordings import LIKE_QUICKSTART, write_recording
from tests.tested import write_test
from tui.cli import main

Run = Any


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own to stand in, so that no ./hardware.toml of somebody else is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that computes most of the time, in its second run."""
    folder = tmp_path_factory.mktemp("template") / "arc"
    write_recording(folder, "compute", 1.05)
    return folder


@pytest.fixture
def logs(place: Path, template: Path) -> Path:
    shutil.copytree(template, place / "logs" / "arc")
    return place / "logs"


@pytest.fixture
def estimate(logs: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Words -> exit code, what was printed, and the errors."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--logs", str(logs), "estimate", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_table_says_time_memory_cost_and_what_it_rests_on(estimate: Run) -> None:
    code, out, _ = estimate()
    assert code == 0
    assert "arc (arc-meshnet26): 30 runs (3 folds × 10 restarts) of 50 epochs of 148–149 steps, batch 1, 4 workers" in out
    lines = out.splitlines()
    own = next(line for line in lines if "A100-80 SXM (measured)" in line)
    assert "1.0×" in own and "fits" in own and "USD" in own
    assert any("RTX 4090" in line and "too big" in line for line in lines)
    assert "M1 Max, M2 Max, M3 Max, M4 Max: no claim: nothing measured on MPS" in out
    assert "prices of 2026-05, mercatus-ai.com:" in out
    assert "were not confirmed by any source" in out
    assert "1. One run, 1 run:" in out and "2. All runs, 30 runs:" in out and "3. Fewer restarts, 9 runs:" in out


def test_the_json_is_what_the_document_says(estimate: Run) -> None:
    code, out, _ = estimate("--json", "--gpu", "H100", "--gpu", "NVIDIA H200", "--restarts", "2", "--wish", "1h-2h", "--gpus", "2")
    assert code == 0
    found = json.loads(out)
    documented = (Path(__file__).parent.parent / "docs" / "estimate.md").read_text()
    for name in found:
        assert f"`{name}`" in documented, name
    for row in found["hardware"]:
        for name in row:
            assert f"`{name}`" in documented, name
    assert found["hardware"][0]["name"] == "A100-80 SXM"
    assert {row["name"] for row in found["hardware"][1:]} == {"H100 SXM", "H200"}
    assert found["asked"]["runs"] == 6 and found["asked"]["gpus"] == 2
    assert found["measured"]["cores"] == 12 and found["measured"]["device"] == "cuda"
    for row in found["hardware"]:
        for name in ("step", "epoch", "run", "experiment"):
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
        if row["sheet"]["price"]:
            assert row["sheet"]["price"]["source"] and row["sheet"]["price"]["as_of"]
    assert found["wishes"][0]["turned"] == "steps_per_epoch"
    assert any("3 folds × 2 restarts = 6 runs of 30" in note for note in found["notes"])


def test_another_profile_is_asked_about_by_its_name(estimate: Run) -> None:
    """The training goes on with 4 workers; `conservative` has none beside the trainer where there are two cores."""
    now = json.loads(estimate("--json", "--gpu", "H100")[1])
    code, out, _ = estimate("--json", "--gpu", "H100", "--profile", "conservative")
    then = json.loads(out)
    assert code == 0
    knobs = catalog.profile_named("conservative", machine=cores.machine())[1]
    assert then["asked"]["knobs"]["num_workers"] == KNOBS["num_workers"].resolve(knobs["num_workers"], cores.machine())
    assert "num_workers" not in now["asked"]["knobs"]


def test_a_decision_is_recorded_and_its_command_printed(estimate: Run, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = estimate("--decide", "3", "--epochs", "40", "--set", "num_workers=2")
    assert code == 0
    assert out.startswith("decided: Fewer restarts,")
    words = shlex.split(out.splitlines()[-1])
    assert words[:3] == ["steptop", "run", "arc-meshnet26"]
    assert words[words.index("--data") + 1] == "/data/ds004884"
    assert words[words.index("--epochs") + 1] == "40"
    assert words[words.index("--restarts") + 1] == "3"
    assert "num_workers=2" in words and "--folds" not in words
    held = read_json(ExperimentPaths(logs / "arc").decision, Decision)
    assert held is not None
    assert (held.title, held.runs, held.command[:2]) == ("Fewer restarts", 9, ("steptop", "run"))
    assert held.low is not None and held.seconds is not None and held.low < held.seconds
    assert "decided: Fewer restarts, on A100-80 SXM" in estimate()[1]
    assert json.loads(estimate("--json")[1])["decision"]["number"] == 3
    assert main(["--logs", str(logs), "status", "arc"]) == 0
    assert "decided: Fewer restarts, 9 runs, on A100-80 SXM" in capsys.readouterr().out


def test_before_a_launch_it_is_told_from_what_was_measured_of_the_same_kind(estimate: Run, place: Path) -> None:
    (place / "volumes").mkdir()
    text = (Path(__file__).parent.parent / "engine" / "experiments" / "arc-meshnet26.toml").read_text()
    (place / "experiments").mkdir()
    # The recording is of this experiment; its file here asks for fewer runs.
    (place / "experiments" / "mine.toml").write_text(text.replace("restarts = 10", "restarts = 2").replace("epochs = 50 ", "epochs = 5 "))
    code, _, err = estimate("mine", "--data", str(place / "volumes"))
    assert code == 2, "there are no volumes in it"
    assert "volumes" in err
    code, _, err = estimate("quickstart")
    assert code == 2
    assert "nothing like it was measured" in err and "28×32×28" not in err.split("instead of")[0]
    assert "the nearest, arc, has" in err and "`steptop bench quickstart` measures it" in err


def test_an_experiment_to_be_launched_is_told_from_one_like_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "experiments").mkdir()
    (place / "experiments" / "mine.toml").write_text(LIKE_QUICKSTART)
    write_recording(place / "logs" / "before", "quickstart", 1.5)
    words = ["--logs", str(place / "logs"), "estimate", "mine", "--epochs", "4", "--folds", "1", "--json", "--gpu", "T4"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["name"] == "before"
    assert (found["asked"]["runs"], found["asked"]["epochs"], found["asked"]["folds"]) == (2, 4, [1])
    assert found["asked"]["steps_per_epoch"] == {"1": 15}
    own = found["hardware"][0]
    assert own["name"] == "2-core CPU" and own["run"]["value"] == pytest.approx(4 * 15 * 0.19, rel=0.6)
    assert found["hardware"][1]["why"].startswith("no claim: nothing measured on a GPU")
    assert main([*words[:3], str(place / "experiments" / "mine.toml"), "--set", "batch_size=3"]) == 0
    assert "of 8 epochs of 5 steps, batch 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "RTX 409"], "no GPU called 'RTX 409'; did you mean 'RTX 4090'?"),
        (["--folds", "5"], "no fold 5: the experiment has folds 0 to 2"),
        (["--folds", "a"], "write fold numbers with commas"),
        (["--session", "Kagle"], "no session called 'Kagle'; did you mean 'Kaggle'?"),
        (["--wish", "soon"], "write it as 6h-8h"),
        (["--decide", "9"], "there are options 1 to 3"),
        (["--set", "workers=3"], "no knob called 'workers'"),
        (["--speedup", "A100=60-40@1"], "two numbers above 0, the smaller one first"),
        (["--speedup", "A100=3"], "write it as H200=40-60@128"),
        (["--speedup", "A10=3@1"], "no GPU called 'A10'"),
        (["--hardware", "none.toml"], "none.toml: cannot be read"),
        (["--stages", "quikstart"], "no staged plan called 'quikstart'; did you mean 'quickstart'?"),
        (["nothing"], "no experiment called 'nothing'"),
        (["--data", "x"], "--data is of an experiment to be launched"),
        (["--profile", "agressive"], "did you mean 'aggressive'"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_nothing_is_written(estimate: Run, logs: Path, words: list[str], said: str) -> None:
    before = sorted(path.name for path in (logs / "arc").iterdir())
    code, out, err = estimate(*words)
    assert code == 2
    assert said in err
    assert not out
    assert sorted(path.name for path in (logs / "arc").iterdir()) == before


def test_a_price_without_a_currency_is_refused_with_file_and_line(estimate: Run, place: Path) -> None:
    (place / "hardware.toml").write_text('[[gpu]]\nname = "T4"\nprice = { low = 1, high = 2, as_of = "2026-11", source = "us" }\n')
    code, _, err = estimate()
    assert code == 2
    assert "hardware.toml, line 3: price lacks currency" in err


def test_a_price_of_ones_own_is_what_it_costs(estimate: Run, place: Path) -> None:
    price = 'price = { low = 2, high = 2, currency = "EUR", as_of = "2026-11-21", source = "our contract" }'
    (place / "hardware.toml").write_text(f'[[gpu]]\nname = "A100-80 SXM"\n{price}\n')
    row = json.loads(estimate("--json", "--gpu", "T4")[1])["hardware"][0]
    assert row["cost"]["currency"] == "EUR"
    assert row["cost"]["low"] == pytest.approx(row["experiment"]["low"] / 3600 * 2)


def test_where_nothing_was_measured_it_says_how_to(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(place / "empty" / "arc", "arc", 0.0)
    assert main(["--logs", str(place / "empty"), "estimate"]) == 2
    assert "nothing was measured yet; `steptop bench arc-meshnet26 --data DIR`" in capsys.readouterr().err
    assert main(["--logs", str(place / "none"), "estimate", "quickstart"]) == 2
    assert "nothing was measured in" in capsys.readouterr().err


def test_a_test_of_profiles_is_enough(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_test(place / "tests" / "arc-phases")
    assert main(["--logs", str(place / "tests"), "estimate", "--gpu", "4090"]) == 0
    out = capsys.readouterr().out
    assert "measured in a test" in out
    assert "30 runs" in out


def test_names_that_would_act_on_the_terminal_do_not(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--logs", str(logs), "estimate", "--gpu", "\x1b[31mRTX"]) == 2
    assert "\x1b" not in capsys.readouterr().err


# ---------------------------------------------------------------- staged plans


PLAN = """
title = "quick test, then all of it"
experiment = "arc-meshnet26"

[[stage]]
name = "quick"
platform = "Colab free"
gpu = "T4"
folder = "arc"
folds = [0]
restarts = 1
checks = ["installed", "data loads", "loop runs", "gpu used", "memory fits", "loss falls", "checkpoint saved"]

[[stage]]
name = "final"
folder = "arc-all"
checks = ["finished", "results"]
"""


def test_a_checklist_ticks_itself_from_what_was_measured(estimate: Run, place: Path) -> None:
    (place / "plan.toml").write_text(PLAN)
    (place / "volumes").mkdir()
    code, out, _ = estimate("--stages", "plan.toml", "--data", "volumes")
    assert code == 0
    assert "1. quick: passed" in out and "took" in out
    assert out.count("✔") == 7
    assert "✔ the loss falls (" in out and "→" in out
    assert "✔ a GPU is used (NVIDIA A100-SXM4-80GB, busy " in out
    assert "✔ a checkpoint is saved and verified (" in out
    assert "2. final: waiting" in out and "· every run ends" in out
    assert out.rstrip().splitlines()[-1] == "steptop run arc-meshnet26 --name arc-all --data volumes"


def test_the_command_of_the_next_stage_has_the_volumes_that_the_one_before_was_begun_with(
    estimate: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "plan.toml").write_text(PLAN.replace('platform = "Colab free"', "").replace('gpu = "T4"', ""))
    last = "run arc-meshnet26 --name arc-all --data /data/ds004884"
    assert estimate("--stages", "plan.toml")[1].rstrip().splitlines()[-1] == f"steptop {last}"
    monkeypatch.chdir(place / "logs")
    elsewhere = estimate("--stages", "../plan.toml")[1].rstrip().splitlines()[-1]
    assert elsewhere == f"steptop --logs {place / 'logs'} {last}", "it lies where the list looks for it"
    monkeypatch.chdir(place)
    (place / "plan.toml").write_text(PLAN)
    lines = estimate("--stages", "plan.toml")[1].rstrip().splitlines()
    assert lines[-1] == "steptop run arc-meshnet26 --name arc-all --data DIR", "what lies on Colab does not lie here"
    assert lines[-2].startswith("DIR: the folder of its volumes; `--data` puts it")


def test_a_name_beside_a_staged_plan_means_its_stages_and_what_the_plan_says_itself_is_refused(
    estimate: Run, place: Path
) -> None:
    (place / "plan.toml").write_text(PLAN)
    code, out, _ = estimate("arc-all", "--stages", "plan.toml")
    assert code == 0 and "2. final: waiting" in out and "1. quick" not in out and "next: final" in out
    assert "1. quick: passed" in estimate("arc-meshnet26", "--stages", "plan.toml")[1]
    code, out, err = estimate("mimir", "--stages", "plan.toml")
    assert (code, out) == (2, "") and "'mimir' is no stage, folder or experiment of that plan (arc-meshnet26, arc, arc-all)" in err
    code, out, err = estimate("--stages", "plan.toml", "--epochs", "3", "--gpu", "T4")
    assert (code, out) == (2, "") and "leave out --gpu, --epochs" in err


def test_a_stage_that_has_not_shown_it_holds_the_next_one_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(place / "logs" / "arc", "arc", 0.005)
    (place / "plan.toml").write_text(PLAN)
    (place / "volumes").mkdir()
    assert main(["--logs", str(place / "logs"), "estimate", "--stages", "plan.toml", "--data", "volumes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    quick = found["stages"][0]
    assert found["next"] == "quick"
    assert quick["standing"] in ("stopped", "failed")
    ticks = {tick["check"]: tick["done"] for tick in quick["ticks"]}
    assert ticks["installed"] and ticks["data loads"]
    assert ticks["loop runs"] is None and ticks["checkpoint saved"] is None


def test_the_plans_that_ship_can_be_read() -> None:
    for name in ("quickstart", "arc", "arc-ladder", "mimir"):
        plan = staged_plan.named(name)
        assert len(plan.stages) == 3
        assert all(stage.checks and stage.purpose for stage in plan.stages)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"quick"', "3", "line 6: name = 3: it is a text"),
        ("restarts = 1", "restarts = 0", "line 11: restarts = 0: it is a whole number, 1 or more"),
        ("folds = [0]", "folds = []", "line 10: folds is a list of fold numbers"),
        ('"loss falls"', '"loss fall"', "no check called 'loss fall' in .*line 12; did you mean 'loss falls'"),
        ('folder = "arc-all"', 'folder = "arc"', "two stages have the folder 'arc'"),
        ('folder = "arc-all"', 'folder = "../x"', "cannot be an experiment's name"),
        ('experiment = "arc-meshnet26"', "", 'experiment = "…" names what is trained'),
        ("platform", "plattform", "no field called 'plattform' in .*line 7; did you mean 'platform'"),
        ('checks = ["finished", "results"]', "", "line 14: stage 'final' lacks checks"),
        ("restarts = 1", "knobs = { workers = 2 }", "no knob called 'workers'"),
    ],
)
def test_a_staged_plan_that_is_wrong_is_refused_with_file_and_line(place: Path, before: str, after: str, said: str) -> None:
    (place / "plan.toml").write_text(PLAN.replace(before, after))
    with pytest.raises(UsageError, match=said):
        staged_plan.load(place / "plan.toml")


def test_an_unknown_platform_names_the_nearest(estimate: Run, place: Path) -> None:
    (place / "plan.toml").write_text(PLAN.replace("Colab free", "Colab fre"))
    code, _, err = estimate("--stages", "plan.toml", "--data", ".")
    assert code == 2
    assert "no platform called 'Colab fre' in stage 'quick'; did you mean 'Colab free'?" in err
