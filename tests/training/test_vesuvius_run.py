"""Surfaces learnt end to end: sheets written, prepared, trained on in patches, held out as wholes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.config.experiment import from_table, load, resolve_profile
from engine.config.run_keys import RunKey, runs_of
from engine.errors import UsageError
from engine.journals.events import Metrics, Progress, Steps
from engine.journals.journal import Writer, read
from engine.paths import ExperimentPaths, write_json
from engine.training import job
from engine.training.prepare import prepare
from engine.training.surfaces import surface_dice, voi_score
from engine.training.tasks.segmentation import Segmentation
from tests.conftest import whole_plan
from tests.training import world
from tests.training.test_prepare import prepared

SMALL = Path(__file__).parents[2] / "engine" / "experiments" / "vesuvius-small.toml"
TINY: dict[str, Any] = {
    "epochs": 2,
    "figures": ["surface_dice_2", "voi_score"],
    "data": {"source": "sheets", "subjects": 4, "shape": [16, 16, 16], "ignore": 2},
    "prepare": {"shape": [0, 0, 0], "median": 3},
    "patch": {"shape": [8, 8, 8], "per_volume": 4, "foreground": 0.7},
    "augment": {"flip": {}, "rotate": {"p": 0.5}},
    "model": {"name": "residual_unet", "channels": 2, "multipliers": [1, 2, 2], "blocks": 1, "classes": 1, "aux": True},
    "loss": {
        "class_weights": [1.0], "deep_supervision": [1.0, 0.5],
        "terms": {
            "soft_dice": {"weight": 0.5}, "skeleton": {"weight": 0.2, "every": 4},
            "surface_distance": {"weight": 0.1, "options": {"furthest": 8.0}},
            "top_loss": {"weight": 0.05, "every": 4, "options": {"size": 8}},
        },
    },
    "optimizer": {"lr": 0.01, "clip": 0.8, "ema": 0.9},
    "runs": {"folds": 2, "restarts": 1, "stratify": []},
    "knobs": {"num_workers": 0, "batch_size": 2, "val_every_epochs": 1},
}


def launched(tmp_path: Path, table: dict[str, Any], knobs: dict[str, Any] | None = None, keys: int = 1) -> ExperimentPaths:
    """An experiment's folder with its data prepared, as a launch leaves it before the first run."""
    experiment = from_table(table, "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, knobs or {})
    paths = ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True)
    runs = runs_of(experiment)[:keys]
    cache = str(tmp_path / "logs" / "_cache")
    write_json(paths.plan, whole_plan(experiment, profile, runs=runs, device="cpu", cache_dir=cache))
    with Writer(paths.prepare) as writer:
        found = prepare(world.plan_of(paths), paths.folder.parent, writer, lambda: False, processes=1)
    assert found is not None
    write_json(paths.data, found)
    for key in runs:
        folder(paths, key).folder.mkdir()
    return paths


def folder(paths: ExperimentPaths, key: RunKey) -> Any:
    return paths.run(key.fold, key.restart)


def train(paths: ExperimentPaths) -> Any:
    run = folder(paths, world.plan_of(paths).runs[0])
    assert world.train(run) == 0, run.console.read_text()[-2000:]
    return run


def test_sheets_are_written_prepared_trained_on_and_held_out(tmp_path: Path) -> None:
    paths = launched(tmp_path, TINY)
    assert {one.name for one in read(paths.prepare) if isinstance(one, Progress)} == {"sheets", "prepare"}
    assert [split.draws for split in prepared(paths).splits] == [8, 8]
    run = train(paths)
    steps = world.records(run, Steps)
    assert sum(one.steps for one in steps) == 8  # 2 epochs of 8 patches, 2 at a time
    every = {name for one in steps for name in one.losses}
    assert every == {"soft_dice", "skeleton", "surface_distance", "top_loss"}
    spikes = [one.step for one in steps if {"skeleton", "top_loss"} <= set(one.losses)]
    assert spikes == [1, 5]  # a term of every 4 steps, from the first on
    tests = [one for one in world.records(run, Metrics) if one.split == "test"]
    assert set(tests[0].values) == {"dice", "avd", "mcc", "surface_dice_2", "voi_score"}
    results = json.loads(run.results.read_bytes())
    assert len(results["per_subject"]["surface_dice_2"]) == 2 and 0 <= results["figures"]["voi_score"] <= 1


def test_turned_patches_of_data_with_a_value_to_ignore_have_it_where_nothing_is_known(tmp_path: Path) -> None:
    """Every voxel of these sheets is labelled, so what is ignored has come in from beyond the patch."""
    whole = TINY["data"] | {"options": {"unlabelled": 0.0}}
    found = []
    for name, augment in (("turned", {"rotate": {"p": 1.0, "degrees": 40.0}}), ("flipped", {"flip": {}})):
        paths = launched(tmp_path / name, TINY | {"data": whole, "augment": augment})
        made = job.read(folder(paths, world.plan_of(paths).runs[0]).folder)
        samples = Segmentation(made).training(made.plan.profile)
        found.append([int((samples[1, draw].label == 2).sum()) for draw in range(8)])
    turned, flipped = found
    assert all(count > 0 for count in turned)
    assert flipped == [0] * 8


def test_without_a_held_out_case_nothing_is_trained(tmp_path: Path) -> None:
    paths = launched(tmp_path, TINY)
    told = prepared(paths)
    everyone = tuple(range(len(told.subjects)))
    splits = tuple(msgspec.structs.replace(split, train=everyone, test=()) for split in told.splits)
    write_json(paths.data, msgspec.structs.replace(told, splits=splits))
    with pytest.raises(UsageError, match=r"data.json: fold 0 has 4 subjects to train on and 0 held out"):
        job.read(folder(paths, world.plan_of(paths).runs[0]).folder)


def test_surface_dice_forgives_two_voxels_and_voi_counts_what_is_cut_in_two() -> None:
    sheet = np.zeros((20, 12, 12), bool)
    sheet[8:10] = True
    assert surface_dice(sheet, sheet) == 1.0 and surface_dice(np.roll(sheet, 2, 0), sheet) == 1.0
    assert surface_dice(np.roll(sheet, 3, 0), sheet) == pytest.approx(0.5)  # one face of two lies 2 voxels off
    assert surface_dice(np.roll(sheet, 6, 0), sheet) == 0.0
    nothing, everything = np.zeros_like(sheet), np.ones_like(sheet)
    assert surface_dice(everything, everything) == 1.0  # which has no surface within the volume
    assert surface_dice(everything, sheet) == surface_dice(sheet, everything) == surface_dice(everything, nothing) == 0.0
    assert surface_dice(nothing, nothing) == 1.0 and surface_dice(nothing, sheet) == surface_dice(sheet, nothing) == 0.0
    cut = sheet.copy()
    cut[:, 5:7] = False
    assert voi_score(sheet, sheet) == 1.0
    assert voi_score(nothing, sheet) < voi_score(cut, sheet) < voi_score(np.roll(sheet, 1, 2), sheet) + 1e-9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_small_experiment_learns_surfaces(tmp_path: Path) -> None:
    """Minutes: one run of vesuvius-small, as shipped."""
    table = msgspec.to_builtins(load(SMALL))
    paths = launched(tmp_path, {name: value for name, value in table.items() if value is not None})
    run = folder(paths, world.plan_of(paths).runs[0])
    assert world.start(run).wait(800) == 0, run.console.read_text()[-2000:]
    dice = json.loads(run.results.read_bytes())["test_dice"]
    assert dice > 0.5, dice
