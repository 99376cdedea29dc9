"""What the full-size experiments need, said before there is any data; and examples that say they are examples."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tifffile

from engine import status as contract
from engine.config import catalog
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.config.sources import EXAMPLE, MADE, SOURCES, example
from engine.journals.journal import Writer
from engine.live.state import new_experiment
from engine.memory.budget import budget
from engine.memory.footprint import Estimate, Footprint, checkpoint_bytes, footprint
from engine.paths import ExperimentPaths, write_json
from engine.report.build import report_of
from engine.report.render_markdown import render
from engine.runs.launch import Request, plan_for
from engine.training.check import Report, check
from engine.training.data.maps import kept_bytes, wanted
from engine.training.data.opened import open_volume
from engine.training.prepare import prepare
from engine.training.requirements import needs
from tests.training.tables import PATCHES, RESIDUAL_UNET
from tests.tui.conftest import view
from tui.verbs import launching
from tui.verbs.checking import check_lines
from tui.verbs.results import result_lines
from tui.verbs.showing import status_lines
from tui.widgets.header import header_line

FULL = ("vesuvius-surface", "stroke-ablation", "mimir", "mimir-large", "arc-meshnet26", "arc-meshnet16", "arc-meshnet5")
SMALL = ("quickstart", "stroke-small", "vesuvius-small", "mimir-quick")
GIB = 1 << 30


def planned(name: str, tmp_path: Path, **more: object) -> Plan:
    return plan_for(Request(experiment=name, logs=tmp_path / "logs", device="cpu", **more), without_data=True)  # type: ignore[arg-type]


def needed(report: Report) -> dict[str, str]:
    return {need.name: need.text for need in report.needs}


@pytest.mark.parametrize("name", FULL)
def test_without_data_a_full_size_experiment_says_what_it_needs_and_ends_with_2(name: str, tmp_path: Path) -> None:
    plan = planned(name, tmp_path)
    report = check(plan, quick=True)
    assert not report.ok
    assert "--data" in report.errors[0]
    said = needed(report)
    source = SOURCES[plan.experiment.data.source]
    assert source.wanted in said["data"] and source.form in said["data"]
    assert "--data FILE" in said["data"] if source.file else "--data DIR" in said["data"]
    assert "trainer" in said["RAM"]
    text = "\n".join(check_lines(plan, msgspec.to_builtins(report), catalog.about(name)))
    assert "what it needs as a whole:" in text
    assert "subjects: 0" not in text
    assert EXAMPLE not in text


def test_the_command_says_it_too_and_writes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "check", "vesuvius-surface", "--quick"], cwd=tmp_path,
        env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 2
    assert "error: vesuvius-surface trains on your data: give their folder with --data DIR" in done.stderr
    assert "Papyrus surfaces in CT scans of scrolls" in done.stdout, "its file says what it is"
    assert "GUDHI for [loss.terms.top_loss], installed" in done.stdout
    assert "topolosses if topo_score is added to figures, " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_here_is_told_from_the_network() -> None:
    """33.7 M parameters: weights, gradients, two moments and averaged weights; a checkpoint has all but the gradients."""
    weights = 33_671_604 * 4
    step = Estimate(batch=2, weights=weights, gradients=weights, optimizer=2 * weights, activations=10 * GIB, averaged=weights)
    assert checkpoint_bytes(step) == 4 * weights
    assert checkpoint_bytes(Estimate(batch=1, activations=5)) is None
    plan = plan_for(Request(experiment="vesuvius-surface", logs=Path("logs"), device="cpu"), without_data=True)
    told = {need.name: need.text for need in needs(plan, Footprint(sample_bytes=100), {}, (), step)}
    assert told["GPU memory"].startswith("a step of batch 2 in fp16: weights, gradients, optimizer and workspace 642 MiB")
    assert "there is no GPU here to measure it on" in told["GPU memory"]
    assert "7.5 GiB of checkpoints in the logs folder (5 runs × 3 × 514 MiB)" in told["disk"]
    assert "4 bytes a voxel of every volume once prepared" in told["disk"]
    assert told["time"].startswith("320,000 steps in all, 5 runs of 32 epochs; ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vesuvius-surface", "stroke-ablation", "mimir-large"])
def test_what_a_step_takes_of_a_gpu_is_worked_out_here(name: str, tmp_path: Path) -> None:
    said = needed(check(planned(name, tmp_path), quick=False))
    assert "[estimated]" in said["GPU memory"]
    assert "of checkpoints in the logs folder" in said["disk"]


def test_one_part_of_a_fold_is_one_part(tmp_path: Path) -> None:
    fold = {"fold": 0, "train": 40, "held_out": 10, "steps_per_epoch": 4}
    lines = check_lines(planned("mimir", tmp_path), {"folds": [fold | {"test": 1}, fold | {"test": 3}]})
    assert [line.split(", ")[1] for line in lines if line.startswith("fold ")] == ["10 test (in 1 part)", "10 test (in 3 parts)"]


def test_a_launch_that_switches_validation_off_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launching._introduce(planned("vesuvius-small", tmp_path, settings={"val_every_epochs": 0}))
    launching._introduce(planned("arc-meshnet5", tmp_path))
    said = [line for line in capsys.readouterr().out.splitlines() if "nothing held out is scored" in line]
    assert len(said) == 1 and said[0].startswith("warning: ") and "val_every_epochs = 4" in said[0]


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("name", SMALL)
def test_examples_say_so_wherever_their_figures_are_shown(name: str, tmp_path: Path) -> None:
    plan = planned(name, tmp_path)
    assert example(plan.experiment).startswith(EXAMPLE)
    report = Report(ok=True, data=example(plan.experiment), needs=needs(plan, Footprint(), {"needed": 5}))
    assert f"trains on: {EXAMPLE}: {MADE[plan.experiment.data.source]}" in "\n".join(check_lines(plan, msgspec.to_builtins(report)))
    state = new_experiment(str(tmp_path / "logs" / "e"), plan)
    assert contract.status(state).data.startswith(EXAMPLE)
    assert any(EXAMPLE in line for line in status_lines(state))
    for width in (80, 120, 200):
        assert EXAMPLE in "".join(text for text, _ in header_line(view(state), width))
    Path(state.folder).mkdir(parents=True)
    write_json(ExperimentPaths(Path(state.folder)).plan, plan)
    assert EXAMPLE in render(report_of(state))
    found = {"data": example(plan.experiment), "folds": [], "summary": {}}
    assert any(EXAMPLE in line for line in result_lines(found, tmp_path))


@pytest.mark.parametrize("name", FULL)
def test_data_of_ones_own_are_never_called_examples(name: str, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("sequence\nACDE\n")
    plan = planned(name, tmp_path, data=file if SOURCES[catalog.experiment_named(name).data.source].file else tmp_path)
    state = new_experiment(str(tmp_path / "logs" / "e"), plan)
    assert contract.status(state).data == plan.data_dir
    assert not any(EXAMPLE in line for line in status_lines(state))
    assert EXAMPLE not in "".join(text for text, _ in header_line(view(state), 200))


# ---------------------------------------------------------------- words and shapes of each kind

MIXED = {"a": (24, 20, 16), "b": (32, 28, 24), "c": (16, 16, 16), "d": (24, 24, 24)}


@pytest.fixture
def scrolls(tmp_path: Path) -> Path:
    """Four pairs of four shapes, a fifth of each volume surface; one is uint16, one of float32 is compressed."""
    for number, (name, shape) in enumerate(MIXED.items()):
        rng = np.random.default_rng(number)
        image = (rng.random(shape) * 255).astype({"b": np.uint16, "d": np.float32}.get(name, np.uint8))
        label = np.zeros(shape, np.uint8)
        label[: round(shape[0] / 4)] = 1
        for kind, voxels in (("images", image), ("labels", label)):
            path = tmp_path / "data" / kind / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, voxels, photometric="minisblack", compression="zlib" if name == "d" else None)
    return tmp_path / "data"


TABLE = 'epochs = 1\n[data]\nsource = "tiff"' + PATCHES + "foreground = 0.5" + RESIDUAL_UNET + """
[loss.terms.surface_distance]
[runs]
folds = 2
restarts = 1
stratify = []
"""
KEEPING = {"cache": "ram", "num_workers": 0}


def surfaces(tmp_path: Path, data: Path) -> Plan:
    (tmp_path / "mine.toml").write_text(TABLE)
    return plan_for(Request(experiment=str(tmp_path / "mine.toml"), logs=tmp_path / "logs", data=data, device="cpu", settings=KEEPING))


def test_surfaces_are_told_by_their_share_and_have_no_spacing(tmp_path: Path, scrolls: Path) -> None:
    plan = surfaces(tmp_path, scrolls)
    report = check(plan, quick=True)
    assert report.spreads == {} and report.spacings_mm is None and report.lesions_mm3 is None
    paths = ExperimentPaths(tmp_path / "logs" / "mine")
    paths.folder.mkdir(parents=True)
    for path in scrolls.rglob("*.tif"):
        os.utime(path, (1e9, 1e9))
    with Writer(paths.prepare) as journal:
        assert prepare(plan, tmp_path / "logs", journal, lambda: False, processes=1) is not None
    report = check(plan, quick=True)
    (name,) = report.spreads
    assert name == "surface, % of the volume"
    assert report.spreads[name].low == pytest.approx(25.0) and report.spreads[name].high == pytest.approx(25.0)
    said = "\n".join(check_lines(plan, msgspec.to_builtins(report)))
    assert "surface, % of the volume: 25 to 25, median 25" in said
    assert "volumes: 4" in said
    assert "lesion" not in said and "spacing" not in said and "mm³" not in said


def test_sequences_are_told_by_their_lengths(tmp_path: Path) -> None:
    plan = planned("mimir-quick", tmp_path)
    report = check(plan, quick=True)
    (name,) = report.spreads
    assert name == "length, residues"
    assert (report.spreads[name].low, report.spreads[name].high) == (4.0, 20.0)
    said = "\n".join(check_lines(plan, msgspec.to_builtins(report)))
    assert "sequences: 20,000" in said and "length, residues: 4 to 20, median 12" in said
    assert "volumes" not in said and "subjects" not in said
    assert new_experiment("x", plan).cases == "sequences"


def test_what_ram_keeps_of_volumes_of_several_shapes_is_their_true_size(tmp_path: Path, scrolls: Path) -> None:
    """Before they are prepared, from their headers; afterwards as they were prepared; not a patch of each."""
    plan = surfaces(tmp_path, scrolls)
    want = wanted(plan.experiment)
    voxels = {name: int(np.prod(shape)) for name, shape in MIXED.items()}
    width = {"a": 1, "b": 2, "c": 1, "d": 4}
    exact = {name: voxels[name] * (width[name] + 1 + 1) + 4 * voxels[name] // 4 for name in MIXED}
    report = check(plan, quick=True)
    bare = check(msgspec.structs.replace(plan, profile=msgspec.structs.replace(plan.profile, knobs={**plan.profile.knobs, "cache": "disk"})), quick=True)
    most = 2 * -(-sum(kept_bytes(shape, "|u1" if width[n] == 1 else f"<u{width[n]}", want) for n, shape in MIXED.items()) // 4)
    assert report.memory["ram"] - bare.memory["ram"] == most
    with Writer(tmp_path / "prepare.jsonl") as journal:
        (tmp_path / "logs").mkdir()
        made = prepare(plan, tmp_path / "logs", journal, lambda: False, processes=1)
    assert made is not None
    assert {subject.id: subject.kept_bytes for subject in made.subjects} == exact
    state = new_experiment("x", plan)
    state = msgspec.structs.replace(state, prepared=made, current=0)
    train = [made.subjects[i].id for i in made.splits[0].train]
    known = footprint(state)
    assert known.samples * known.volume_bytes == pytest.approx(sum(exact[name] for name in train), abs=4)
    assert budget(plan.profile.knobs, known).ram.bytes > sum(exact[name] for name in train)


def test_an_older_experiment_that_did_not_write_it_down_is_counted_as_before(tmp_path: Path, scrolls: Path) -> None:
    plan = surfaces(tmp_path, scrolls)
    made = Prepared(subjects=(Subject(id="a", folder=""),) * 4, splits=(Split(fold=0, train=(0, 1), test=(2, 3)),), data_hash="")
    state = msgspec.structs.replace(new_experiment("x", plan), prepared=made, current=0)
    assert footprint(state).volume_bytes == footprint(state).sample_bytes


def test_a_compressed_stack_of_floats_becomes_0_to_1_like_any_other(tmp_path: Path, scrolls: Path) -> None:
    plan = surfaces(tmp_path, scrolls)
    with Writer(tmp_path / "prepare.jsonl") as journal:
        (tmp_path / "logs").mkdir()
        made = prepare(plan, tmp_path / "logs", journal, lambda: False, processes=1)
    assert made is not None
    for subject in made.subjects:
        values = open_volume(Path(subject.folder)).floats()
        assert (values.min(), values.max()) == (0.0, pytest.approx(1.0)), subject.id
