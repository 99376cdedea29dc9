"""What `make wheel` makes can be installed anywhere: experiments and profiles are inside, and one's own still win."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.training.world import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("steptop-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def steptop(site: Path, here: Path, *words: str) -> str:
    """The command line out of the wheel, by somebody who stands in `here`."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", *words], cwd=here, env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=False, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.toml")}


def test_everything_that_ships_lies_inside_and_nothing_else(site: Path, tmp_path: Path) -> None:
    listed = json.loads(steptop(site, tmp_path, "profiles", "--json"))["profiles"]
    assert {entry["name"] for entry in listed} == names(ROOT / "profiles")
    assert {Path(entry["path"]).parent for entry in listed} == {site / "engine" / "profiles"}
    assert names(site / "engine" / "experiments") == names(ROOT / "engine" / "experiments")
    assert names(site / "engine" / "whatif") == names(ROOT / "engine" / "whatif") >= {"hardware", "sessions"}
    assert names(site / "engine" / "staged") == names(ROOT / "engine" / "staged")
    assert "quick test: waiting" in steptop(site, tmp_path, "estimate", "--stages", "quickstart")
    assert {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")} == {"engine", "tui"}
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "steptop = tui.cli:main" in entry_points.read_text()


def test_a_file_of_one_s_own_wins_over_the_shipped_one_of_its_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "conservative.toml").write_text('title = "mine"\n[knobs]\nnum_workers = 1\n')
    (tmp_path / "experiments").mkdir()
    shipped = (site / "engine" / "experiments" / "quickstart.toml").read_text()
    (tmp_path / "experiments" / "quickstart.toml").write_text(shipped.replace("subjects = 48", "subjects = 8"))
    listed = {entry["name"]: entry for entry in json.loads(steptop(site, tmp_path, "profiles", "--json"))["profiles"]}
    assert (listed["conservative"]["title"], listed["conservative"]["own"]) == ("mine", True)
    assert not listed["moderate"]["own"]
    report = json.loads(steptop(site, tmp_path, "check", "quickstart", "--quick", "--json"))
    assert report["subjects"] == 8


def test_the_trainer_s_side_is_there_too(site: Path, tmp_path: Path) -> None:
    assert "ready to train" in steptop(site, tmp_path, "check", "quickstart")
    assert not (tmp_path / "logs").exists()
