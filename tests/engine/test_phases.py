"""Test phases: what is visited in which order, what is made of it, and what becomes of phases that fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import process
from engine.config.plan import Phase, Plan, Test
from engine.config.profile import defaults
from engine.journals.events import ExperimentEnded, PhaseEnded, RunEnded, Spans, Steps, Use, Verdict
from engine.journals.journal import read
from engine.live.watch import Watch
from engine.machine import contention
from engine.paths import ExperimentPaths
from engine.phase import courses, phases, tuned, tuning
from engine.phase.courses import Visit
from engine.phase.ratio import ratio
from engine.phase.space import key
from engine.runs import control, living
from tests.conftest import Laboratory, fake_plan, wait_until

TRIAL = Path(__file__).parents[1] / "fake_trial.py"
OK = Verdict(kind="ok", text="measured")


def test_of(lab_plan: Plan, *knobs: dict[str, Any], kind: str = "phases", steps: int = 12, gate: bool = True) -> Plan:
    named = tuple(
        Phase(name=f"p{number}", knobs=defaults() | {"num_workers": 1, "prefetch_factor": 2} | one)
        for number, one in enumerate(knobs)
    )
    experiment = msgspec.structs.replace(lab_plan.experiment, command=(sys.executable, "-P", str(TRIAL)))
    test = Test(kind=kind, phases=named, steps=steps, gate=gate)  # type: ignore[arg-type]
    return msgspec.structs.replace(lab_plan, experiment=experiment, test=test, runs=lab_plan.runs[:1])


test_of.__test__ = False  # type: ignore[attr-defined]


def visited(paths: ExperimentPaths) -> list[PhaseEnded]:
    return [record for record in read(paths.events) if isinstance(record, PhaseEnded)]


def finish(lab: Laboratory, plan: Plan) -> tuple[ExperimentPaths, ExperimentEnded]:
    paths = lab.launch(plan)
    wait_until(lambda: Watch(paths.folder).quick().ended, 60, "the test's end")
    ended = Watch(paths.folder).quick().ended
    assert ended is not None
    return paths, ended


def found(paths: ExperimentPaths) -> tuple[phases.PhaseResult, ...]:
    state = Watch(paths.folder).poll()
    return phases.results(state.plan, None, state.visits)


# ---------------------------------------------------------------- with real processes


def test_twice_the_workers_are_faster_and_twice_the_batch_is_not(lab: Laboratory) -> None:
    paths, ended = finish(lab, test_of(fake_plan(), {}, {"batch_size": 2}, {"num_workers": 2}, steps=30))
    assert ended.outcome == "finished", ended.text
    first, batch, workers = found(paths)
    assert first.verdict in ("ok", "unstable")
    assert workers.ratio is not None
    assert workers.ratio.low > 1.4, workers
    assert workers.verdict == "faster", workers.text
    assert batch.ratio is not None
    assert 0.8 < batch.ratio.value < 1.25, "the loader is the limit: twice the batch brings nothing"
    assert phases.best(found(paths)) == workers
    assert "nothing of it is left running" in ended.text


def test_only_a_new_batch_size_takes_a_process_of_its_own(lab: Laboratory) -> None:
    paths, _ = finish(lab, test_of(fake_plan(), {}, {"num_workers": 2}, {"batch_size": 2}, steps=8))
    ends = [record for record in read(paths.events) if isinstance(record, RunEnded)]
    assert len(ends) <= 4, "a process for each batch size, and once more each for the later rounds"
    by_process = {record.trial for record in visited(paths)}
    assert len(by_process) == len(visited(paths)), "every visit has an id of its own"
    assert all(record.outcome == "stopped" for record in ends)


def test_a_phase_out_of_gpu_memory_ends_itself_and_the_gate_closes(lab: Laboratory) -> None:
    plan = test_of(fake_plan(), {}, {"in_order": False}, {"num_workers": 2}, steps=8)
    paths, ended = finish(lab, plan)
    first, broken, third = found(paths)
    assert first.measured is not None
    assert broken.verdict == "gpu_oom"
    assert broken.advice
    assert third.verdict == "waiting"
    assert "not started" in ended.text
    assert "--no-gate" in ended.text


def test_without_the_gate_the_next_phase_runs_all_the_same(lab: Laboratory) -> None:
    plan = test_of(fake_plan(), {}, {"val_num_workers": 9}, {"num_workers": 2}, steps=8, gate=False)
    paths, ended = finish(lab, plan)
    _, killed, third = found(paths)
    assert killed.verdict not in ("ok", "running", "waiting")
    assert third.measured is not None
    assert ended.outcome == "finished"


def test_a_stop_ends_the_test_at_once_and_leaves_nothing_behind(lab: Laboratory) -> None:
    paths = lab.launch(test_of(fake_plan(), {}, {"num_workers": 2}, steps=5000))
    wait_until(lambda: (paths.run(0, 0).folder / "steps-001.jsonl").exists(), what="a trial")
    control.request(paths, "stop_now")
    wait_until(lambda: Watch(paths.folder).quick().ended, 20, "the end")
    state = Watch(paths.folder).poll()
    assert state.phase == "stopped"
    assert visited(paths) == []
    assert process.holding(str(paths.folder), name=process.FOLDER) == []


def test_a_test_whose_supervisor_was_killed_goes_on_where_it_was(lab: Laboratory) -> None:
    paths = lab.launch(test_of(fake_plan(), {}, {"num_workers": 2}, {"num_workers": 4}, steps=60))
    wait_until(lambda: visited(paths), 30, "a first visit")
    os.kill(lab.supervisor(paths).who.pid, signal.SIGKILL)
    time.sleep(0.5)
    before = visited(paths)
    from engine.runs.launch import supervise

    supervise(paths.folder)
    wait_until(lambda: Watch(paths.folder).quick().ended, 60, "the end")
    after = visited(paths)
    assert after[: len(before)] == before
    assert {record.phase for record in after} == {0, 1, 2}
    assert process.holding(str(paths.folder), name=process.FOLDER) == []


def test_somebody_who_takes_a_core_is_seen_and_the_visit_repeated(lab: Laboratory) -> None:
    burner = os.fork()
    if burner == 0:
        while True:
            pass
    try:
        paths, _ = finish(lab, test_of(fake_plan(), {}, steps=40))
    finally:
        os.kill(burner, signal.SIGKILL)
        os.waitpid(burner, 0)
    visits = visited(paths)
    assert any(visit.repeated for visit in visits)
    assert max(visit.use.foreign_cores or 0.0 for visit in visits) > 0.3
    assert sum(not visit.repeated for visit in visits) >= 1, "after some repeats it counts all the same"


def test_bench_says_what_computing_and_loading_alone_would_be(lab: Laboratory) -> None:
    paths, ended = finish(lab, test_of(fake_plan(), {}, kind="bench", steps=24))
    assert ended.outcome == "finished", ended.text
    whole, resident, load = found(paths)
    assert (whole.mode, resident.mode, load.mode) == ("train", "resident", "load")
    assert whole.measured is not None
    assert resident.measured is not None
    assert resident.measured.step_seconds < whole.measured.step_seconds
    assert whole.rounds == 2
    assert resident.ratio is None


# ---------------------------------------------------------------- the course, as data


def ended(number: int, turn: int, knobs: dict[str, Any], step: float = 0.02, steps: int = 24, **more: Any) -> PhaseEnded:
    jitter = [step * (1 + 0.01 * ((i * 7919) % 11 - 5)) for i in range(steps)]
    return PhaseEnded(
        phase=number, round=turn, name=f"p{number}", knobs=knobs, seconds=tuple(jitter), samples=(1,) * steps,
        spans=Spans(forward=step * steps), **({"verdict": OK} | more),
    )


def through(plan: Plan, step: dict[int, float] | None = None, **fail: Any) -> tuple[list[Visit], str]:
    """All visits of a course when every phase goes well, or as `fail` says."""
    done: list[PhaseEnded] = []
    visits: list[Visit] = []
    while not isinstance(visit := courses.next_visit(plan, done), str):
        visits.append(visit)
        assert len(visits) < 100
        more = fail.get(visit.name, {})
        done.append(ended(visit.phase, visit.round, visit.knobs, (step or {}).get(visit.phase, 0.02), visit.steps, **more))
    return visits, visit


def test_phases_come_in_order_and_then_take_turns() -> None:
    visits, said = through(test_of(fake_plan(), {}, {"num_workers": 2}, steps=0))
    assert [(v.phase, v.round) for v in visits][:2] == [(0, 0), (1, 0)]
    assert {(v.phase, v.round) for v in visits} >= {(0, 1), (1, 1)}
    assert said == "all phases measured"


def test_visits_hold_whole_blocks_of_the_workers_batches() -> None:
    for workers in (1, 2, 3, 4, 5):
        visits, _ = through(test_of(fake_plan(), {"num_workers": workers}, steps=0))
        for visit in visits:
            assert (visit.steps - courses.margin(visit.knobs)) % workers == 0
            assert visit.steps - courses.margin(visit.knobs) >= 4


def test_a_process_is_not_left_while_its_loaders_still_take_turns() -> None:
    plan = test_of(fake_plan(), {}, {"batch_size": 2}, {"num_workers": 2}, steps=0)
    visits, _ = through(plan)
    later = [visit.phase for visit in visits if visit.round > 0]
    assert later.index(1) > max(i for i, number in enumerate(later) if number in (0, 2)) or later.index(1) == 0


def test_a_disturbed_visit_does_not_count() -> None:
    plan = test_of(fake_plan(), {}, steps=0)
    first = courses.next_visit(plan, [])
    assert isinstance(first, Visit)
    again = courses.next_visit(plan, [ended(0, 0, first.knobs, repeated=True)])
    assert isinstance(again, Visit)
    assert (again.phase, again.round) == (0, 0)


def used(foreign: float, own: float = 1.5, **more: Any) -> dict[str, Any]:
    return {"use": Use(cores=2, own_cores=own, foreign_cores=foreign, **more)}


def test_of_visits_that_were_all_disturbed_the_least_disturbed_one_counts() -> None:
    knobs = defaults() | {"num_workers": 1}
    tries = [
        ended(0, 0, knobs, 0.02, **used(1.4), repeated=True),
        ended(0, 0, knobs, 0.03, **used(0.3), repeated=True),
        ended(0, 0, knobs, 0.04, **used(1.7)),
    ]
    assert [visit.use.foreign_cores for visit in phases.counted(tries)] == [0.3]
    assert phases.counted(tries[:2]) == [], "it is being repeated"
    assert phases.counted([*tries[:2], ended(0, 0, knobs, 0.02, **used(0.05))])[0].use.foreign_cores == 0.05


@pytest.mark.parametrize(
    ("use", "verdict"),
    [
        (used(0.05), "faster"),
        (used(1.6), "unstable"),
        (used(1.6, own=0.1), "faster"),  # it waits, and others may have the cores
        (used(0.0, foreign_gpu=30.0), "unstable"),
    ],
    ids=["alone", "somebody takes the cores", "cores it does not need", "somebody computes on the GPU"],
)
def test_what_others_got_in_the_way_of_proves_nothing(use: dict[str, Any], verdict: str) -> None:
    """However large the difference: neither of the disturbed phase, nor of those that are compared with it."""
    plan = test_of(fake_plan(), {}, {"num_workers": 2})
    assert plan.test is not None
    one, two = (phase.knobs for phase in plan.test.phases)
    quiet = used(0.0)
    for uses in ((use, quiet), (quiet, use)):
        records = [
            ended(number, turn, knobs, step, 40, **uses[number])
            for turn in (0, 1)
            for number, knobs, step in ((0, one, 0.02), (1, two, 0.005))
        ]
        second = phases.results(plan, None, records)[1]
        assert second.verdict == verdict
        assert second.ratio is not None and second.ratio.low > 3
        assert verdict == "faster" or "other processes used" in second.text


def test_the_parts_of_a_step_are_never_more_than_the_step() -> None:
    """Its first steps, which waited for the workers' start, are in neither."""
    knobs = defaults() | {"num_workers": 1}
    visit = ended(0, 0, knobs, 0.1, 40)
    slow = msgspec.structs.replace(visit, seconds=(8.0, *visit.seconds[1:]), spans=Spans(data=8.5, forward=3.4))
    found = phases.measurement([slow], 0)
    assert found is not None
    assert found.step_seconds == pytest.approx(0.1, rel=0.05)
    assert sum(found.spans.values()) <= found.step_seconds * 1.001


