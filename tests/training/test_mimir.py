"""Peptides from a file to results.json by the real processes: a training that has no volumes."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine import status as contract
from engine.config import catalog
from engine.config.experiment import from_table, resolve_profile
from engine.config.prepared import Prepared
from engine.errors import DataError
from engine.journals.events import Begin, Metrics, Note, Steps
from engine.journals.journal import Writer, read
from engine.live.fold_run import fold_run
from engine.live.state import new_experiment, new_run
from engine.paths import ExperimentPaths, RunPaths, read_json, write_json
from engine.training.check import check as looked_at
from engine.training.data import tokens
from engine.training.prepare import prepare as prepared_from
from tests.conftest import whole_plan
from tests.training.world import plan_of, records, train

# One worker of pytest-xdist for all of these: they share a training.
pytestmark = pytest.mark.xdist_group("mimir")

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
COUNT, BATCH, EPOCHS = 360, 24, 6
NETWORK = {"name": "denoiser", "channels": 32, "layers": 1, "heads": 2, "diffusion_steps": 5, "targets": 3}
TERMS = {"terms": {"denoising": {"weight": 1.0}, "bound": {"weight": 0.01}}}


def write_csv(file: Path, count: int = COUNT) -> Path:
    """Sequences that repeat two residues each, for two targets: easily learnt."""
    rng = random.Random(5)
    rows = []
    for i in range(count):
        pair = rng.choice(("AC", "WY", "KE"))
        rows.append(f"{(pair * 10)[: rng.randint(4, 20)]},{('actin', 'spike', '')[i % 3]}")
    file.write_text("\n".join(["sequence,target", *rows]) + "\n")
    return file


def lay_out(folder: Path, file: Path | None, knobs: dict[str, Any] | None = None, **table: Any) -> ExperimentPaths:
    """An experiment's folder with its plan, as a launch leaves it."""
    experiment = from_table(
        {
            "task": "peptides", "epochs": EPOCHS, "data": {"source": "sequences"}, "model": NETWORK, "loss": TERMS,
            "optimizer": {"lr": 0.01, "clip": 1.0, "eps": 1e-8}, "schedule": {"name": "cosine", "warmup_steps": 5},
            "runs": {"folds": 3, "restarts": 1, "only": [1]},
        } | table,
        "test",
    )
    values = {"num_workers": 0, "batch_size": BATCH, "val_batch_size": 64, "val_every_epochs": 2,
              "reconstruct_every_epochs": 3}
    profile, _ = resolve_profile(experiment, "test", "", {}, values | (knobs or {}))
    paths = ExperimentPaths(folder / "logs" / "e")
    paths.folder.mkdir(parents=True)
    cache = str(folder / "logs" / "_cache")
    write_json(paths.plan, whole_plan(experiment, profile, data_dir=str(file or ""), cache_dir=cache, device="cpu"))
    return paths


def prepare(paths: ExperimentPaths) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)], capture_output=True, text=True,
        timeout=120, check=False,
    )
    return done.returncode, done.stderr


def prepare_here(paths: ExperimentPaths) -> None:
    """The same in this process: importing all it needs takes longer than doing it."""
    with Writer(paths.prepare) as journal:
        write_json(paths.data, prepared_from(plan_of(paths), paths.folder.parent, journal, lambda: False))


def ready(folder: Path, **more: Any) -> RunPaths:
    """Prepared, and a folder for its only run."""
    paths = lay_out(folder, write_csv(folder / "p.csv"), **more)
    prepare_here(paths)
    run = paths.run(1, 0)
    run.folder.mkdir()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    run = ready(tmp_path_factory.mktemp("mimir"))
    assert train(run, line_seconds=0.01) == 0, run.console.read_text()
    return run


