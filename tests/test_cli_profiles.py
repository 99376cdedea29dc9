"""Profiles on the command line: what there is, what one sets, and bad ones refused with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config.profile import KNOBS
from engine.machine import cores
from tests.conftest import Laboratory
from tests.test_cli import HOSTILE, Shell


@pytest.fixture
def steptop(tmp_path: Path, lab: Laboratory) -> Shell:
    lab.folders += [tmp_path / "logs" / "fake"]
    return Shell(tmp_path)


def test_every_knob_is_listed_with_its_value_range_and_kind(steptop: Shell) -> None:
    here = cores.machine().cores
    for name in ("conservative", "moderate", "aggressive", "auto"):
        assert name in steptop("profiles").stdout
        said = steptop("profiles", name).stdout
        assert all(knob.name in said and knob.help in said and knob.kind.value in said for knob in KNOBS.values())
    assert f"{max(1, here // 2)} * (cores/2)" in steptop("profiles", "moderate").stdout
    body = json.loads(steptop("profiles", "moderate", "--json").stdout)
    workers = next(row for row in body["knobs"] if row["name"] == "num_workers")
    assert (workers["value"], workers["scaled"], workers["set"], workers["kind"]) == (max(1, here // 2), "cores/2", True, "speed only")
    assert workers["help"] and (workers["low"], workers["high"], workers["default"]) == (0, 64, 2)
    assert {row["name"] for row in body["knobs"]} == set(KNOBS)
    assert {row["name"] for row in json.loads(steptop("profiles", "--json").stdout)["profiles"]} >= {"auto"}


def test_help_tells_every_knob(steptop: Shell) -> None:
    said = steptop("run", "--help").stdout
    assert all(name in said for name in KNOBS)


def test_the_plan_keeps_the_number_and_the_text_it_came_from(steptop: Shell) -> None:
    steptop("run", "fake", "--profile", "moderate", "--set", "prefetch_factor=cores+1", "--wait")
    plan = json.loads((steptop.folder / "logs" / "fake" / "plan.json").read_text())
    here = cores.machine().cores
    assert plan["profile"]["knobs"]["num_workers"] == max(1, here // 2)
    assert plan["profile"]["knobs"]["prefetch_factor"] == here + 1
    assert plan["profile"]["scaled"] == {"num_workers": "cores/2", "prefetch_factor": "cores+1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[knobs]\n\nprefetch = 3\n", "no knob called 'prefetch' in mine.toml, line 3; did you mean 'prefetch_factor'?"),
        ("[knobs]\nnum_workers = 0\npersistent_workers = true\n", "contradicts persistent_workers = true (mine.toml, line 2 and line 3)"),
        ("[knobs]\nbatch_size = 1.5\n", "batch_size = 1.5 in mine.toml, line 2: it is a whole number, 1 to 1024"),
        ('[knobs]\nnum_workers = "5*cores"\n', "num_workers = 5*cores in mine.toml, line 2: "),
        (f'[knobs]\nprecision = "{HOSTILE.encode("unicode_escape").decode().replace("x1b", "u001b").replace("x07", "u0007")}"\n', "it is one of auto, fp32, fp16, bf16"),
        ("[knobs]\n\x1b]52;c;x\x07 = 3\n", "not valid TOML"),
    ],
)
def test_a_bad_profile_is_refused_with_line_and_remedy(steptop: Shell, text: str, said: str) -> None:
    (steptop.folder / "mine.toml").write_text(text)
    for verb in ("run", "check"):
        done = steptop(verb, "fake", "--profile", "mine.toml", code=2)
        assert said in done.stderr and done.stdout == ""
    assert said in steptop("profiles", "mine.toml", code=2).stderr
    assert not (steptop.folder / "logs").exists() or not list((steptop.folder / "logs").iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "num_workers=0", "--set", "prefetch_factor=2"], "num_workers = 0 contradicts prefetch_factor = 2 (--set)"),
        (["--set", f"num_workers={4 * cores.machine().cores + 1}"], f"num_workers = {4 * cores.machine().cores + 1} in --set: "),
        (["--set", "num_workers=cores^2"], "in --set: it is a whole number, 0 to 64, or follows the machine"),
        (["--set", "workers=3"], "did you mean 'num_workers'"),
        (["--profile", "agressive"], "did you mean 'aggressive'"),
        (["--profile", "nowhere.toml"], "nowhere.toml: cannot be read"),
    ],
)
def test_a_bad_setting_is_refused(steptop: Shell, words: list[str], said: str) -> None:
    if 4 * cores.machine().cores >= 64 and "num_workers=" in words[1] and "cores" not in words[1]:
        pytest.skip("this machine has cores for every number of workers there may be")
    done = steptop("run", "fake", *words, code=2)
    assert said in done.stderr and done.stdout == ""


def test_an_experiment_that_asks_for_more_than_the_machine_has_is_refused(steptop: Shell) -> None:
    file = steptop.folder / "experiments" / "fake.toml"
    file.write_text(file.read_text() + '[locks.num_workers]\nvalue = "5*cores"\nreason = "as published"\n')
    if cores.machine().cores < 13:
        assert "more than 4 a core" in steptop("run", "fake", code=2).stderr
    file.write_text(file.read_text() + "[knobs]\nnum_workers = 0\nprefetch_factor = 2\n")
    assert "fake.toml, line" in steptop("run", "fake", code=2).stderr
