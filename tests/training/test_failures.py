"""What goes wrong is written down in a form that a verdict can read, and no whole checkpoint is ever lost by it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from engine.journals.events import Begin, CheckpointWritten, End, Note, Steps
from engine.journals.records import ResultInfo
from engine.paths import RunPaths, write_json
from engine.runs.verdict import Evidence, classify
from engine.training.results import RunResults
from tests.training.world import build, plan_of, records, result, train

SABOTAGED = {"loss": {"name": "sabotaged"}}


def kind_of(found: ResultInfo, run: RunPaths) -> str:
    """What the supervisor would call it."""
    return classify(Evidence(result=found, rc=1, tail=run.console.read_text()))[1].kind


def test_a_loss_that_is_no_number_ends_the_run_and_spoils_no_checkpoint(tmp_path: Path) -> None:
    run = build(tmp_path, table=SABOTAGED).run(0, 0)
    assert train(run, sabotage="step:5:nan") == 1
    found = result(run)
    assert (found.outcome, found.error_class, found.error) == ("failed", "NaNLoss", "the loss is nan at step 5")
    assert [path.name for path in run.checkpoints()] == ["step-00000003.pt"]
    assert not run.final.exists()
    end = records(run)[-1]
    assert isinstance(end, End)
    assert end.error == "NaNLoss: the loss is nan at step 5"
    assert kind_of(found, run) == "nan_loss"


def test_a_volume_with_holes_makes_the_loss_no_number(tmp_path: Path) -> None:
    paths = build(tmp_path)
    image = np.load(tmp_path / "_cache" / "world-1" / "image.npy")
    image[3, 3, 3] = np.nan
    np.save(tmp_path / "_cache" / "world-1" / "image.npy", image)
    run = paths.run(0, 0)
    assert train(run) == 1
    assert result(run).error_class == "NaNLoss"


def test_a_full_gpu_is_told_by_its_class(tmp_path: Path) -> None:
    run = build(tmp_path, table=SABOTAGED).run(0, 0)
    assert train(run, sabotage="step:2:oom") == 1
    found = result(run)
    assert (found.outcome, found.error_class) == ("failed", "OutOfMemoryError")
    assert "Tried to allocate 20.00 GiB" in found.error
    assert "Traceback" in run.console.read_text()
    assert kind_of(found, run) == "gpu_oom"


def test_a_killed_worker_is_told_by_its_signal(tmp_path: Path) -> None:
    run = build(tmp_path, subjects=40, table=SABOTAGED, knobs={"num_workers": 2, "prefetch_factor": 1}).run(0, 0)
    assert train(run, sabotage="step:3:worker") == 1
    found = result(run)
    assert found.error_class == "RuntimeError"
    assert "killed by signal: Killed" in found.error
    assert kind_of(found, run) == "worker_killed"


def test_a_vanished_volume_is_named_whoever_loads_it(tmp_path: Path) -> None:
    for workers in (0, 1):
        paths = build(tmp_path, name=f"world{workers}", knobs={"num_workers": workers})
        (tmp_path / "_cache" / f"world{workers}-1" / "image.npy").unlink()
        run = paths.run(0, 0)
        assert train(run) == 1
        found = result(run)
        assert found.error_class == "DataError"
        assert f"world{workers}-1" in found.error
        assert kind_of(found, run) == "bad_data"


FULL = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " \
       "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"


def test_on_a_full_disk_training_goes_on_and_only_the_end_fails(tmp_path: Path) -> None:
    run = build(tmp_path, table={"checkpoints": {"minutes": 0.0}}).run(0, 0)
    assert train(run, before=FULL) == 1
    failed = records(run, CheckpointWritten)
    assert {record.error for record in failed} == {"File too large"}
    assert len(failed) == 6
    assert records(run, Steps)[-1].step == 6
    found = result(run)
    assert (found.error_class, found.error) == ("OSError", "final.pt could not be written: File too large")
    assert [path.name for path in run.folder.iterdir() if ".pt" in path.name] == []

    assert train(run) == 0
    assert "from the beginning" in " ".join(note.text for note in records(run, Note))
    assert msgspec.json.decode(run.results.read_bytes(), type=RunResults).attempts == 2


def test_checkpoints_that_are_all_damaged_are_not_trained_over(tmp_path: Path) -> None:
    run = build(tmp_path, table=SABOTAGED).run(0, 0)
    assert train(run, sabotage="step:5:SIGTERM") == 3
    for path in run.checkpoints():
        path.write_bytes(path.read_bytes()[:-10])
    kept = {path.name: path.read_bytes() for path in run.checkpoints()}
    assert train(run, sabotage="step:0:none") == 1
    found = result(run)
    assert found.error_class == "CheckpointError"
    assert "none of the 2 checkpoints" in found.error
    assert {path.name: path.read_bytes() for path in run.checkpoints()} == kept
    assert kind_of(found, run) == "bad_checkpoint"
    assert len(records(run, Begin)) == 1


def test_another_configuration_does_not_go_on_from_these_checkpoints(tmp_path: Path) -> None:
    paths = build(tmp_path, table=SABOTAGED)
    run = paths.run(0, 0)
    assert train(run, sabotage="step:5:SIGTERM") == 3
    write_json(paths.plan, msgspec.structs.replace(plan_of(paths), training_hash="another"))
    assert train(run, sabotage="step:0:none") == 1
    found = result(run)
    assert found.error_class == "ConfigMismatch"
    assert "another configuration" in found.error
    assert kind_of(found, run) == "bad_checkpoint"


def test_a_device_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    run = build(tmp_path, device="63").run(0, 0)
    assert train(run) == 1
    found = result(run)
    assert found.error_class == "UsageError"
    assert "device 63" in found.error


def test_nothing_is_written_into_a_folder_without_a_plan(tmp_path: Path) -> None:
    folder = tmp_path / "fold_0_restart_0"
    folder.mkdir()
    run = RunPaths(folder)
    log = tmp_path / "console.log"
    run.console = log
    assert train(run) == 1
    assert "plan.json: missing or damaged" in log.read_text()
    assert list(folder.iterdir()) == []
