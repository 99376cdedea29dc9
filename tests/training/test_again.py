"""What was trained is trained again from its manifest.json alone: the same losses, the same figures, the same weights.

One small experiment for each kind of task. On one thread of a CPU, so that sums are added in one order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.config.plan import Plan
from engine.errors import DataError, UsageError
from engine.journals.events import EpochEnded, Metrics, Steps
from engine.journals.journal import Writer
from engine.paths import ExperimentPaths, RunPaths, write_json
from engine.runs import again
from engine.runs.launch import Request, lay_out, plan_for
from engine.runs.manifest import with_data_hash
from engine.training.prepare import prepare
from tests.training.tables import DENOISER, PHANTOMS, WHOLE_PHANTOMS
from tests.training.world import plan_of, records, train

WHOLE = "epochs = 2" + WHOLE_PHANTOMS + """
[runs]
folds = 2
restarts = 2
stratify = []
[knobs]
val_every_epochs = 1
"""
VARIANTS = "epochs = 2" + PHANTOMS + """
shape = [24, 24, 24]
[patch]
shape = [16, 16, 16]
per_volume = 2
foreground = 0.7
[augment.flip]
[model]
name = "resnet_unet"
channels = 4
[loss]
name = "generalised_dice"
deep_supervision = [1.0, 0.5, 0.25, 0.125]
[optimizer]
lr = 1e-3
lr_batch = 4
[schedule]
name = "cosine"
warmup_epochs = 1.0
[runs]
folds = 2
restarts = 1
seed_by = "fold"
stratify = []
[variants.baseline]
[variants.both]
set = { "model.mkdc" = true, "model.aux" = true }
[knobs]
batch_size = 2
val_every_epochs = 1
val_patches_per_volume = 2
[locks.batch_size]
value = 2
reason = "as in the document"
[minimums.epochs]
least = 2
reason = "less shows nothing"
"""
SURFACES = """
epochs = 2
figures = ["surface_dice_2", "voi_score"]
[data]
source = "sheets"
subjects = 4
shape = [16, 16, 16]
ignore = 2
[prepare]
shape = [0, 0, 0]
median = 3
[patch]
shape = [8, 8, 8]
per_volume = 4
foreground = 0.7
[augment.flip]
[augment.rotate]
p = 0.5
[augment.noise]
p = 0.5
[model]
name = "residual_unet"
channels = 2
multipliers = [1, 2, 2]
blocks = 1
classes = 1
dropout = 0.1
aux = true
[loss]
class_weights = [1.0]
deep_supervision = [1.0, 0.5]
[loss.terms.soft_dice]
weight = 0.5
[loss.terms.skeleton]
weight = 0.2
every = 2
[loss.terms.surface_distance]
weight = 0.1
options = { furthest = 8.0 }
[optimizer]
lr = 0.01
clip = 0.8
ema = 0.9
[runs]
folds = 2
restarts = 1
stratify = []
[knobs]
batch_size = 2
val_every_epochs = 1
"""
PEPTIDES = 'task = "peptides"\nepochs = 2' + DENOISER + """
dropout = 0.1
[loss.terms.denoising]
[optimizer]
lr = 0.01
clip = 1.0
[schedule]
name = "cosine"
warmup_steps = 3
[runs]
folds = 3
restarts = 1
only = [1]
[knobs]
batch_size = 8
val_every_epochs = 1
reconstruct_every_epochs = 2
"""


def sequences(folder: Path) -> Path:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    rows = [letters[i % 20] + letters[(3 * i) % 20] + letters[i % 7 : i % 7 + 3 + i % 9] for i in range(90)]
    file = folder / "p.csv"
    file.write_text("\n".join(["sequence", *rows]) + "\n")
    return file


def begun(plan: Plan, logs: Path) -> ExperimentPaths:
    """As a launch leaves it, its data prepared."""
    paths = ExperimentPaths(logs / plan.name)
    lay_out(paths.folder, plan)
    with Writer(paths.prepare) as journal:
        found = prepare(plan, logs, journal, lambda: False, processes=1)
    assert found is not None
    write_json(paths.data, found)
    return paths


def trained(paths: ExperimentPaths) -> RunPaths:
    """Its last run: of several variants not the first, which is the experiment as it stands."""
    run = paths.run(*plan_of(paths).runs[-1].at)
    assert train(run) == 0, run.console.read_text()[-2000:]
    return run


def told(run: RunPaths) -> dict[str, Any]:
    """Everything that a training says of its losses and figures, times left out."""
    results = json.loads(run.results.read_bytes())
    return {
        "steps": [(line.step, line.loss, line.losses, line.lr) for line in records(run, Steps)],  # type: ignore[union-attr]
        "epochs": [(line.epoch, line.loss) for line in records(run, EpochEnded)],  # type: ignore[union-attr]
        "figures": [(line.split, line.epoch, line.values) for line in records(run, Metrics)],  # type: ignore[union-attr]
        "results": {
            name: value for name, value in results.items()
            if name not in ("checkpoint_path", "duration_seconds", "started", "ended", "data")
        },
    }


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        pytest.param(WHOLE, {"num_workers": 0}, id="whole volumes"),
        pytest.param(VARIANTS, {"num_workers": 0}, id="patches and variants"),
        pytest.param(SURFACES, {"num_workers": 1}, id="surfaces"),
        pytest.param(PEPTIDES, {"num_workers": 0}, id="sequences"),
    ],
)
def test_from_its_manifest_alone_the_same_losses_figures_and_weights_come(
    tmp_path: Path, table: str, settings: dict[str, Any]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(table)
    data = sequences(tmp_path) if "peptides" in table else None
    request = Request(experiment=str(file), logs=tmp_path / "logs", data=data, settings=settings, device="cpu", epochs=2)
    first = begun(plan_for(request), tmp_path / "logs")
    before = trained(first)
    with_data_hash(first)
    (tmp_path / "elsewhere").mkdir()
    kept = Path(shutil.copy(first.manifest, tmp_path / "elsewhere"))
    where = [json.loads(path.read_bytes())["data"] for path in (before.results, first.results)]
    assert where == [str(data)] * 2 if data else all(text.startswith("example data: ") for text in where)
    threads = json.loads(before.manifest.read_bytes())["threads"]
    file.unlink()

    plan = plan_for(Request(experiment=str(kept), logs=tmp_path / "other", device="cpu"))
    assert plan.name == "mine-again"
    assert plan.runs == plan_of(first).runs
    second = begun(plan, tmp_path / "other")
    after = trained(second)
    assert json.loads(after.manifest.read_bytes())["threads"] == threads == 1
    assert told(after) == told(before)
    weights = [torch.load(run.final, weights_only=True)["model"] for run in (before, after)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with_data_hash(second)
    held = [json.loads(paths.manifest.read_bytes()) for paths in (first, second)]
    for name in ("data_hash", "training_hash", "seeds", "runs", "configuration", "profile"):
        assert held[0][name] == held[1][name], name


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Of an experiment that was laid out, in a folder of its own."""
    (tmp_path / "mine.toml").write_text(VARIANTS)
    plan = plan_for(Request(experiment=str(tmp_path / "mine.toml"), logs=tmp_path / "logs", folds=(1,)))
    lay_out(tmp_path / "logs" / "mine", plan)
    return ExperimentPaths(tmp_path / "logs" / "mine").manifest


