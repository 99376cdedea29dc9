"""Recorded tests of profiles, and trainings that changed their profile, simulated: the same every time.

`write_test(folder)` writes plan and journals of a test of four phases on the loader-bound machine: two workers instead of
one, four, a batch of two, and one that ran out of GPU memory. `write_changed(folder)` is a training that took up another
profile and was measured before and after.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from engine.config.plan import Phase, Plan, Test
from engine.config.profile import Value
from engine.journals.events import (
    AnyRecord,
    Begin,
    ExperimentEnded,
    PhaseBegun,
    PhaseEnded,
    PrepareEnded,
    PrepareStarted,
    ProfileAsked,
    ProfileChanged,
    RunStarted,
    Spans,
    Steps,
    SupervisorStarted,
    Use,
    Verdict,
)
from engine.journals.journal import read, write_all
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths, write_json
from tests.recordings import ARC, GIB, STARTED, _at, _samples, plan_for, prepared_for, state_of, write_recording

LOAD, COMPUTE = 15.2, 2.8
STEPS = 24
OOM = Verdict(
    kind="gpu_oom",
    text="the GPU's memory was full",
    advice="a smaller batch_size, or precision = fp16",
    evidence=("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 51.80 GiB",),
)
PHASES: tuple[tuple[str, str, dict[str, Value]], ...] = (
    ("as it is", "what everything else is compared with", {}),
    ("2 workers", "the loader alone", {"num_workers": 2}),
    ("4 workers, further ahead", "more of it", {"num_workers": 4, "prefetch_factor": 4}),
    ("batch 2", "the plan expected twice the speed", {"batch_size": 2}),
)


def test_plan(name: str) -> Plan:
    """The loader-bound experiment's, with a test of PHASES."""
    plan = plan_for(ARC, name)
    phases = tuple(Phase(name=n, why=why, knobs=plan.profile.knobs | knobs) for n, why, knobs in PHASES)
    return msgspec.structs.replace(plan, runs=plan.runs[:1], test=Test(kind="phases", phases=phases, steps=STEPS))


test_plan.__test__ = False  # type: ignore[attr-defined]


def seconds_of(knobs: dict[str, Value]) -> float:
    """A step of this training: it computes, or it waits for its workers."""
    batch = int(knobs["batch_size"])
    return max(COMPUTE * batch, (LOAD + COMPUTE) * batch / int(knobs["num_workers"]))


def visit(number: int, turn: int, name: str, knobs: dict[str, Value], t: float, low: float | None = None) -> list[AnyRecord]:
    """One round of a phase, from `t` on."""
    rng = random.Random(f"{number}/{turn}")
    mean, batch = seconds_of(knobs), int(knobs["batch_size"])
    each = tuple(mean * rng.uniform(0.97, 1.03) for _ in range(STEPS))
    trial = f"{number}-{turn}"
    high = low * 1.25 if low is not None else None
    begun = PhaseBegun(
        phase=number, round=turn, name=name, knobs=knobs, steps=STEPS, low=low, high=high,
        basis=f"modelled from {STEPS * number} steps measured here" if low is not None else "", trial=trial,
    )
    if batch > 1:
        ended = PhaseEnded(phase=number, round=turn, name=name, knobs=knobs, verdict=OOM, trial=trial)
        return [_at(begun, t), _at(ended, t + 40.0)]
    data = max(0.0, mean - COMPUTE) * STEPS
    ended = PhaseEnded(
        phase=number, round=turn, name=name, knobs=knobs, verdict=Verdict(kind="ok", text="measured"), trial=trial,
        seconds=each, samples=(batch,) * STEPS, loads=STEPS, load_seconds=17.3 * STEPS, load_squares=17.3**2 * STEPS,
        spans=Spans(data=data, forward=0.9 * STEPS, backward=1.6 * STEPS, optimizer=0.17 * STEPS), swap_seconds=0.12,
        use=Use(
            ram_peak=(4 + 6 * int(knobs["num_workers"])) * GIB, gpu_util=100 * COMPUTE / mean,
            vram_allocated=58 * GIB, vram_reserved=61 * GIB, shm_peak=GIB // 4, own_cores=1.0, foreign_cores=0.02,
        ),
    )
    return [_at(begun, t), _at(ended, t + sum(each))]


