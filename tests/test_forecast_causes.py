"""Why the pace changed: what the machine did before and after, said beside it, or that nothing was seen."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine.config.run_keys import RunKey
from engine.eta.forecast import forecast
from engine.journals.events import AnyRecord, Gpu, RunStarted, Sample, Steps, SupervisorStarted, Worker
from engine.journals.journal import write_all
from engine.live.causes import likely, machine
from engine.live.changes import NOT_SEEN
from engine.live.replay import Replay
from engine.live.state import ExperimentState, all_sentences, new_run
from engine.machine.gpu import Gpus
from engine.paths import ExperimentPaths, write_json
from engine.status import status
from tests.traces import STARTED, Recipe, plan_of, prepared_of, run_records
from tests.tui.conftest import view
from tui.widgets.finish import finish_lines
from tui.widgets.line import text_of

GIB = 1 << 30
GPU = Gpu(
    index=0, name="A100", util=97.0, memory_used=40 * GIB, memory_total=80 * GIB, own_memory=39 * GIB, temperature=70.0,
    power=380.0, power_limit=400.0, clock=1410.0,
)
CALM = Sample(
    cores=12, cpu=4.2, own_cpu=4.0, ram_total=100 * GIB, ram_available=60 * GIB, disk_read=1e6, gpus=(GPU,),
    workers=(Worker(pid=1, role="trainer"), *(Worker(pid=2 + i) for i in range(4))),
)


def gpu(**changed: object) -> Sample:
    return msgspec.structs.replace(CALM, gpus=(msgspec.structs.replace(GPU, **changed),))


def other(**changed: object) -> Sample:
    return msgspec.structs.replace(CALM, **changed)


TABLE = [
    (gpu(clock=1005.0), "GPU clock down 1,410→1,005 MHz"),
    (gpu(clock=1005.0, held_back=("too hot",)), "GPU clock down 1,410→1,005 MHz (too hot)"),
    (gpu(clock=1005.0, temperature=91.0), "GPU clock down 1,410→1,005 MHz (it is 91 °C hot)"),
    (gpu(clock=1200.0, power=399.0), "GPU clock down 1,410→1,200 MHz (at its power limit)"),
    (gpu(memory_used=60 * GIB), "another process came to the GPU (20.0 GiB)"),
    (gpu(others_util=30.0), "other processes' kernels run 30 % of the time"),
    (other(cpu=9.5), "other processes use 5.5 of 12 cores (before: 0.2)"),
    (other(workers=CALM.workers[:3]), "2 of 4 loader processes gone"),
    (other(ram_available=GIB), "memory is nearly full (1.0 % left)"),
    (other(disk_read=2.4e8), "disk reads 1→240 MB/s: volumes no longer in memory"),
]


@pytest.mark.parametrize(("after", "text"), TABLE)
def test_what_was_seen_is_said(after: Sample, text: str) -> None:
    assert likely([CALM] * 20, [after] * 20, ratio=1.5) == text


def test_and_what_got_better_when_it_is_faster() -> None:
    for worse, _ in TABLE:
        said = likely([worse] * 20, [CALM] * 20, ratio=0.7)
        assert said != likely([CALM] * 20, [worse] * 20, ratio=1.5)
    assert likely([other(cpu=9.5)] * 9, [CALM] * 9, ratio=0.7) == "other processes use 0.2 of 12 cores (before: 5.5)"
    assert likely([gpu(clock=1005.0)] * 9, [CALM] * 9, ratio=0.7) == "GPU clock up 1,005→1,410 MHz"
    assert likely([other(disk_read=2e8)] * 9, [CALM] * 9, 0.7) == "disk reads 200→1 MB/s: volumes are in memory now"


def test_a_little_more_company_on_a_full_machine_is_no_cause_of_steps_that_take_twice_as_long() -> None:
    """Two cores, both busy: the others use 1.6 instead of 1.5 of them, the training 0.4 instead of 0.5."""
    before, after = other(cores=2, cpu=2.0, own_cpu=0.5), other(cores=2, cpu=2.0, own_cpu=0.4)
    company = "other processes use 1.6 of 2 cores (before: 1.5)"
    assert likely([before] * 20, [after] * 20, ratio=1.25) == company
    assert likely([before] * 20, [after] * 20, ratio=2.5) == f"{company}, which is a part of it; the rest was not seen"
    assert "a part of it" not in likely([after] * 20, [before] * 20, ratio=0.8)


def test_a_slower_disk_reads_less_in_the_same_time() -> None:
    assert likely([other(disk_read=3e8)] * 9, [other(disk_read=6e7)] * 9, 1.5) == "disk reads 300→60 MB/s: a slower disk"


def test_nothing_seen_is_said_too_and_so_is_nothing_looked_at() -> None:
    assert likely([CALM] * 20, [CALM] * 20, ratio=1.5) == NOT_SEEN
    assert likely([], [CALM] * 20, ratio=1.5) == f"{NOT_SEEN}: the machine was not looked at then"


def test_of_many_causes_the_two_most_telling_are_said() -> None:
    bad = msgspec.structs.replace(gpu(clock=700.0), cpu=11.0, disk_read=5e8, workers=CALM.workers[:2])
    said = likely([CALM] * 9, [bad] * 9, ratio=1.5)
    assert said == "GPU clock down 1,410→700 MHz; 3 of 4 loader processes gone"


readings = st.builds(
    Sample, cores=st.integers(1, 256), cpu=st.floats(0, 256), own_cpu=st.floats(0, 256), ram_total=st.integers(0, 1 << 40),
    ram_available=st.integers(0, 1 << 40), disk_read=st.none() | st.floats(0, 1e10),
    gpus=st.lists(st.builds(
        Gpu, index=st.integers(0, 7), clock=st.none() | st.floats(0, 3000), temperature=st.none() | st.floats(-10, 120),
        power=st.none() | st.floats(0, 1000), power_limit=st.none() | st.floats(0, 1000),
        memory_used=st.none() | st.integers(0, 1 << 38), own_memory=st.none() | st.integers(0, 1 << 38),
    ), max_size=2).map(tuple),
)


@given(before=st.lists(readings, max_size=5), after=st.lists(readings, max_size=5), ratio=st.floats(0.05, 20.0).filter(lambda x: x != 1.0))
def test_whatever_the_sampler_wrote_there_is_an_answer(before: list[Sample], after: list[Sample], ratio: float) -> None:
    assert likely(before, after, ratio)
    if before:
        assert machine(before).cores == before[-1].cores


# ---------------------------------------------------------------- in a recorded experiment


def record(folder: Path, throttled: bool) -> ExperimentPaths:
    """A run whose steps take 40 % longer from its middle on; where `throttled`, the GPU's clock falls at that moment."""
    recipe = Recipe(epochs=1, steps_per_epoch=600, validate_every=0, checkpoint_every=0, device="cuda:0")
    rng, paths = random.Random(5), ExperimentPaths(folder)
    seconds = [rng.uniform(0.95, 1.05) * (1.4 if i >= 300 else 1.0) for i in range(600)]
    plan = plan_of(recipe)
    run = paths.run(0, 0)
    run.folder.mkdir(parents=True)
    write_json(paths.plan, plan)
    write_json(paths.data, prepared_of(recipe))
    records: list[AnyRecord] = run_records(recipe, seconds)
    change = next(r.t for r in records if isinstance(r, Steps) and r.step >= 300)
    write_all(run.segment(1), records)
    write_all(paths.events, [
        SupervisorStarted(pid=1, host="h", boot_id="simulated", runs=((0, 0),), t=STARTED - 2, m=998.0),
        RunStarted(fold=0, restart=0, attempt=1, pid=2, t=STARTED - 1, m=999.0),
    ])
    samples: list[AnyRecord] = []
    t = STARTED
    while t < records[-1].t:
        seen = gpu(clock=1005.0, held_back=("too hot",)) if throttled and t > change else CALM
        samples.append(msgspec.structs.replace(seen, t=t, m=t - STARTED + 1000.0))
        t += 2.0
    write_all(paths.machine, samples)
    return paths


