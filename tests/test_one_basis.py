"""Status, estimate, check and the what-if screen say the same of the same training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from engine.diagnosis.modelled import Range
from engine.eta.calibration import Calibration, Factor
from engine.eta.earlier import Earlier
from engine.eta.forecast import Estimate, forecast
from engine.eta.lessons import timing_of
from engine.eta.replayed import moments
from engine.journals.records import SupervisorInfo
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths, write_json
from engine.process import ident
from engine.runs.expected import expect
from engine.runs.launch import Request
from engine.whatif.estimate import Subject, of_request
from engine.whatif.known import known_of
from engine.whatif.until_end import seconds_more
from engine.whatif.what_if import Question, times
from tests.benchmarks.forecast import ended
from tests.fixtures.recorded import unpack
from tests.recordings import LIKE_QUICKSTART, on_this_machine, write_recording
from tui.cli import main
from tui.what_if import answered

REST = Question(rest=True)


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {folder.name: folder for folder in unpack(tmp_path_factory.mktemp("recorded"))}


def same(one: Range, other: Estimate) -> None:
    assert other.seconds is not None
    assert (one.value, one.low, one.high) == pytest.approx((other.seconds, other.low, other.high), rel=1e-9)
    assert one.basis == other.basis


def told_alike(state: ExperimentState) -> None:
    said, known = forecast(state), known_of(state, ())
    found = times(known, REST)
    same(found.run, said.run)
    same(found.experiment, said.experiment)
    assert known.warming == said.warming
    if state.plan.slots == 1:
        assert sum(found.parts.values()) == pytest.approx(sum(said.parts.values()), abs=1e-6)


@pytest.mark.parametrize("name", ["quickstart", "quickstart-resumed", "mni-white-matter", "uneven", "loader-bound"])
def test_what_is_left_takes_what_the_forecast_says_at_every_moment(experiments: dict[str, Path], name: str) -> None:
    seen = list(moments(experiments[name], every=9))
    assert len(seen) >= 8
    for moment in seen:
        told_alike(moment.state)


def test_it_does_with_what_earlier_experiments_and_forecasts_taught(experiments: dict[str, Path]) -> None:
    timing = timing_of(ended(experiments["quickstart"]))
    assert timing is not None
    wide = Calibration({"run/middle": Factor(3.0, 4.0), "experiment/middle": Factor(2.0, 5.0)}, 120, 9)
    slower = msgspec.structs.replace(timing, step_seconds=1.4 * timing.step_seconds)
    earlier = Earlier(timings=(slower,), calibration=wide)
    for moment in moments(experiments["quickstart-resumed"], every=20, earlier=earlier):
        told_alike(moment.state)


def test_it_does_where_runs_go_on_side_by_side(experiments: dict[str, Path]) -> None:
    for moment in moments(experiments["quickstart"], every=30):
        plan = msgspec.structs.replace(moment.state.plan, slots=2)
        told_alike(msgspec.structs.replace(moment.state, plan=plan))


def test_while_it_warms_it_says_so_and_the_range_is_as_wide(experiments: dict[str, Path]) -> None:
    first = next(moments(experiments["mni-white-matter"]))
    assert forecast(first.state).warming
    told_alike(first.state)
    found = times(known_of(first.state, ()), REST)
    assert found.run.basis.startswith("warming")
    assert found.run.low is not None and found.run.high is not None and found.run.low < 0.5 * found.run.high


def test_the_what_if_screen_begins_with_what_the_dashboard_shows(experiments: dict[str, Path]) -> None:
    moment = list(moments(experiments["quickstart"], every=30))[4]
    known = known_of(moment.state, ())
    answer = answered(Subject(known=known), REST, (), (), "")
    same(answer.own.experiment, forecast(moment.state).experiment)


def test_other_knobs_are_counted_from_the_same_costs(experiments: dict[str, Path]) -> None:
    """Validating never: the forecast's own seconds for it are what is saved."""
    moment = next(moments(experiments["quickstart-batch-2"], every=40))
    said = forecast(moment.state)
    saved = seconds_more(moment.state, {"val_every_epochs": 0}, Range(1.0, 1.0, 1.0), said)
    asked = times(known_of(moment.state, ()), Question(rest=True, knobs={"val_every_epochs": 0}))
    assert said.parts["validate"] > 0 and said.experiment.seconds is not None and asked.experiment.value is not None
    assert saved.value is not None
    assert saved.value == pytest.approx(-said.parts["validate"], rel=0.06)
    # A run that is taken up again starts anew.
    assert asked.experiment.value == pytest.approx(said.experiment.seconds + saved.value, rel=0.1)


def test_status_and_estimate_print_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(tmp_path / "arc", "compute", 1.5)
    own = ident(os.getpid())
    assert own is not None
    write_json(ExperimentPaths(tmp_path / "arc").supervisor, SupervisorInfo(who=own, started=0.0))
    assert main(["--logs", str(tmp_path), "--readonly", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "running"
    assert main(["--logs", str(tmp_path), "estimate", "--rest", "--gpu", "T4", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["hardware"][0]
    for rung in ("run", "experiment"):
        moment = status["forecast"][rung]
        # Between the two commands a step or so may have gone by.
        for mine, theirs in (("value", "seconds"), ("low", "low"), ("high", "high")):
            assert row[rung][mine] == pytest.approx(moment[theirs], rel=2e-3), (rung, mine)


def test_check_and_estimate_foretell_the_same_launch(tmp_path: Path) -> None:
    """`check` and the launch dialog say what `expect` does, `estimate` what is made of the request."""
    (tmp_path / "small.toml").write_text(LIKE_QUICKSTART)
    write_recording(tmp_path / "logs" / "before", "quickstart", 4.0)
    on_this_machine(tmp_path / "logs" / "before")
    request = Request(
        experiment=str(tmp_path / "small.toml"), logs=tmp_path / "logs", settings={"num_workers": 2}, restarts=1, device="cpu"
    )
    said, subject = expect(request), of_request(request, ())
    assert said is not None and len(subject.known.runs) == 2
    found = times(subject.known, subject.question)
    same(found.run, said.run)
    same(found.experiment, said.experiment)
    assert found.parts == pytest.approx(said.parts)
    longer = times(subject.known, msgspec.structs.replace(subject.question, epochs=16))
    assert longer.experiment.value is not None and said.experiment.seconds is not None
    assert 1.7 * said.experiment.seconds < longer.experiment.value < 2 * said.experiment.seconds