def test_runs_have_the_seeds_that_they_had(manifest: Path) -> None:
    found = again.read(manifest)
    assert [(key.at, key.seed) for key in found.keys] == [((1, 0, "baseline"), 43), ((1, 0, "both"), 43)]


def test_an_option_that_would_make_it_another_training_is_refused(manifest: Path, tmp_path: Path) -> None:
    for more, said in (({"epochs": 9}, "--epochs"), ({"settings": {"batch_size": 4}}, "--set"), ({"folds": (0,)}, "--folds")):
        with pytest.raises(UsageError, match=f"to the last knob: leave {said} out"):
            plan_for(Request(experiment=str(manifest), logs=tmp_path / "other", **more))  # type: ignore[arg-type]
    assert plan_for(Request(experiment=str(manifest), logs=tmp_path / "other", name="third")).name == "third"


def test_what_is_no_manifest_says_where_one_is(manifest: Path, tmp_path: Path) -> None:
    for text in ("{}", "[1]", "not json"):
        manifest.write_text(text)
        with pytest.raises(UsageError, match=r"no manifest of an experiment .*logs/NAME/manifest.json is one"):
            again.read(manifest)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        again.read(tmp_path / "nowhere.json")


def test_data_that_have_gone_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PEPTIDES)
    file = sequences(tmp_path)
    plan = plan_for(Request(experiment=str(tmp_path / "mine.toml"), logs=tmp_path / "logs", data=file))
    lay_out(tmp_path / "logs" / "mine", plan)
    kept = ExperimentPaths(tmp_path / "logs" / "mine").manifest
    moved = file.rename(tmp_path / "q.csv")
    with pytest.raises(DataError, match="not there any more; say where they are now with --data"):
        plan_for(Request(experiment=str(kept), logs=tmp_path / "other"))
    assert plan_for(Request(experiment=str(kept), logs=tmp_path / "other", data=moved)).data_dir == str(moved)


def test_other_versions_than_then_are_told(manifest: Path) -> None:
    assert again.remarks(str(manifest)) == ()
    assert again.remarks("quickstart") == ()
    held = msgspec.json.decode(manifest.read_bytes())
    manifest.write_bytes(msgspec.json.encode(held | {
        "versions": held["versions"] | {"torch": "1.0"}, "data_hash": "abc", "training_hash": "other",
    }))
    said = again.remarks(str(manifest))
    assert said[0].startswith("torch was 1.0 then and is ")
    assert "was called other then" in said[1]
    assert "its data were abc" in said[2]


def test_the_command_takes_a_manifest_where_it_takes_an_experiment(manifest: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "check", str(manifest), "--quick"], cwd=tmp_path, env=dict(os.environ),
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mine-again: 2 runs (2 variants × 1 fold × 1 restart) of 2 epochs")
