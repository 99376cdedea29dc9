"""Where a test of profiles stands, from recorded visits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.events import PhaseBegun
from engine.experiment import Test
from engine.standing import standing
from engine.state import ExperimentState
from tests.recordings import state_of, write_recording
from tests.tested import STEPS, write_test


@pytest.fixture
def half(tmp_path: Path) -> ExperimentState:
    """The third phase's first visit, half through."""
    return write_test(tmp_path / "arc-phases", over=False)


def test_the_visit_under_way_and_what_is_left_of_it(half: ExperimentState) -> None:
    at = standing(half, 4.5)
    assert at is not None
    assert (at.phase, at.phases, at.round, at.name) == (2, 4, 0, "4 workers, further ahead")
    assert (at.step, at.steps) == (STEPS // 2, STEPS)
    assert at.seconds == pytest.approx(4.5 * STEPS / 2)
    assert at.left is not None and at.low is not None and at.high is not None
    assert at.seconds < at.low < at.left < at.high


def test_steps_of_the_visit_before_do_not_count(half: ExperimentState) -> None:
    begun = half.visits[-1]
    assert isinstance(begun, PhaseBegun)
    fresh = msgspec.structs.replace(half, visits=(*half.visits[:-1], msgspec.structs.replace(begun, trial="another")))
    at = standing(fresh, 4.5)
    assert at is not None and at.step == 0 and at.seconds is None


def test_between_visits_at_the_end_and_in_a_training_there_is_none(half: ExperimentState, tmp_path: Path) -> None:
    assert standing(msgspec.structs.replace(half, visits=half.visits[:-1]), 4.5) is None
    assert standing(write_test(tmp_path / "over"), 4.5) is None
    write_recording(tmp_path / "arc")
    assert standing(state_of(tmp_path / "arc"), 17.9) is None


def test_a_tuner_decides_as_it_goes(half: ExperimentState) -> None:
    test = Test(kind="tune", phases=half.plan.test.phases[:1])  # type: ignore[union-attr]
    at = standing(msgspec.structs.replace(half, plan=msgspec.structs.replace(half.plan, test=test)), 4.5)
    assert at is not None and at.phases == 0 and at.left is None and at.seconds is not None
