"""`steptop estimate` offers what can be had: nothing on a GPU that is too small, no GPU that was not meant, no session
without who says so and when, and stages that cost nothing before those that do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.diagnosis.consequences import Range
from engine.errors import UsageError
from engine.journals.events import RunEnded
from engine.journals.journal import read, write_all
from engine.paths import ExperimentPaths
from engine.whatif import hardware, session_limits, staged_plan, stages
from engine.whatif.session_limits import Session, fitting
from tests.recordings import write_recording
from tui.cli import main

HOUR = 3600.0


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose step takes 67 GiB of the GPU."""
    folder = tmp_path_factory.mktemp("offers")
    write_recording(folder / "arc", "arc", 0.25)
    return folder


@pytest.fixture
def estimate(logs: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--logs", str(logs), "estimate", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


Estimate = Callable[..., tuple[int, str, str]]

# ---------------------------------------------------------------- memory


def test_on_a_gpu_that_is_too_small_nothing_is_offered(estimate: Estimate) -> None:
    found = json.loads(estimate("--gpu", "T4", "--json")[1])
    small = found["hardware"][1]
    assert (small["name"], small["memory"]["verdict"]) == ("T4", "over")
    assert small["why"] == "a step does not fit into its memory" == small["cost"]["text"]
    assert small["run"]["value"] is None and small["experiment"]["value"] is None and small["cost"]["low"] is None
    assert all(one["sessions"] is None for one in small["sessions"])
    assert found["options"] == []
    assert any(note.startswith("no options on T4: a step does not fit into its memory: ") for note in found["notes"])
    code, out, _ = estimate("--gpu", "T4")
    assert code == 0
    assert "T4: too big: a step does not fit into its memory" in out
    assert "Kaggle 1" not in out and "1. One run" not in out


def test_nor_is_anything_decided_on_one(estimate: Estimate, logs: Path) -> None:
    code, out, err = estimate("--gpu", "T4", "--decide", "1")
    assert code == 2 and not out
    assert "a step does not fit into its memory" in err
    assert not ExperimentPaths(logs / "arc").decision.exists()


def test_a_batch_that_does_not_fit_here_is_not_offered_here(estimate: Estimate) -> None:
    found = json.loads(estimate("--gpu", "H100", "--set", "batch_size=2", "--json")[1])
    assert found["hardware"][0]["memory"]["verdict"] == "over"
    assert found["hardware"][0]["experiment"]["value"] is None
    as_it_is = json.loads(estimate("--gpu", "H100", "--json")[1])
    assert as_it_is["hardware"][0]["experiment"]["value"] is not None and as_it_is["options"]


# ---------------------------------------------------------------- names


def test_a_name_that_fits_several_gpus_says_which_was_taken(estimate: Estimate) -> None:
    out = estimate("--gpu", "V100")[1]
    assert "V100 is taken as V100-16 SXM; there are V100-32 SXM, V100-32 SXM3, V100-16 PCIe and V100-32 PCIe too" in out
    assert "is taken as" not in estimate("--gpu", "NVIDIA A100-SXM4-80GB", "--gpu", "4090")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speedup", "A100=40-60@1"], "--speedup 'A100' fits 4 GPUs: A100-40 PCIe, A100-40 SXM, A100-80 PCIe and A100-80 SXM"),
        (["--speedup", "V100=2@1"], "fits 5 GPUs: V100-16 SXM, V100-32 SXM"),
        (["--gpu", "RTX"], "'RTX' fits 3 GPUs: RTX 3090, RTX 4090 and RTX 5090; name one of them"),
        (["--speedup", "A100-80 SXM=2@1"], "it was measured on that GPU"),
        (["--speedup", "H200=2@1", "--gpu", "B200"], "--gpu asks for B200 alone; add --gpu 'H200'"),
    ],
)
def test_a_speed_up_that_would_change_nothing_is_refused(estimate: Estimate, words: list[str], said: str) -> None:
    code, out, err = estimate(*words)
    assert code == 2 and not out
    assert said in err


def test_a_speed_up_of_one_gpu_is_used(estimate: Estimate) -> None:
    out = estimate("--gpu", "H200", "--speedup", "H200=1.5-2@1")[1]
    assert "stated by you: 1.5 to 2×" in out


# ---------------------------------------------------------------- sessions