def test_preparing_leaves_one_array_that_every_fold_is_a_part_of(run: RunPaths) -> None:
    paths = ExperimentPaths(run.folder.parent)
    prepared = read_json(paths.data, Prepared)
    assert prepared is not None
    (folder,) = {subject.folder for subject in prepared.subjects}
    assert tokens.opened(Path(folder)).tokens.shape == (COUNT, 20)
    assert [split.draws + sum(_rows(folder, index) for index in split.test) for split in prepared.splits] == [COUNT] * 3
    said = [record.text for record in read(paths.prepare) if isinstance(record, Note)]
    assert any("repeats of other sequences" in text for text in said)
    assert said[-1] == f"{COUNT} sequences are ready"
    prepare_here(paths)
    assert any("prepared earlier" in record.text for record in read(paths.prepare) if isinstance(record, Note))


def _rows(folder: str, index: int) -> int:
    record = read_json(Path(folder) / tokens.RECORD, tokens.Record)
    assert record is not None
    return record.parts[index].last - record.parts[index].first


def test_it_learns_to_tell_residues_from_noise_and_draws_valid_peptides(run: RunPaths) -> None:
    found = [record for record in records(run, Metrics) if record.split == "val"]
    assert [record.epoch for record in found] == [2, 4, 6]
    assert set(found[0].values) == {"ce", "bound", "accuracy", "loss"}
    assert found[-1].values["ce"] < 0.6 * 3.04
    assert found[-1].values["ce"] < found[0].values["ce"]
    drawn = [record for record in records(run, Metrics) if record.split == "samples"]
    assert [record.epoch for record in drawn] == [3, 6]
    assert 0 < drawn[-1].values["valid"] <= 1
    assert drawn[-1].values["pairs"] < 0.8
    (test,) = [record for record in records(run, Metrics) if record.split == "test"]
    assert set(test.values) == {
        "ce", "bound", "accuracy", "valid", "unique", "novel", "lengths", "residues", "pairs"
    }


def test_the_journal_counts_sequences_and_tokens_and_tells_the_loss_by_its_terms(run: RunPaths) -> None:
    (begin,) = records(run, Begin)
    steps = 240 // BATCH
    assert begin.steps_per_epoch in range(steps - 2, steps + 3)
    assert (begin.voxels_per_sample, begin.batch_size) == (20, BATCH)
    lines: list[Steps] = records(run, Steps)  # type: ignore[assignment]
    assert sum(line.samples for line in lines) == EPOCHS * _draws(run)
    assert all(set(line.losses or {}) == {"denoising", "bound"} for line in lines)
    last = lines[-1]
    assert last.losses is not None
    assert last.loss == pytest.approx(sum(last.losses.values()), rel=1e-4)
    assert last.losses["bound"] < 0.1 * last.losses["denoising"], "its weight is in it"


def _draws(run: RunPaths) -> int:
    prepared = read_json(ExperimentPaths(run.folder.parent).data, Prepared)
    assert prepared is not None
    return prepared.split(1).draws