def write_test(folder: Path, over: bool = True) -> ExperimentState:
    """All of it; without `over` the third phase is under way, half of its steps done."""
    plan, prepared, paths = test_plan(folder.name), prepared_for(ARC), ExperimentPaths(folder)
    run = paths.run(0, 0)
    for made in (folder, paths.control, paths.acknowledged, run.folder):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(paths.plan, plan)
    write_json(paths.data, prepared)
    events = [
        _at(SupervisorStarted(pid=4100, host="simulated", boot_id="simulated", runs=((0, 0),)), STARTED),
        _at(PrepareStarted(pid=4110), STARTED + 0.3),
        _at(PrepareEnded(seconds=90.0, ok=True), STARTED + 90.0),
        _at(RunStarted(fold=0, restart=0, attempt=1, pid=4242, device="0"), STARTED + 91.0),
    ]
    assert plan.test is not None
    order = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1)] if over else [(0, 0), (1, 0), (2, 0)]
    t = STARTED + 100.0
    for number, turn in order:
        phase = plan.test.phases[number]
        expected = 0.95 / seconds_of(phase.knobs) if number and not turn else None
        events += visit(number, turn, phase.name, phase.knobs, t, expected)
        t = events[-1].t + 2.0
    steps: list[AnyRecord] = [_at(Begin(attempt=1, epochs=1, steps_per_epoch=148, device="cuda:0", pid=4242), STARTED + 92.0)]
    if over:
        events.append(_at(ExperimentEnded(outcome="finished", text="all phases measured", knobs=plan.test.phases[2].knobs), t))
    else:
        t = events[-2].t
        events.pop()
        steps += _steps(plan.test.phases[2].knobs, t + 1.0, f"{2}-{0}", 48)
        t = steps[-1].t
    write_all(paths.events, events)
    write_all(run.segment(1), steps)
    write_all(paths.machine, _samples(ARC, STARTED, t))
    state = state_of(folder)
    return msgspec.structs.replace(state, supervisor_alive=not over, trainer_alive=not over)


def _steps(knobs: dict[str, Value], t: float, trial: str, before: int) -> list[AnyRecord]:
    """A visit that is half through."""
    mean = seconds_of(knobs)
    changed = ProfileChanged(id=trial, name="", knobs=knobs, changed=("num_workers",), step=before, seconds=0.12)
    records: list[AnyRecord] = [_at(changed, t)]
    for step in range(1, STEPS // 2 + 1):
        t += mean
        records.append(_at(line(before + step, mean), t))
    return records


def line(step: int, seconds: float, single: bool = True) -> Steps:
    """One step as the trainer writes it."""
    return Steps(
        epoch=step // 148 + 1, step=step, steps=1, seconds=seconds, low=seconds, high=seconds, samples=1, loss=0.4,
        each=(seconds,) if single else None, loads=1, load_seconds=17.3, load_squares=17.3**2,
        spans=Spans(data=max(0.0, seconds - COMPUTE), forward=0.9, loss=0.08, backward=1.6, optimizer=0.17),
    )


def write_changed(folder: Path, steps: int = 40, workers: int = 2) -> ExperimentState:
    """A training that went on with `workers` loader processes instead of one, `steps` steps ago."""
    write_recording(folder, "arc", 0.25)
    paths = ExperimentPaths(folder)
    journal = paths.run(0, 0).segment(1)
    records = read(journal)
    last = next(record for record in reversed(records) if isinstance(record, Steps))
    plan = plan_for(ARC, folder.name)
    knobs = plan.profile.knobs | {"num_workers": workers}
    write_json(paths.plan, msgspec.structs.replace(plan, profile=msgspec.structs.replace(plan.profile, name="moderate", knobs=knobs)))
    changed = ProfileChanged(
        id="1", name="moderate", knobs=knobs, former={"num_workers": 1}, changed=("num_workers",), step=last.step, seconds=0.12,
    )
    asked = ProfileAsked(id="1", name="moderate", knobs=knobs, by="the dashboard")
    t, mean = last.t + 1.0, seconds_of(knobs)
    rng = random.Random(workers)
    added: list[AnyRecord] = [_at(changed, t)]
    for step in range(1, steps + 1):
        seconds = mean * rng.uniform(0.97, 1.03)
        t += seconds
        added.append(_at(line(last.step + step, seconds), t))
    events = read(paths.events)
    for path, whole in ((journal, [*records, *added]), (paths.events, [*events, _at(asked, last.t + 0.5)])):
        path.unlink()
        write_all(path, whole)
    paths.machine.unlink()
    write_all(paths.machine, _samples(ARC, STARTED, t))
    state = state_of(folder)
    return msgspec.structs.replace(state, supervisor_alive=True, trainer_alive=True)
