"""Runs side by side foretold again: each moment knows what both had written by then, and nothing of later."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace as changed
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.eta.moments import Moment, moments
from engine.eta.replayed import foretold
from engine.journals.events import (
    AnyRecord,
    ExperimentEnded,
    RunEnded,
    RunStarted,
    Steps,
    StopChanged,
    SupervisorStarted,
    Verdict,
)
from engine.journals.journal import write_all
from engine.limit.ends import nth_end
from engine.paths import ExperimentPaths, write_json
from tests.test_forecast import CALM, calm_records
from tests.traces import STARTED, plan_of, prepared_of

THREE = tuple(RunKey(fold=0, restart=restart, seed=42 + restart) for restart in range(3))
DONE = Verdict(kind="finished", text="trained to its last epoch and evaluated")
# Seconds of a step, and when each begins: the third takes the slot of the quick one.
SECONDS, BEGUN = (2.0, 4.0, 2.0), (0.0, 1.0, 320.0)
RECIPE = changed(CALM, validate_every=0, evaluate_items=4)


def journals() -> list[list[AnyRecord]]:
    return [
        calm_records(RECIPE, key, STARTED + begun, seconds)
        for key, begun, seconds in zip(THREE, BEGUN, SECONDS, strict=True)
    ]


def at(record: AnyRecord, m: float) -> AnyRecord:
    return replace(record, t=STARTED + m - 1000.0, m=m)  # type: ignore[type-var]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slots, three runs."""
    paths = ExperimentPaths(tmp_path_factory.mktemp("logs") / "pair")
    paths.folder.mkdir()
    write_json(paths.plan, plan_of(RECIPE, THREE, name="pair", slots=2))
    write_json(paths.data, prepared_of(RECIPE))
    events: list[AnyRecord] = [at(SupervisorStarted(pid=1, host="h", boot_id="b"), 999.0)]
    for place, (key, records) in enumerate(zip(THREE, journals(), strict=True)):
        run = paths.run(*key.at)
        run.folder.mkdir()
        write_all(run.segment(1), records)
        own = {"fold": 0, "restart": key.restart, "attempt": 1}
        first, last = records[0].m - 0.5, records[-1].m + 0.5
        events.append(at(RunStarted(**own, pid=2 + place, slot=place % 2), first))
        events.append(at(RunEnded(**own, outcome="finished", verdict=DONE, seconds=last - first), last))
    over = max(event.m for event in events) + 1
    events.append(at(ExperimentEnded(outcome="finished", text="all 3 runs finished"), over))
    write_all(paths.events, sorted(events, key=lambda event: event.m))
    return paths.folder


def steps_by(place: int, m: float) -> int:
    """How many steps a run's journal had by that moment."""
    steps = [record for record in journals()[place] if isinstance(record, Steps)]
    return bisect_right(steps, m, key=lambda record: record.m)


def shown(moment: Moment) -> int:
    assert moment.state.current is not None
    return moment.state.current


def test_a_moment_of_one_sees_the_others_as_far_as_they_had_come(folder: Path) -> None:
    seen = list(moments(folder))
    assert {shown(moment) for moment in seen} == {0, 1, 2}
    assert [moment.record.m for moment in seen] == sorted(moment.record.m for moment in seen), "in the order of the clock"
    for moment in seen:
        for place, run in enumerate(moment.state.runs):
            assert run.step == steps_by(place, moment.record.m), (shown(moment), moment.percent, place)
        assert moment.state.runs[shown(moment)].step == moment.record.step
    both = [moment for moment in seen if shown(moment) == 0 and moment.percent > 10]
    assert all(moment.state.runs[1].step > 0 and moment.state.under_way == (0, 1) for moment in both)
    late = [moment for moment in seen if shown(moment) == 1 and moment.percent > 75]
    assert all(moment.state.runs[0].phase == "finished" and moment.state.runs[2].step > 0 for moment in late)
    early = [moment for moment in seen if shown(moment) == 1 and moment.percent < 40]
    assert early and all(moment.state.runs[0].phase == "running" and moment.state.runs[2].phase == "waiting" for moment in early)


def test_every_percent_of_each_of_them_is_held_against_its_own_end(folder: Path) -> None:
    found = foretold(folder, every=10)
    for key, records in zip(THREE, journals(), strict=True):
        own = [one for one in found if one.rung == "run" and one.run == f"pair/{key.name}"]
        assert len(own) == 10
        assert {round(one.true_total, 3) for one in own} == {round(records[-1].m - records[0].m + 1, 3)}
        assert abs(own[-1].error) < 0.05
    whole = [one for one in found if one.rung == "experiment"]
    assert {one.run for one in whole} == {f"pair/{key.name}" for key in THREE}
    assert all(one.true_total == pytest.approx(whole[0].true_total) for one in whole)
    late = [one for one in whole if one.percent >= 80 and one.run.endswith("restart 1")]
    assert late and all(abs(one.error) < 0.03 for one in late), "the other slot's run counts by its own pace"


@pytest.mark.parametrize("place", [0, 1])
def test_the_end_of_each_is_told_by_its_own_pace_whichever_is_shown(folder: Path, place: int) -> None:
    """One takes twice as long a step as the other: how many runs a limit leaves room for rests on both."""
    moment = next(one for one in moments(folder) if shown(one) == place and one.percent >= (50 if place == 0 else 30))
    assert len(moment.state.under_way) == 2
    true = [records[-1].m - moment.record.m for records in journals()[:2]]
    assert [nth_end(moment.state, count) for count in (1, 2)] == [pytest.approx(end, rel=0.1) for end in true]
    assert nth_end(moment.state, 4) is None


def test_what_is_foretold_while_a_stop_is_obeyed_is_left_out(tmp_path: Path) -> None:
    """What a forecast says then is when the stop is done; the run finished later, and that is no error of its."""
    paths = ExperimentPaths(tmp_path / "stopped")
    paths.folder.mkdir()
    key, records = THREE[0], journals()[0]
    write_json(paths.plan, plan_of(RECIPE, THREE[:1], name="stopped"))
    write_json(paths.data, prepared_of(RECIPE))
    run = paths.run(*key.at)
    run.folder.mkdir()
    steps = [index for index, record in enumerate(records) if isinstance(record, Steps)]
    cut = steps[59]
    stop = records[steps[49]].m + 0.1
    write_all(run.segment(1), records[: cut + 1])
    again = calm_records(changed(RECIPE, attempt=2, from_step=60), key, STARTED + 500)
    write_all(run.segment(2), again)
    own = {"fold": 0, "restart": 0}
    write_all(paths.events, [
        at(SupervisorStarted(pid=1, host="h", boot_id="b"), 999.0),
        at(RunStarted(**own, attempt=1, pid=2), 999.5),
        at(StopChanged(id="1", mode="now", phase="acknowledged"), stop),
        at(RunEnded(**own, attempt=1, outcome="stopped", verdict=DONE, seconds=130.0), records[cut].m + 0.5),
        at(SupervisorStarted(pid=3, host="h", boot_id="b"), 1499.0),
        at(RunStarted(**own, attempt=2, pid=4), 1499.5),
        at(RunEnded(**own, attempt=2, outcome="finished", verdict=DONE, seconds=130.0), again[-1].m + 0.5),
    ])
    seen = [moment.record.step for moment in moments(paths.folder)]
    assert [step for step in seen if step <= 50] and not [step for step in seen if 50 < step <= 60]
    assert [step for step in seen if step > 60][-1] == RECIPE.steps
