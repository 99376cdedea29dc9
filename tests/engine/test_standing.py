"""Where a test of profiles stands, from recorded visits."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Test
from engine.journals.events import ExperimentEnded, PhaseBegun, Verdict
from engine.live.state import ExperimentState
from engine.phase.standing import standing
from engine.status import status
from engine.visit_status import results_of
from tests.recordings import state_of, write_recording
from tests.tested import STEPS, write_test
from tui import phase_table
from tui.verbs.showing import status_lines


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
    assert at.seconds is not None and at.left is not None and at.low is not None and at.high is not None
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


def test_the_status_of_a_test_names_its_phase_and_not_a_trainings_end(half: ExperimentState) -> None:
    told = status(half)
    assert told.test is not None
    assert (told.test.kind, told.test.phase, told.test.phases, told.test.steps) == ("phases", 3, 4, STEPS)
    assert told.test.at == pytest.approx(half.now + (told.test.left or 0))
    assert [one.samples_per_second is not None for one in told.test.measured] == [True, True, False, False]
    assert told.forecast.experiment.seconds is None and told.forecast.run.seconds is None
    said = "\n".join(status_lines(half))
    assert f"phase 3/4 4 workers, further ahead  round 1  step {STEPS // 2}/{STEPS}" in said
    assert "1 as it is: 0.0" in said and "samples/s" in said
    assert "test ends " in said
    assert not re.search(r"\brun 1/|epoch|all runs", said)


def test_a_phase_that_a_stop_cut_short_is_not_under_way_for_good(half: ExperimentState) -> None:
    ended = msgspec.structs.replace(half, phase="stopped", ended=ExperimentEnded(outcome="stopped", text="stopped as asked"))
    assert [one.verdict for one in results_of(half)][2:] == ["running", "waiting"]
    assert [one.verdict for one in results_of(ended)][2:] == ["stopped", "waiting"]
    lines = phase_table.report(results_of(ended), ended.plan)
    assert not any("under way" in line for line in lines)
    assert any("stopped before a visit to it counted" in line for line in lines)


STOP = Verdict(kind="user_stop", text="stopped as asked after step 300, checkpoint saved")


@pytest.mark.parametrize("outcome", ["finished", "stopped"])
def test_that_a_trial_was_stopped_is_no_end_of_the_test(half: ExperimentState, outcome: str) -> None:
    end = ExperimentEnded(outcome=outcome, text="stopped as asked: 2 phases measured")  # type: ignore[arg-type]
    over = msgspec.structs.replace(half, phase=outcome, ended=end, verdict=STOP)
    said = "\n".join(status_lines(over))
    assert "checkpoint saved" not in said
    assert said.count("2 phases measured") == 1
    assert ("goes on with the phases that are left" in said) == (outcome == "stopped")


def test_a_training_is_no_test(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc")
    assert status(state_of(tmp_path / "arc")).test is None
