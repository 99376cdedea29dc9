"""The folds: the same state however the lines are cut, nothing from lines that mean nothing, and a resume goes back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.journals.events import (
    AnyRecord,
    CheckpointWritten,
    End,
    Metrics,
    Note,
    Progress,
    RunEnded,
    RunStarted,
    Sample,
    Steps,
    StopChanged,
    SupervisorStarted,
    Verdict,
    decode_many,
    encode,
)
from engine.journals.journal import Reader
from engine.live.fold_experiment import fold_samples, fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.state import (
    RECENT,
    SAMPLES,
    SENTENCES,
    ExperimentState,
    RunState,
    all_sentences,
    new_experiment,
    new_run,
)
from tests.recordings import write_recording
from tests.traces import KINDS, Recipe, plan_of, run_records, trace, until_step

KEY = RunKey(fold=0, restart=0, seed=42)
NEVER = b'{"k":"from_the_future","n":3,"t":1.0,"m":99999.0,"step":7}\n{"k":"steps","n":4}\nnot even JSON\n\n[]\n'


def chunked(records: Sequence[AnyRecord], sizes: Sequence[int], run: RunState | None = None) -> RunState:
    run, at, turn = run if run is not None else new_run(KEY), 0, 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        run = fold_run(run, records[at : at + size])
        at, turn = at + size, turn + 1
    return run


def resumed(seed: int) -> list[AnyRecord]:
    """Two attempts: the second goes on from the checkpoint after epoch 2 of 4."""
    rng = random.Random(seed)
    recipe = Recipe(epochs=4, steps_per_epoch=25)
    first = until_step(run_records(recipe, [rng.uniform(0.9, 1.1) for _ in range(100)], seed=seed), 50 + rng.randrange(5, 25))
    again = Recipe(epochs=4, steps_per_epoch=25, attempt=2, from_step=50)
    return [*first, *run_records(again, [rng.uniform(0.9, 1.1) for _ in range(100)], first[-1].t + 60, seed=seed + 1)]


@settings(max_examples=50, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 30), sizes=st.lists(st.integers(1, 120), min_size=1, max_size=8))
def test_a_run_is_the_same_however_its_lines_are_cut(kind: str, seed: int, sizes: list[int]) -> None:
    records, _, _ = trace(kind, seed, epochs=6, steps_per_epoch=40)
    assert chunked(records, sizes) == fold_run(new_run(KEY), records)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_a_resumed_run_is_the_same_however_its_lines_are_cut(seed: int, sizes: list[int]) -> None:
    records = resumed(seed)
    assert chunked(records, sizes) == fold_run(new_run(KEY), records)


@settings(max_examples=30, deadline=None)
@given(limit=st.integers(200, 20_000), seed=st.integers(0, 20))
def test_a_journal_is_the_same_in_blocks_of_any_size(tmp_path_factory: pytest.TempPathFactory, limit: int, seed: int) -> None:
    records = resumed(seed)
    path = tmp_path_factory.mktemp("run") / "steps-001.jsonl"
    path.write_bytes(b"".join(encode(record) for record in records))
    run = new_run(KEY)
    for block in Reader(path).read_all(limit):
        run = fold_run(run, block)
    assert run == fold_run(new_run(KEY), records)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), places=st.lists(st.integers(0, 100), max_size=6))
def test_unknown_and_damaged_lines_change_nothing(seed: int, places: list[int]) -> None:
    lines = [encode(record) for record in resumed(seed)]
    whole = fold_run(new_run(KEY), decode_many(b"".join(lines))[0])
    for place in places:
        lines.insert(place % (len(lines) + 1), NEVER)
    records, damaged = decode_many(b"".join(lines))
    assert fold_run(new_run(KEY), records) == whole
    assert damaged == 4 * len(places)


def test_a_supervisors_record_in_a_runs_journal_changes_nothing_but_the_clock() -> None:
    run = fold_run(new_run(KEY), resumed(1))
    stray = RunStarted(fold=0, restart=0, attempt=9, pid=1, t=5.0, m=77.0)
    assert replace(fold_run(run, [stray]), last_monotonic=run.last_monotonic) == run


def test_a_resume_goes_back_to_its_checkpoint() -> None:
    records = resumed(7)
    second = next(i for i, r in enumerate(records) if i and type(r).__name__ == "Begin")
    before, after = fold_run(new_run(KEY), records[:second]), fold_run(new_run(KEY), records[: second + 1])
    assert before.step > 50
    assert (after.step, after.epoch, after.attempt) == (50, 3, 2)
    assert (after.pace.steps, after.pace.buckets[-1].last) == (50, 50)
    assert after.recent == ()
    assert all(step <= 50 for points in after.curves.values() for step, _ in points)
    assert after.started == before.started
    end = fold_run(new_run(KEY), records)
    assert (end.step, end.pace.steps, end.phase) == (100, 100, "finished")
    assert "resumed after step 50" in [sentence.text for sentence in end.sentences]


def test_where_a_run_is_follows_from_its_last_lines() -> None:
    records = run_records(Recipe(epochs=2, steps_per_epoch=10), [1.0] * 20)
    run = fold_run(new_run(KEY), until_step(records, 13))
    assert (run.epoch, run.step, run.step_in_epoch, run.steps_total, run.phase) == (2, 13, 3, 20, "running")
    assert run.activity == ""
    half = fold_run(run, [Progress(name="validate", done=0, total=8, t=10.0), Progress(name="validate", done=4, total=8, t=14.0)])
    assert (half.activity, half.activity_done, half.activity_total, half.activity_since) == ("validate", 4, 8, 10.0)
    done = fold_run(new_run(KEY), records)
    assert done.phase == "finished"
    assert done.parts["validate"].count == 2
    assert done.parts["validate"].mean == pytest.approx(10.0, rel=0.06)
    assert done.parts["evaluate"].items == 20
    assert done.test is not None and done.validation is not None


def test_what_is_kept_is_bounded_however_long_the_run() -> None:
    steps = [Steps(epoch=1, step=i, steps=1, seconds=0.1, low=0.1, high=0.1, t=float(i)) for i in range(1, 2001)]
    notes: list[AnyRecord] = [Note(text=f"note {i}", t=float(i)) for i in range(1000)]
    metrics: list[AnyRecord] = [Metrics(split="val", values={"dice": 0.5}, step=i) for i in range(1000)]
    run = fold_run(new_run(KEY), [*steps, *notes, *metrics])
    assert len(run.recent) == RECENT
    assert len(run.sentences) == SENTENCES
    assert run.sentences[-1].text == "note 999"
    assert len(run.curves["val/dice"]) == 500
    state = fold_samples(new_experiment("/logs/x", plan_of(Recipe())), [Sample(cores=1, cpu=0.0, t=float(i)) for i in range(2000)])
    assert len(state.samples) == SAMPLES
    assert state.samples[-1].t == 1999.0


def test_a_checkpoint_that_could_not_be_written_is_said_in_red() -> None:
    run = fold_run(new_run(KEY), [CheckpointWritten(file="step-00000010.pt", step=10, error="No space left on device")])
    assert run.sentences[-1].level == "bad"
    assert "No space left on device" in run.sentences[-1].text


# ---------------------------------------------------------------- the experiment


def experiment() -> ExperimentState:
    keys = (KEY, RunKey(fold=0, restart=1, seed=43))
    return new_experiment("/logs/x", plan_of(Recipe(), keys))


def life() -> list[AnyRecord]:
    finished = Verdict(kind="finished", text="trained to its last epoch and evaluated")
    return [
        SupervisorStarted(pid=1, host="h", boot_id="b", runs=((0, 0), (0, 1)), t=1.0, m=1001.0),
        RunStarted(fold=0, restart=0, attempt=1, pid=2, t=2.0, m=1002.0),
        RunEnded(fold=0, restart=0, attempt=1, outcome="finished", verdict=finished, seconds=98.0, t=100.0, m=1100.0),
        RunStarted(fold=0, restart=1, attempt=1, pid=3, t=103.5, m=1103.5),
        StopChanged(id="1", mode="after_run", phase="acknowledged", by="cli", t=110.0, m=1110.0),
    ]


def test_gaps_between_runs_are_measured() -> None:
    state = fold_supervisor(experiment(), life())
    assert state.gaps == (3.5,)
    assert (state.current, state.phase, state.runs_finished) == (1, "stopping", 1)
    assert state.stop is not None and state.stop.mode == "after_run"


@given(sizes=st.lists(st.integers(1, 4), min_size=1))
def test_an_experiment_is_the_same_however_its_lines_are_cut(sizes: list[int]) -> None:
    records, state, at, turn = life(), experiment(), 0, 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        state = fold_supervisor(state, records[at : at + size])
        at, turn = at + size, turn + 1
    assert state == fold_supervisor(experiment(), life())


def test_a_cancelled_stop_is_gone() -> None:
    cancelled = StopChanged(id="1", mode="after_run", phase="cancelled", by="cli", t=120.0)
    state = fold_supervisor(experiment(), [*life(), cancelled])
    assert (state.stop, state.phase) == (None, "running")


def test_a_supervisor_that_takes_over_goes_on_counting_and_another_begins_anew() -> None:
    def again(adopted: int) -> SupervisorStarted:
        return SupervisorStarted(pid=7, host="h", boot_id="b", stop_after_runs=2, adopted=adopted, t=130.0)

    assert fold_supervisor(experiment(), [*life(), again(adopted=3)]).runs_ended_here == 1
    assert fold_supervisor(experiment(), [*life(), again(adopted=0)]).runs_ended_here == 0


def test_a_run_nobody_planned_is_passed_over() -> None:
    stray = RunStarted(fold=9, restart=9, attempt=1, pid=2, t=2.0)
    assert fold_supervisor(experiment(), [stray]) == experiment()


def test_an_end_that_was_not_the_last_word_can_be_followed_by_another_attempt() -> None:
    records = [*until_step(run_records(Recipe(epochs=2, steps_per_epoch=10), [1.0] * 20), 12), End(outcome="stopped", step=12)]
    stopped = fold_run(new_run(KEY), records)
    assert stopped.phase == "stopped"
    again = run_records(Recipe(epochs=2, steps_per_epoch=10, attempt=2, from_step=12), [1.0] * 20)
    assert fold_run(stopped, again[:1]).phase == "running"
    assert fold_run(stopped, again).phase == "finished"


@pytest.mark.parametrize(("kind", "at"), [("quickstart", 0.5), ("quickstart", 2.4), ("quickstart", 4), ("arc", 0.05)])
def test_recordings_read_as_what_they_are(tmp_path: Path, kind: str, at: float) -> None:
    """The simulated experiments other tests show on screens: whole, readable, in order."""
    from tests.recordings import state_of

    write_recording(tmp_path / "made", kind, at)
    state = state_of(tmp_path / "made")
    assert state.runs_finished == int(at)
    assert state.phase == ("finished" if at >= len(state.runs) else "running")
    assert state.damaged == 0
    assert state.run is not None and state.run.step >= int((at % 1) * state.run.steps_total)
    said = all_sentences(state)
    assert [sentence.t for sentence in said] == sorted(sentence.t for sentence in said)
    assert state.samples and state.samples[-1].workers