def played(paths: ExperimentPaths) -> ExperimentState:
    replay = Replay(paths.folder)
    return replay.state_at(replay.begins + 0.9 * (replay.ends - replay.begins))


def test_a_throttled_gpu_is_named_in_the_events_beside_the_forecast_and_in_the_status(tmp_path: Path) -> None:
    state = played(record(tmp_path / "hot", throttled=True))
    (change,) = forecast(state).changes
    assert change.cause == "GPU clock down 1,410→1,005 MHz (too hot)"
    assert change.words.startswith("41 % slower since ")
    (event,) = [one.text for one in all_sentences(state) if "slower" in one.text]
    assert event.endswith(": GPU clock down 1,410→1,005 MHz (too hot)")
    (told,) = status(state).forecast.changes
    assert (told.cause, told.ratio > 1.3) == (change.cause, True)


def test_a_recent_change_stands_in_the_panel_for_an_hour(tmp_path: Path) -> None:
    state = played(record(tmp_path / "hot", throttled=True))
    lines = [text_of(line) for line in finish_lines(view(state), 90, 5)]
    assert any("slower since" in line and line.endswith("GPU clock down 1,410→1,005 MHz (too hot)") for line in lines)
    later = msgspec.structs.replace(state, now=state.now + 7200.0)
    assert not any("slower since" in text_of(line) for line in finish_lines(view(later), 90, 5))


