"""`steptop estimate` of a training that has begun: all of it and what is left of it, neither taken for the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recordings import write_recording
from tests.tested import write_test
from tui.cli import main

Estimate = Callable[..., str]


@pytest.fixture
def estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Estimate:
    """Words -> what is printed, of the recording that is there."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        assert main(["--logs", str(tmp_path / "logs"), "estimate", "--gpu", "T4", *words]) == 0
        return capsys.readouterr().out

    return run


def test_both_are_said_and_which_of_them_the_rows_are_of(tmp_path: Path, estimate: Estimate) -> None:
    """In its second of thirty runs, the first one over."""
    write_recording(tmp_path / "logs" / "arc", "compute", 1.5)
    whole, rest = estimate().splitlines(), estimate("--rest").splitlines()
    assert whole[2].startswith("  asked for all of it, from its first step: ")
    assert whole[3].startswith("  what is left of it: ") and whole[3].endswith("; --rest asks for that")
    assert rest[2].startswith("  asked for what is left of it: ")
    assert rest[3].startswith("  all of it, from its first step: ") and rest[3].endswith("; without --rest that is asked for")
    assert amounts(whole[2:4]) == amounts(rest[2:4])[::-1]
    assert rest[0].endswith("what is left of them")


def amounts(lines: list[str]) -> list[str]:
    """The figure and its range, of each."""
    return [re.sub(r"; .*", "", line.partition(": ")[2]) for line in lines]


def test_the_json_has_both_whichever_is_asked_for(tmp_path: Path, estimate: Estimate) -> None:
    write_recording(tmp_path / "logs" / "arc", "compute", 1.5)
    found, rest = json.loads(estimate("--json")), json.loads(estimate("--rest", "--json"))
    assert found["asked"]["rest"] is False and rest["asked"]["rest"] is True
    assert found["whole"] == rest["whole"] == found["hardware"][0]["experiment"]
    assert found["left"] == rest["left"] == rest["hardware"][0]["experiment"]
    assert 0 < found["left"]["value"] < found["whole"]["value"]


def test_in_its_only_run_so_far_too_and_with_other_counts(tmp_path: Path, estimate: Estimate) -> None:
    write_recording(tmp_path / "logs" / "arc", "compute", 0.5)
    found = json.loads(estimate("--json", "--folds", "0", "--restarts", "1"))
    assert 0.4 * found["whole"]["value"] < found["left"]["value"] < 0.6 * found["whole"]["value"]


def test_of_one_that_is_over_nothing_is_left(tmp_path: Path, estimate: Estimate) -> None:
    write_recording(tmp_path / "logs" / "quick", "quickstart", 4.0)
    assert estimate().splitlines()[3] == "  what is left of it: nothing; --rest asks for that"


def test_of_what_has_not_begun_nothing_is_said_of_a_rest(tmp_path: Path, estimate: Estimate) -> None:
    write_test(tmp_path / "logs" / "arc-phases")
    assert "left of it" not in estimate() and "first step" not in estimate()
    found = json.loads(estimate("--json"))
    assert found["whole"] is None and found["left"] is None