def test_several_knobs_at_once_are_said_to_belong_to_none_alone() -> None:
    plan = test_of(fake_plan(), {}, {"num_workers": 2, "prefetch_factor": 4})
    assert plan.test is not None
    records = [
        ended(number, turn, plan.test.phases[number].knobs, 0.02 / (number + 1), 40) for turn in (0, 1) for number in (0, 1)
    ]
    _, second = phases.results(plan, None, records)
    assert not second.attributable
    assert "2 knobs changed at once" in phases.effect(second)


# ---------------------------------------------------------------- contention


def test_what_a_process_of_ones_own_uses_is_not_foreign() -> None:
    before = contention.read([os.getpid()])
    deadline = time.process_time() + 0.5
    while time.process_time() < deadline:
        pass
    after = contention.read([os.getpid()])
    assert contention.own_cores(before, after) > 0.1
    assert contention.foreign_cores(before, after) < contention.foreign_cores(
        contention.Reading(before.at, before.busy, {}), contention.Reading(after.at, after.busy, {})
    )


@pytest.mark.parametrize(("cores", "machine", "expected"), [(0.05, 2, False), (0.2, 2, True), (0.2, 96, False), (3.0, 96, True)])
def test_an_eighth_of_a_core_disturbs_a_small_machine(cores: float, machine: int, expected: bool) -> None:
    assert contention.disturbed(cores, machine) is expected