def test_a_cause_is_not_cut_where_the_panel_is_narrow(tmp_path: Path) -> None:
    """At 120 columns the panel is 56 wide: the cause goes over two lines, and where there is no room for both the epoch's
    end gives way."""
    state = played(record(tmp_path / "hot", throttled=True))
    one_more = msgspec.structs.replace(state, runs=(*state.runs, new_run(RunKey(fold=1, restart=0, seed=43))))
    for shown, rows in ((state, ["epoch", "run 1", "experiment"]), (one_more, ["run 1", "s stop after it", "experiment"])):
        lines = [text_of(line) for line in finish_lines(view(shown), 56, 5)]
        assert len(lines) == 5 and all(len(line) <= 56 for line in lines)
        assert all(line.startswith(word) for line, word in zip(lines, rows, strict=False)), lines
        said = " ".join(line.strip() for line in lines)
        assert "slower since" in said and said.endswith("GPU clock down 1,410→1,005 MHz (too hot)")


def test_without_a_sign_it_says_that_none_was_seen(tmp_path: Path) -> None:
    state = played(record(tmp_path / "odd", throttled=False))
    assert [change.cause for change in forecast(state).changes] == [NOT_SEEN]


def test_the_forecast_goes_by_the_new_pace(tmp_path: Path) -> None:
    state = played(record(tmp_path / "hot", throttled=True))
    step = next(one for one in forecast(state).ladder if one.name == "step")
    assert step.estimate.seconds == pytest.approx(1.4, rel=0.02)


def test_watched_live_and_played_later_the_cause_is_the_same(tmp_path: Path) -> None:
    paths = record(tmp_path / "hot", throttled=True)
    replay = Replay(paths.folder)
    state = replay.state_at(replay.begins)
    for part in range(1, 91):
        state = replay.state_at(replay.begins + part / 100 * (replay.ends - replay.begins))
    assert state.runs[0].causes == played(paths).runs[0].causes


# ---------------------------------------------------------------- what the driver says


class Driver:
    """A stand-in for NVML that knows one device, and why its clock is down under one of the call's two names."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, name: str, bits: int) -> None:
        if name:
            setattr(self, name, lambda _handle: bits)

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index


@pytest.mark.parametrize(
    ("name", "bits", "words"),
    [
        ("nvmlDeviceGetCurrentClocksEventReasons", 0x20 | 0x40, ("too hot",)),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", 0x04 | 0x80, ("power cap", "power brake")),
        ("nvmlDeviceGetCurrentClocksEventReasons", 0x01, ()),  # idle is no reason to complain
        ("", 0, ()),
    ],
)
def test_why_a_clock_is_down_is_read_under_either_name(name: str, bits: int, words: tuple[str, ...]) -> None:
    (seen,) = Gpus(Driver(name, bits)).read(set())
    assert seen.held_back == words
