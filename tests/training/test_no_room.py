"""Folders that cannot be written and disks that are full: said before anything is begun, survived when it happens later."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.live.watch import Watch
from engine.paths import cache_folder
from tests.training.world import ROOT, build, result, start_for_real

# Root may write everywhere; without this capability it is a user like any other.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []


def steptop(folder: Path, *words: str, **environ: str) -> tuple[int, str]:
    """The command line as somebody without special rights, standing in `folder`."""
    done = subprocess.run(
        [*AS_A_USER, sys.executable, "-P", "-m", "tui.cli", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ, check=False,
    )
    return done.returncode, done.stderr


CLOSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("read-only", lambda place: (place.mkdir(), place.chmod(0o500)), "Permission denied"),
    ("hidden", lambda place: (place.mkdir(), place.chmod(0o000)), "Permission denied"),
    ("a file", lambda place: place.write_text(""), "File exists"),
]


@pytest.mark.parametrize(("kind", "close", "why"), CLOSED, ids=[row[0] for row in CLOSED])
def test_a_logs_folder_that_cannot_be_written_is_named_with_a_remedy(
    tmp_path: Path, kind: str, close: Callable[[Path], object], why: str
) -> None:
    close(tmp_path / "place")
    code, said = steptop(tmp_path, "run", "quickstart", "--logs", "place")
    assert code == 2, said
    assert re.fullmatch(rf"steptop: .*place.* cannot be \w+ \({why}\): .*--logs DIR\n", said), said
    code, said = steptop(tmp_path, "check", "quickstart", "--logs", "place")
    assert code == 2, said
    assert "Traceback" not in said


@pytest.mark.parametrize(("kind", "close", "why"), CLOSED, ids=[row[0] for row in CLOSED])
def test_a_cache_that_cannot_be_written_is_said_before_anything_is_begun(
    tmp_path: Path, kind: str, close: Callable[[Path], object], why: str
) -> None:
    close(tmp_path / "place")
    code, said = steptop(tmp_path, "run", "quickstart", STEPTOP_CACHE=str(tmp_path / "place" / "cache"))
    assert code == 2, said
    assert "place/cache" in said
    assert "STEPTOP_CACHE" in said
    assert not (tmp_path / "logs" / "quickstart").exists()


def test_a_folder_that_only_preparation_meets_ends_it_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "logs" / "_data").mkdir(parents=True)
    (tmp_path / "logs" / "_data").chmod(0o500)
    code, _ = steptop(tmp_path, "run", "quickstart", "--wait")
    assert code == 2
    state = Watch(tmp_path / "logs" / "quickstart").poll()
    assert state.verdict is not None
    assert state.verdict.kind == "closed"
    assert re.fullmatch(r"'.*/logs/_data/phantom-.*': Permission denied; give yourself the right .*", state.verdict.text)


def test_a_cache_named_from_here_stays_here_wherever_the_processes_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPTOP_CACHE", "prepared")
    assert cache_folder(Path("logs")) == tmp_path / "prepared"
    monkeypatch.setenv("STEPTOP_CACHE", "~/prepared")
    assert cache_folder(Path("logs")) == Path.home() / "prepared"


def test_a_log_that_takes_no_more_does_not_end_a_training(tmp_path: Path) -> None:
    """Nor does a journal that takes no more: only the weights of the end must be saved."""
    run = build(tmp_path, table={"epochs": 60}).run(0, 0)
    trainer = start_for_real(run, "prlimit", "--fsize=6000")
    assert trainer.wait(120) == 1
    assert run.console.stat().st_size == 6000
    found = result(run)
    assert (found.step, found.error) == (180, "final.pt could not be written: File too large")


@pytest.mark.slow
def test_a_disk_that_fills_up_under_a_training_costs_steps_but_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    own = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "x", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk (unshare --map-root-user --mount)")
    done = subprocess.run(
        [*own, sys.executable, "-m", "tests.training.full_disk", str(disk)], capture_output=True, text=True, timeout=280,
        cwd=ROOT, check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["run"][0] == 0, seen["run"]
    # Full: it goes on, says so, ends in a verdict, and nothing new is begun.
    assert "the disk is full: training goes on unseen, and unsaved" in seen["status"]
    assert seen["notes"][0].startswith("the disk is full: training goes on unseen")
    assert (seen["phase"], seen["verdicts"]) == ("failed", ["disk_full"])
    assert seen["notes"][-1] == "the disk is full: the rest is not started"
    for verb in ("stop", "resume"):
        code, said = seen[verb]
        assert code == 2, seen
        assert "cannot be written (No space left on device): free some space" in said
    assert "need 5 MB, 0 MB are free there; free some space" in seen["room"]
    assert seen["left"] == []
    assert seen["kept"]
    # Room again: it goes on where it was, and the lost time is no second failure.
    assert seen["again"][0] == 0, seen["again"]
    assert seen["end"] == "finished"
    assert seen["started"] == [[1, "failed"], [2, "finished"]]