# ---------------------------------------------------------------- a living training


def asked(**knobs: Any) -> control.Request:
    return control.Request(id="1", verb="profile", name="mine", knobs=knobs)


def test_a_living_training_takes_what_is_speed_only_and_the_plan_remembers() -> None:
    plan = fake_plan()
    own = msgspec.structs.replace(plan, experiment=msgspec.structs.replace(plan.experiment, command=()))
    assert living.refusal(own, asked(num_workers=4)) == ""
    changed = living.with_profile(own, asked(num_workers=4))
    assert changed.profile["num_workers"] == 4
    assert changed.training_hash == plan.training_hash


def test_a_batch_size_is_refused_with_what_to_do_instead() -> None:
    plan = fake_plan()
    own = msgspec.structs.replace(plan, experiment=msgspec.structs.replace(plan.experiment, command=()))
    said = living.refusal(own, asked(batch_size=2))
    assert "batch_size" in said
    assert "steptop phases" in said
    assert "changes the optimisation" in said


def test_steps_of_a_living_training_are_compared_before_and_after() -> None:
    def line(step: int, seconds: float, single: bool) -> Steps:
        return Steps(
            epoch=1, step=step, steps=1, seconds=seconds, low=seconds, high=seconds, samples=1,
            each=(seconds,) if single else None, load_seconds=0.02, loads=1, load_squares=0.0004,
        )

    before = [line(i, 0.1 + 0.001 * (i % 5), False) for i in range(1, 61)]
    after = [line(i, 0.05 + 0.001 * (i % 3), True) for i in range(61, 121)]
    a = phases.of_lines(before, defaults() | {"num_workers": 1})
    b = phases.of_lines(after, defaults() | {"num_workers": 2})
    assert a is not None
    assert b is not None
    found = ratio(a, b)
    assert found.verdict == "faster"
    assert 1.8 < found.value < 2.1


