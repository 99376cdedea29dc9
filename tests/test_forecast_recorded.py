"""Real trainings of this project, recorded, foretold again: how far off, and how often the range held."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from engine.live.changes import changes_of
from engine.live.replay import Replay
from tests.benchmarks._others import TOOLS
from tests.benchmarks.forecast import Replayed, recorded
from tests.fixtures.recorded import HERE, RECIPES, unpack


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return unpack(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def runs(experiments: list[Path]) -> list[Replayed]:
    return recorded(experiments)


def test_there_are_ten_kinds_of_them_and_they_are_small(experiments: list[Path]) -> None:
    assert len(experiments) >= 8
    assert {one.name for one in experiments} <= set(RECIPES)
    assert sum(file.stat().st_size for file in HERE.glob("*.tar.xz")) < 300_000


def test_their_ranges_hold_nine_times_in_ten(runs: list[Replayed]) -> None:
    assert 0.8 <= sum(run.coverage for run in runs) / len(runs) <= 0.97


def test_with_what_the_others_taught_they_hold_more_often(experiments: list[Path], runs: list[Replayed]) -> None:
    learnt = recorded(experiments, learnt=True)
    assert sum(run.coverage for run in learnt) > sum(run.coverage for run in runs)


def test_where_others_left_the_cores_alone_the_end_is_known_at_a_tenth_better_than_any_tool_knows_it(
    runs: list[Replayed],
) -> None:
    calm = [run for run in runs if run.kind == "recorded"]
    own = median(run.error for run in calm)
    assert len(calm) >= 4 and own <= 0.04
    assert all(own < median(run.tool(name) for run in calm) for name in TOOLS)


def test_after_a_stop_and_a_resume_the_end_is_still_known(runs: list[Replayed]) -> None:
    (resumed,) = (run for run in runs if "resumed" in run.name)
    later = [abs(one.error) for one in resumed.seen if one.percent > 40]
    assert median(later) <= 0.1
    assert resumed.coverage >= 0.85


def test_why_these_trainings_became_slower_or_faster_is_mostly_seen(experiments: list[Path]) -> None:
    """Test suites and benchmarks came and went on the same two cores."""
    causes = []
    for experiment in experiments:
        replay = Replay(experiment)
        for run in replay.state_at(replay.ends).runs:
            causes += [change.cause for change in changes_of(run)]
    named = [cause for cause in causes if cause.startswith("other processes use ")]
    assert len(causes) >= 10
    assert len(named) >= 0.6 * len(causes)