def test_sessions_say_who_says_so_and_when(estimate: Estimate) -> None:
    rows = json.loads(estimate("--json", "--gpu", "T4")[1])["hardware"]
    of = {one["session"]: one for one in rows[1]["sessions"]}
    assert of["Kaggle"]["quoted"].startswith("12 h, 30 GPU-hours a week, the weekly quota floats: secondary: ")
    assert (of["Kaggle"]["as_of"], bool(of["Kaggle"]["source"])) == ("2025-11", True)
    assert of["Colab Pro"]["quoted"].startswith("12? to 24? h, ends after 90? idle minutes, ")


def test_the_table_names_the_sessions_it_counts(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "hardware.toml"
    own.write_text('[[session]]\nname = "our queue"\nhours = 48\nsource = "its wiki"\nas_of = "2026-11"\n')
    assert main(["--logs", str(logs), "estimate", "--hardware", str(own), "--session", "our queue"]) == 0
    assert "  our queue: 48 h: its wiki, 2026-11" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("hours", "gpus", "sessions", "weeks", "said"),
    [
        (11.0, 1, 1, 1, "all of it fits"),
        (25.0, 1, 3, 1, "a run fits; all of it 3 sessions"),
        (100.0, 1, 9, 4, "a run fits; all of it 9 sessions over 4 weeks"),
        (100.0, 2, 9, 7, "a run fits; all of it 9 sessions over 7 weeks"),
    ],
)
def test_kaggles_weekly_quota_is_a_limit_too(hours: float, gpus: int, sessions: int, weeks: int, said: str) -> None:
    kaggle = session_limits.chosen("Kaggle", session_limits.sessions())
    assert kaggle.gpu_hours_a_week == 30
    every = Range(hours * HOUR, 0.9 * hours * HOUR, hours * HOUR, "")
    found = fitting(kaggle, "T4", Range(HOUR, HOUR, HOUR, ""), every, gpus)
    assert (found.sessions, found.weeks, found.text) == (sessions, weeks, said)


def test_a_quota_shorter_than_a_session_is_what_fits() -> None:
    tight = Session(name="ours", hours=48, gpu_hours_a_week=20)
    run = Range(30 * HOUR, 25 * HOUR, 36 * HOUR, "")
    assert fitting(tight, "T4", run, run).experiment == "too long"


# ---------------------------------------------------------------- what nothing is known about


@pytest.fixture
def on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """The quickstart, trained on a CPU: what `steptop estimate` prints about it."""
    write_recording(tmp_path / "logs" / "quickstart", "quickstart", 1.5)
    monkeypatch.chdir(tmp_path)

    def printed(*words: str) -> list[str]:
        assert main(["estimate", *words]) == 0
        return capsys.readouterr().out.splitlines()

    return printed


def test_two_gpus_of_a_machine_that_has_none_are_not_said_to_lack_steps(on_a_cpu: Callable[..., list[str]]) -> None:
    lines = on_a_cpu("--session", "12h", "--gpus", "2")
    assert not any("no steps measured" in line for line in lines)
    assert sum("it computes on the CPU, so there are no GPUs to share its runs out to" in line for line in lines) == 2


def test_a_wish_for_a_gpu_is_of_that_gpu_or_says_how_it_could_be_known(on_a_cpu: Callable[..., list[str]]) -> None:
    def wish(*words: str) -> list[str]:
        return [line.strip() for line in on_a_cpu("--wish", "6h-8h", *words) if line.strip().startswith("wish")]

    (here,) = wish()
    known, unknown = wish("--gpu", "T4", "--gpu", "H100 SXM", "--speedup", "H100 SXM=10@1")
    assert unknown.startswith("wish 6.0–8.0 h on T4: nothing is known about it: nothing measured on a GPU; run")
    assert unknown.endswith("--speedup 'T4=LOW-HIGH@1'") and "steps an epoch" not in unknown
    assert known.startswith("wish 6.0–8.0 h on H100 SXM: ") and " steps an epoch (an epoch takes " in known
    steps = [int(re.findall(r"([\d,]+) to", line)[0].replace(",", "")) for line in (here, known)]
    assert steps[1] > 3 * steps[0], "what is computed takes a tenth of the time there"


# ---------------------------------------------------------------- stages


def test_the_ladder_pays_for_nothing_before_two_free_stages_have_passed() -> None:
    plan = staged_plan.named("arc-ladder")
    found = stages.progress(plan, Path("nowhere"), hardware.gpus(), session_limits.sessions())
    assert [(one.stage.platform, one.stage.gpu) for one in found] == [
        ("Colab free", "T4"), ("Kaggle", "T4"), ("here", "A100-80 SXM"),
    ]  # fmt: skip
    assert [one.stage.experiment for one in found] == ["arc-meshnet5", "arc-meshnet5", "arc-meshnet26"]
    sessions = {one.name: one for one in session_limits.sessions()}
    assert all(sessions[one.stage.platform].free for one in found[:2])
    coming = stages.following(found)
    assert coming is not None and coming.command[:3] == ("steptop", "run", "arc-meshnet5")
    assert "steps_per_epoch=10" in coming.command


