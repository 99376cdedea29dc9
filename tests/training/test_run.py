"""One training from its first line to its results, by the real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.journals.events import (
    Begin,
    CheckpointWritten,
    End,
    EpochEnded,
    Metrics,
    PrecisionActive,
    Progress,
    SpanEnded,
    Steps,
)
from engine.journals.records import Completion
from engine.live.fold_run import fold_run
from engine.live.state import new_run
from engine.machine.cores import machine
from engine.paths import ExperimentPaths, RunPaths, read_json
from engine.training import results
from tests.training.world import (
    build,
    config_hash,
    plan_of,
    prepared_of,
    records,
    result,
    start_for_real,
    train,
)

# One worker of pytest-xdist for all of these: they share a training.
pytestmark = pytest.mark.xdist_group("a-run")

EPOCHS = 30
STEPS = 4 * EPOCHS
FIELDS = {
    "outer_fold", "restart", "seed", "test_dice", "test_avd", "test_mcc", "final_train_loss", "checkpoint_path",
    "duration_seconds", "per_subject_dice", "per_subject_avd", "per_subject_mcc", "subject_indices", "subject_ids",
    "config_hash", "epochs", "attempts",
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> ExperimentPaths:
    """Balls that can be told from noise: trained by the very command the supervisor uses, with two workers."""
    paths = build(
        tmp_path_factory.mktemp("run"), subjects=8, shape=(14, 15, 16), knobs={"num_workers": 2, "val_every_epochs": 10},
        table={"epochs": EPOCHS, "model": {"channels": 4}, "optimizer": {"lr": 0.02}, "schedule": {"pct_start": 0.2}},
    )
    process = start_for_real(paths.run(0, 0))
    assert process.wait(120) == 0, paths.run(0, 0).console.read_text()
    return paths


@pytest.fixture(scope="module")
def run(paths: ExperimentPaths) -> RunPaths:
    return paths.run(0, 0)


def test_it_learns(run: RunPaths) -> None:
    found = read_json(run.results, Completion)
    assert found is not None
    assert found.test_dice is not None
    assert found.test_dice > 0.7
    losses = [record.loss for record in records(run, EpochEnded)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_journal_begins_with_what_is_trained_and_ends_with_how_it_ended(run: RunPaths) -> None:
    every = records(run)
    begin, end = every[0], every[-1]
    assert isinstance(begin, Begin)
    assert begin.cores == machine().cores
    assert begin.knobs["num_workers"] == 2 and begin.knobs["val_every_epochs"] == 10 and "compile" in begin.knobs
    assert isinstance(end, End)
    assert (begin.epochs, begin.steps_per_epoch, begin.voxels_per_sample) == (EPOCHS, 4, 14 * 15 * 16)
    assert (begin.num_workers, begin.device, begin.seed, begin.fold) == (2, "cpu", 42, 0)
    assert begin.parameters > 0
    assert begin.device_name
    assert (end.outcome, end.step, end.epoch) == ("finished", STEPS, EPOCHS)
    assert [record.n for record in every] == list(range(1, len(every) + 1))


def test_every_step_is_told_once_and_its_parts_fit_into_it(run: RunPaths) -> None:
    lines: list[Steps] = records(run, Steps)  # type: ignore[assignment]
    assert sum(line.steps for line in lines) == STEPS
    assert sum(line.samples for line in lines) == sum(line.loads for line in lines) == STEPS
    for line in lines:
        parts = sum(getattr(line.spans, name) for name in line.spans.__struct_fields__)
        assert 0 < parts <= line.seconds * (1 + 1e-9)
        assert line.low <= line.seconds / line.steps <= line.high
        assert line.load_seconds > 0
        assert line.lr is not None
    assert len(lines) < STEPS, "quick steps share lines"


def test_an_epoch_s_time_holds_its_steps_and_all_that_came_between(run: RunPaths) -> None:
    for epoch in records(run, EpochEnded):
        within = sum(line.seconds for line in records(run, Steps) if line.epoch == epoch.epoch)
        beside = sum(
            span.seconds for span in records(run, SpanEnded)
            if span.epoch == epoch.epoch and span.name in ("validate", "checkpoint")
        )
        assert within + beside <= epoch.seconds
        assert epoch.steps == 4


def test_long_spans_are_announced_and_closed(run: RunPaths) -> None:
    every = records(run)
    for name, count in (("validate", 3), ("checkpoint", EPOCHS), ("evaluate", 1)):
        begun = [r for r in every if isinstance(r, Progress) and r.name == name and r.done == 0]
        ended = [r for r in every if isinstance(r, SpanEnded) and r.name == name]
        assert len(begun) == len(ended) == count
    (startup,) = [r for r in every if isinstance(r, SpanEnded) and r.name == "startup"]
    assert startup.seconds > 0
    assert [span.items for span in every if isinstance(span, SpanEnded) and span.name == "evaluate"] == [4]


def test_validation_comes_every_so_many_epochs_with_all_its_figures(run: RunPaths) -> None:
    found = [record for record in records(run, Metrics) if record.split == "val"]
    assert [record.epoch for record in found] == [10, 20, 30]
    assert all(set(record.values) == {"dice", "avd", "mcc", "loss"} for record in found)
    (test,) = [record for record in records(run, Metrics) if record.split == "test"]
    assert set(test.values) == {"dice", "avd", "mcc"}


def test_the_precision_is_told_from_a_hidden_layer(run: RunPaths) -> None:
    (seen,) = records(run, PrecisionActive)
    assert (seen.requested, seen.active) == ("auto", "float32")
    assert "conv" in seen.evidence


def test_checkpoints_are_verified_and_the_last_is_final(run: RunPaths) -> None:
    written = records(run, CheckpointWritten)
    assert all(record.verified and not record.error for record in written)
    assert [record.epoch for record in written] == list(range(1, EPOCHS + 1))
    assert written[-1].file == "final.pt"
    assert sorted(path.name for path in run.folder.glob("*.pt")) == ["final.pt", "step-00000112.pt", "step-00000116.pt"]


def test_the_state_folds_up_to_a_finished_run(paths: ExperimentPaths, run: RunPaths) -> None:
    state = fold_run(new_run(plan_of(paths).runs[0]), records(run))
    assert state.phase == "finished"
    assert (state.step, state.steps_total) == (STEPS, STEPS)
    assert state.test is not None
    assert "val/dice" in state.curves


def test_results_hold_the_reference_s_fields_and_the_hash_they_count_under(paths: ExperimentPaths, run: RunPaths) -> None:
    found: dict[str, Any] = msgspec.json.decode(run.results.read_bytes())
    assert set(found) >= FIELDS
    assert found["config_hash"] == config_hash(paths)
    assert found["subject_indices"] == [0, 2, 4, 6]
    assert found["subject_ids"] == ["sub-00", "sub-02", "sub-04", "sub-06"]
    assert len(found["per_subject_dice"]) == len(found["per_subject_avd"]) == len(found["per_subject_mcc"]) == 4
    assert found["test_dice"] == pytest.approx(sum(found["per_subject_dice"]) / 4)
    assert (found["epochs"], found["attempts"], found["checkpoint_path"]) == (EPOCHS, 1, str(run.final))
    assert found["final_train_loss"] == records(run, EpochEnded)[-1].loss
    assert (result(run).outcome, result(run).config_hash) == ("finished", config_hash(paths))


def test_the_manifest_says_with_what_it_was_trained(paths: ExperimentPaths, run: RunPaths) -> None:
    found: dict[str, Any] = msgspec.json.decode(run.manifest.read_bytes())
    assert found["seed"] == 42
    assert found["data_hash"] == prepared_of(paths).data_hash
    assert found["config_hash"] == config_hash(paths)
    assert found["versions"]["torch"]
    assert found["versions"]["python"]
    assert found["held_out"] == ["sub-00", "sub-02", "sub-04", "sub-06"]
    assert {"command", "configuration", "profile", "git", "device", "host", "started"} <= set(found)


def test_the_experiment_s_results_are_written_with_the_run_s(paths: ExperimentPaths, run: RunPaths) -> None:
    found: dict[str, Any] = msgspec.json.decode(paths.results.read_bytes())
    assert found["summary"]["num_runs"] == 1
    assert found["folds"][0]["runs"][0]["config_hash"] == config_hash(paths)
    again = results.summarise(paths, plan_of(paths), prepared_of(paths))
    assert msgspec.json.decode(msgspec.json.encode(again)) == found


def test_everything_it_wrote_is_its_owner_s_alone(run: RunPaths) -> None:
    written = [path for path in run.folder.iterdir() if path != run.console]
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}


@pytest.mark.parametrize(
    ("knobs", "seen"),
    [
        ({"precision": "bf16"}, "bfloat16"), ({"precision": "fp16"}, "float16"), ({"precision": "fp32"}, "float32"),
        ({"channels_last": True, "precision": "bf16", "num_workers": 1}, "bfloat16"),
    ],
)
def test_the_knobs_of_computing_do_what_they_say(tmp_path: Path, knobs: dict[str, Any], seen: str) -> None:
    run = build(tmp_path, knobs=knobs, shape=(8, 8, 8)).run(0, 0)
    assert train(run) == 0, run.console.read_text()
    assert [record.active for record in records(run, PrecisionActive)] == [seen]


def test_batches_and_accumulation_make_fewer_and_larger_steps(tmp_path: Path) -> None:
    """7 subjects to train on: batches of 2, 2, 2 and 1; two to a step."""
    run = build(tmp_path, subjects=14, knobs={"batch_size": 2, "accumulate_steps": 2}, shape=(8, 8, 8)).run(0, 0)
    assert train(run) == 0
    assert [line.samples for line in records(run, Steps)] == [4, 3, 4, 3]
    (begin,) = records(run, Begin)
    assert (begin.steps_per_epoch, begin.batch_size) == (2, 2)


def test_a_finished_run_that_is_started_again_only_evaluates(tmp_path: Path) -> None:
    run = build(tmp_path, shape=(8, 8, 8)).run(0, 0)
    assert train(run) == 0
    first = read_json(run.results, Completion)
    assert train(run) == 0
    second = read_json(run.results, Completion)
    assert first is not None
    assert second is not None
    assert (first.test_dice, first.config_hash) == (second.test_dice, second.config_hash)
    assert len(records(run, Steps)) == 6
    assert len(records(run, EpochEnded)) == 2


def test_seeds_differ_between_restarts_and_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    table = {"runs": {"folds": 2, "restarts": 2}}
    a, b = (build(tmp_path / name, table=table, shape=(8, 8, 8)) for name in "ab")
    curves = []
    for run in (a.run(0, 0), b.run(0, 0), a.run(0, 1)):
        assert train(run) == 0
        curves.append([line.loss for line in records(run, Steps)])
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_may_be_started_afresh(tmp_path: Path, context: str) -> None:
    run = build(tmp_path, knobs={"num_workers": 1, "multiprocessing_context": context}).run(0, 0)
    assert start_for_real(run).wait(120) == 0, run.console.read_text()
    assert result(run).outcome == "finished"


@pytest.mark.slow
def test_a_compiled_model_trains_and_its_precision_is_told(tmp_path: Path) -> None:
    run = build(tmp_path, knobs={"compile": True, "precision": "bf16"}, table={"model": {"channels": 2}}).run(0, 0)
    assert start_for_real(run).wait(280) == 0, run.console.read_text()
    assert [record.active for record in records(run, PrecisionActive)] == ["bfloat16"]
    assert result(run).outcome == "finished"