def test_results_and_status_name_what_it_is_judged_by(run: RunPaths) -> None:
    paths = ExperimentPaths(run.folder.parent)
    found = msgspec.json.decode(run.results.read_bytes())
    assert found["figures"]["ce"] == pytest.approx(sum(found["per_subject"]["ce"]) / len(found["per_subject"]["ce"]))
    assert found["test_dice"] is None
    assert 0 <= found["figures"]["novel"] <= 1
    every = msgspec.json.decode(paths.results.read_bytes())
    assert every["leading"] == {"figure": "ce", "title": "CE", "better": "lower"}
    assert every["folds"][0]["best_ce"] == every["folds"][0]["runs"][0]["test_ce"] == found["figures"]["ce"]
    assert every["summary"]["test_mean_ce_per_run"] == found["figures"]["ce"]
    plan = plan_of(paths)
    state = msgspec.structs.replace(
        new_experiment(str(paths.folder), plan), runs=(fold_run(new_run(plan.runs[0]), records(run)),), current=0,
        phase="finished",
    )
    seen = contract.status(state)
    assert seen.tokens_per_second is not None
    assert seen.samples_per_second is not None
    assert seen.tokens_per_second == pytest.approx(20 * seen.samples_per_second)
    assert seen.voxels_per_second is None
    assert seen.run is not None
    assert seen.run.dice is None
    assert seen.run.leading is not None
    assert (seen.run.leading.figure, seen.run.leading.better) == ("ce", "lower")
    assert seen.run.leading.value == found["figures"]["ce"]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupted_training_goes_on_with_the_same_noise(tmp_path: Path, workers: int) -> None:
    curves, weights = [], []
    for name, interrupt in (("whole", 0), ("broken", 13)):
        (tmp_path / name).mkdir()
        run = ready(
            tmp_path / name, loss={"name": "interrupted"}, epochs=2, knobs={"num_workers": workers},
            model=NETWORK | {"dropout": 0.1},
        )
        code = f"import os; os.environ['INTERRUPT'] = '{interrupt}'; import tests.training.interrupted"
        if interrupt:
            assert train(run, before=code) == 3
        assert train(run, before=code.replace(str(interrupt), "0")) == 0, run.console.read_text()
        curves.append({line.step: line.loss for line in records(run, Steps)})
        weights.append(torch.load(run.final, weights_only=True)["model"])
    assert curves[0] == curves[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sequence\nACDEF\nACDXB\n", "line 3: 'ACDXB' holds B, X, no amino acid"),
        ("sequence\nACDEF\nACDFE\n", "3 folds need at least 3 sequences"),
        ("", "is empty"),
        ("sequence,target\n" + "\n".join(f"ACDE{a}{b},t{a}{b}" for a in LETTERS for b in LETTERS), "set model.targets = 401"),
    ],
)
def test_bad_sequences_are_told_before_and_while_preparing_and_leave_nothing(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "p.csv"
    file.write_text(text)
    paths = lay_out(tmp_path, file)
    found = looked_at(plan_of(paths), quick=True)
    assert not found.ok
    assert said in found.errors[0]
    if "line 3" in said:
        code, error = prepare(paths)
        assert code == 2
        assert said in error
    else:
        with Writer(paths.prepare) as journal, pytest.raises(DataError, match=re.escape(said)):
            prepared_from(plan_of(paths), tmp_path / "logs", journal, lambda: False)
    assert not paths.data.exists()
    left = [path.name for path in (tmp_path / "logs" / "_cache").iterdir() if path.name != "index"]
    assert left == []


def test_a_bad_file_is_the_only_thing_that_check_finds_wrong(tmp_path: Path) -> None:
    """In a process of its own, as it is typed: what another test has imported is known by name there too."""
    file = tmp_path / "p.csv"
    file.write_text("name,n\nACDEF,1\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "check", "mimir", "--data", str(file)], cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "no column called sequence" in errors[0]
    assert "1 problem: nothing would be trained" in done.stdout


@pytest.mark.slow  # seconds to import what adds up a step's memory
def test_the_preflight_counts_what_would_be_trained(tmp_path: Path) -> None:
    paths = lay_out(tmp_path, write_csv(tmp_path / "p.csv"))
    found = looked_at(plan_of(paths), quick=False)
    assert (found.ok, found.subjects) == (True, COUNT)
    assert all(fold["train"] + fold["held_out"] == COUNT for fold in found.folds)
    assert int(found.model["parameters"]) > 10_000
    assert found.estimate is not None
    assert found.estimate.activations > 0
    assert not (tmp_path / "logs" / "_cache").exists()


def test_a_preset_applies_only_where_nothing_else_was_said() -> None:
    """Experiment file < profile < --set: also where what was said is what the preset says."""
    mimir = catalog.experiment_named("mimir")
    assert mimir.knobs["batch_size"] == 32
    for chosen, settings, right in (
        ({}, {}, 32),
        ({"batch_size": 256}, {}, 256),
        ({}, {"batch_size": 256}, 256),
        ({"batch_size": 256}, {"batch_size": 32}, 32),
    ):
        profile, _ = resolve_profile(mimir, "p", "", chosen, settings)
        assert profile["batch_size"] == right
        assert profile["val_batch_size"] == 512


def test_the_stages_go_from_small_to_large() -> None:
    sizes = [catalog.experiment_named(name).model for name in ("mimir", "mimir-medium", "mimir-large")]
    assert [(m.channels, m.layers, m.heads, m.diffusion_steps) for m in sizes] == [
        (128, 3, 4, 10), (256, 4, 4, 25), (512, 6, 8, 35)
    ]