LADDER = """
title = "free first"
experiment = "arc-meshnet26"

[[stage]]
name = "quick"
purpose = "it starts"
platform = "here"
folder = "arc"
checks = ["installed", "gpu used", "memory fits"]

[[stage]]
name = "validation"
purpose = "one run"
platform = "our queue"
gpu = "H200"
folds = [0]
restarts = 1
folder = "one"
checks = ["finished"]

[[stage]]
name = "too small"
platform = "Kaggle"
gpu = "T4"
folder = "two"
checks = ["finished"]
"""
OWN = '[[session]]\nname = "our queue"\nhours = 48\nsource = "its wiki"\nas_of = "2026-11"\n'


def test_a_stage_says_what_it_takes_and_costs_and_once_it_is_over_what_it_took(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "logs" / "arc", "arc", 1.05)
    paths = ExperimentPaths(tmp_path / "logs" / "arc")
    took = next(one.seconds for one in read(paths.events) if isinstance(one, RunEnded))
    (tmp_path / "plan.toml").write_text(LADDER)
    (tmp_path / "own.toml").write_text(OWN)
    words = ["--logs", str(tmp_path / "logs"), "estimate", "--stages", str(tmp_path / "plan.toml")]
    words += ["--hardware", str(tmp_path / "own.toml")]
    assert main(words) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "1. quick: passed" in out and ", all attempts together" in out
    assert "a GPU is used (NVIDIA A100-SXM4-80GB, busy " in out
    assert "   our queue: a run fits; " not in out, "one run is all of it"
    assert any(line.startswith("   our queue: all of it fits; 48 h: its wiki, 2026-11") for line in lines)
    assert any(line.startswith("   cost: ") and "USD (" in line for line in lines)
    assert "   arc-meshnet26 on Kaggle, T4: time not known: a step does not fit into its memory" in lines
    assert "on our queue; its folder, brought into" in lines[-3]
    assert lines[-2].startswith("DIR: the folder of its volumes there; ")
    assert lines[-1].startswith("steptop run arc-meshnet26 --name one --data DIR --folds 0")
    assert main([*words, "--json"]) == 0
    quick = json.loads(capsys.readouterr().out)["stages"][0]
    assert quick["measured"] and quick["time"]["value"] == pytest.approx(took) == quick["spent"]
    price = hardware.named("A100-80 SXM").price
    assert price is not None
    assert quick["money"]["low"] == pytest.approx(took / HOUR * price.low)


def test_a_stage_that_ended_without_passing_shows_what_it_took_as_well(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "quickstart", 4)
    plan = tmp_path / "plan.toml"
    text = LADDER.split("[[stage]]\nname = \"validation\"")[0]
    plan.write_text(text.replace("arc-meshnet26", "quickstart"))
    (found,) = stages.progress(staged_plan.load(plan), tmp_path, hardware.gpus(), session_limits.sessions())
    assert found.standing == "failed", "the quickstart trained on a CPU"
    assert found.measured and found.time.value == pytest.approx(found.spent) and found.spent > 0


def test_attempts_before_the_last_one_count_in_what_a_stage_took(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "quickstart", 4)
    paths = ExperimentPaths(tmp_path / "arc")
    events = read(paths.events)
    first = next(at for at, one in enumerate(events) if isinstance(one, RunEnded))
    earlier = msgspec.structs.replace(events[first], outcome="stopped", seconds=1000.0)
    paths.events.unlink()
    write_all(paths.events, [*events[:first], earlier, *events[first:]])
    plan = tmp_path / "plan.toml"
    plan.write_text(LADDER.split("[[stage]]\nname = \"validation\"")[0].replace("arc-meshnet26", "quickstart"))
    (found,) = stages.progress(staged_plan.load(plan), tmp_path, hardware.gpus(), session_limits.sessions())
    assert found.spent > 1000.0


def test_an_experiment_of_a_stage_that_is_none_is_told(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(LADDER.replace('platform = "here"', 'experiment = 3'))
    with pytest.raises(UsageError, match="line 8: experiment = 3: it is a text"):
        staged_plan.load(plan)
