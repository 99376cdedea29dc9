"""The table of phases in text: what its signs mean, how sure its extrapolations are, and nothing twice."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Phase, Test
from engine.config.profile import Value
from engine.journals.events import ExperimentEnded
from engine.phase.extrapolation import ranges
from engine.phase.measure import measured
from engine.phase.phase_json import document
from engine.phase.phases import PhaseResult
from engine.phase.ratio import ratio
from engine.visit_status import results_of
from tests.recordings import ARC, plan_for
from tests.tested import write_test
from tests.tui.conftest import view
from tui.phase_table import report
from tui.widgets.banner import banner_lines, room_for
from tui.widgets.line import text_of


def phase(number: int, noise: float, count: int = 40, **knobs: Value) -> PhaseResult:
    draw = random.Random(number)
    plan = plan_for(ARC, "arc")
    held = plan.profile.knobs | knobs
    each = [1.0 * draw.uniform(1 - noise, 1 + noise) for _ in range(count)]
    found = measured(each, [1] * count, 1, knobs=held)
    return PhaseResult(
        number=number, name=f"p{number}", knobs=held, changed=knobs, measured=found, verdict="ok",
        seconds={"epoch": 100.0, "run": 1000.0, "experiment": 5000.0},
    )  # fmt: skip


def test_extrapolations_are_as_sure_as_the_pace_they_follow_from() -> None:
    one = phase(0, 0.3)
    assert one.measured is not None
    low, high = ranges(one)["experiment"]
    half = (one.measured.samples_high / one.measured.samples_low) ** 0.5
    assert low < 5000.0 < high and (high / low) ** 0.5 == pytest.approx(half)
    (line,) = [line for line in report([one], plan_for(ARC, "arc")) if "experiment" in line]
    assert line.count(" to ") == 3 and "epoch 1m 40s (" in line
    assert document("arc", "finished", "phases", [one]).phases[0].seconds_range["experiment"] == (low, high)


def test_what_is_not_known_is_explained_where_it_stands() -> None:
    vague = phase(1, 0.9, 3)
    assert vague.measured is not None
    nothing = msgspec.structs.replace(vague.measured, samples_low=0.0, samples_high=float("inf"))
    vague = msgspec.structs.replace(vague, measured=nothing)
    sure = phase(0, 0.02)
    assert sure.measured is not None
    vague = msgspec.structs.replace(vague, ratio=ratio(sure.measured, nothing), verdict="not distinguishable")
    said = report([sure, vague], plan_for(ARC, "arc"))
    assert any("±?" in line and "(?)" in line for line in said)
    assert said[-1].startswith("±? and (?): the 95 % interval is so wide")
    assert any("range not known" in line for line in said)
    assert not any("±?" in line for line in report([sure], plan_for(ARC, "arc")))


@pytest.mark.parametrize("size", [(120, 40), (100, 36)])
def test_the_banner_holds_the_whole_reason_of_a_tuner(tmp_path: Path, size: tuple[int, int]) -> None:
    why = (
        "The profile in use is kept: num_workers 2, prefetch_factor 2 measured ×1.28 (0.83 to 2.01), which may be "
        "chance. Stopped after 3 rounds: the steps allowed are used up; nothing of it is left running"
    )
    state = write_test(tmp_path / "arc-tune")
    state = msgspec.structs.replace(state, ended=ExperimentEnded(outcome="finished", text=why))
    lines, _ = banner_lines(view(state), "", size[0] - 1, room=room_for(size[1]))
    said = " ".join(" ".join(text_of(line) for line in lines).split())
    assert "which may be chance" in said and "the steps allowed are used up" in said
    assert "…" not in said


def test_that_it_is_another_training_is_said_once() -> None:
    found = [phase(0, 0.02), phase(1, 0.02, batch_size=2), phase(2, 0.02, batch_size=4), phase(3, 0.02, precision="fp32")]
    said = [line for line in report(found, plan_for(ARC, "arc")) if "another training" in line]
    assert said == [
        "phases 2, 3: batch_size changes more than the speed: it is another training",
        "phase 4: precision changes more than the speed: it is another training",
    ]


def test_a_tuner_that_keeps_the_profile_in_use_calls_nothing_fastest(tmp_path: Path) -> None:
    """Though another phase measured more, and whichever of them was measured first."""
    state = write_test(tmp_path / "arc-tune")
    assert state.plan.test is not None
    for number in (0, 1):
        used = Phase(name="conservative", knobs=state.plan.test.phases[number].knobs)
        plan = msgspec.structs.replace(state.plan, test=Test(kind="tune", phases=(used,)))
        said = report(results_of(state), plan, used.knobs)
        assert f"the profile in use is kept: {state.plan.test.phases[number].name}" in said
        assert not any(line.startswith("fastest") for line in said)