def test_more_workers_than_the_machine_bears_are_refused_with_the_arithmetic(lab: Laboratory) -> None:
    paths = lab.launch(fake_plan())
    plan = Watch(paths.folder).quick().plan
    assert "cores" in living.beyond(plan, asked(num_workers=64), paths.folder)
    assert living.beyond(plan, asked(num_workers=1), paths.folder) == ""


# ---------------------------------------------------------------- the tuner


def test_the_tuner_finds_the_workers_that_are_enough_and_auto_learns_of_it(lab: Laboratory) -> None:
    paths, ended = finish(lab, test_of(fake_plan(), {}, kind="tune"))
    assert ended.outcome == "finished", ended.text
    assert ended.knobs is not None
    assert int(ended.knobs["num_workers"]) >= 2, "12 ms of loading, 4 ms of computing: three are enough"
    plan = Watch(paths.folder).quick().plan
    lines = tuning.ranking(paths, plan)
    assert lines
    assert "measured" in lines[0]
    assert any("by the model" in line for line in lines)
    answer, state = tuning.read_answer(paths), Watch(paths.folder).poll()
    assert answer is not None
    table = {key(one.knobs): one for one in phases.results(plan, state.prepared, state.visits)}
    for one in answer.ranking:
        shown = table[key(one.knobs)].measured if key(one.knobs) in table else None
        assert (one.measured is None) == (shown is None), "what was measured is ranked by its measurement"
        if one.measured is not None and shown is not None:
            assert one.measured.samples_per_second == pytest.approx(shown.samples_per_second)
            assert (one.measured.samples_low, one.measured.steps) == pytest.approx((shown.samples_low, shown.steps))
    assert plan.test is not None
    assert min(table.values(), key=lambda one: one.number).knobs == plan.test.phases[0].knobs, "the measure is in use"
    assert (lab.logs / "tuned.toml").exists()
    kept = tuned.entries(lab.logs)[0]
    best = table[key(ended.knobs)].measured
    assert best is not None
    assert (kept.samples_per_second, kept.low) == pytest.approx((best.samples_per_second, best.samples_low))
    assert f"{kept.samples_per_second:.3g} samples/s, " in kept.text
    assert "[tuned.knobs]" in (lab.logs / "tuned.toml").read_text()


def test_a_configuration_that_ran_out_of_memory_is_not_tried_again_nor_a_larger_one(lab: Laboratory) -> None:
    plan = test_of(fake_plan(), {"in_order": False}, kind="tune")
    paths, ended = finish(lab, plan)
    assert ended.outcome == "failed"
    assert len(visited(paths)) <= 2, [visit.name for visit in visited(paths)]
