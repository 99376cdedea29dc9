"""`engine.training.check`: what a launch would meet, said beforehand, without writing anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.config.experiment import from_table, resolve_profile
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import runs_of
from engine.journals.events import Note
from engine.journals.journal import read
from engine.paths import ExperimentPaths, read_json, write_json
from engine.training.data import cache
from engine.training.data.discover import MASKS
from tests.training.data.make import affine, blob, head, pair, save


def plan(tmp_path: Path, volumes: Path | None, knobs: dict[str, Any] | None = None, device: str = "cpu", **tables: object) -> Plan:
    table: dict[str, object] = {
        "data": {"source": "pairs"}, "prepare": {"spacing_mm": 1.0, "shape": [24, 24, 24]},
        "model": {"channels": 5}, "runs": {"folds": 2, "restarts": 3, "stratify": ["lesion_size"]},
    }
    if "knobs_of_its_own" in tables:
        tables["knobs"] = tables.pop("knobs_of_its_own")
    experiment = from_table(table | tables, "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, knobs or {})
    return Plan(
        name="e", experiment_name="test", experiment=experiment, profile=profile, runs=runs_of(experiment),
        data_dir=str(volumes or ""), cache_dir=str(tmp_path / "logs" / "_cache"), device=device,
    )


def laid_out(tmp_path: Path, data: Path) -> tuple[Plan, ExperimentPaths]:
    """A folder to prepare those data in, which were written a minute ago: files that are older than that are trusted."""
    old = time.time() - 60
    for path in data.rglob("*.nii.gz"):
        os.utime(path, (old, old))
    wanted, paths = plan(tmp_path, data), ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True)
    write_json(paths.plan, wanted)
    return wanted, paths


def check(wanted: Plan | bytes, *more: str) -> tuple[int, dict[str, Any]]:
    """The plan goes in through stdin, the report comes out of stdout; nothing else is said."""
    text = wanted if isinstance(wanted, bytes) else msgspec.json.encode(wanted)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "engine.training.check", *more, "-"], input=text, capture_output=True, timeout=120,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, msgspec.json.decode(done.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(9):
        pair(tmp_path / "data", f"s{i}", seed=i, side=3 + i % 4, spacing=(1.0, 1.0, 1.5), axes=("RAS", "LPS")[i % 2])
    return tmp_path / "data"


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def test_good_data_are_described_and_nothing_is_written(tmp_path: Path, data: Path) -> None:
    before = everything(tmp_path)
    code, report = check(plan(tmp_path, data))
    assert code == 0 and report["ok"] and report["errors"] == []
    assert [w for w in report["warnings"] if "workers on" not in w] == []
    assert everything(tmp_path) == before
    assert (report["subjects"], report["runs"], report["epochs"]) == (9, 6, 50)
    assert report["shapes"] == {"20 × 24 × 18": 9}
    assert report["spacings_mm"] == {"low": 1.0, "middle": 1.0, "high": 1.5}
    assert report["orientations"] == {"RAS": 5, "LPS": 4}
    assert report["lesions_mm3"]["low"] == pytest.approx(27 * 1.5) and report["lesions_mm3"]["high"] == pytest.approx(324)
    assert report["folds"] == [
        {"fold": 0, "train": 4, "test": 5, "steps_per_epoch": 4}, {"fold": 1, "train": 5, "test": 4, "steps_per_epoch": 5}
    ]
    assert report["stratified_by"] == ["lesion size in quartiles"]
    assert sum(map(sum, report["strata"].values())) == 9
    assert report["disk"]["needed"] == 9 * (24**3 * 5 + 8192) and report["disk"]["free"] > 0
    assert report["memory"]["sample"] == 24**3 * 5 and report["memory"]["available"] > 0
    assert report["model"] == {"name": "meshnet", "channels": 5, "parameters": 5682}
    assert report["device"]["kind"] == "cpu" and report["device"]["name"]


def test_the_folds_it_names_are_those_that_preparation_makes(tmp_path: Path, data: Path) -> None:
    wanted = plan(tmp_path, data)
    _, report = check(wanted)
    paths = ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True)
    write_json(paths.plan, wanted)
    subprocess.run([sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)], check=True, timeout=60)
    made = read_json(paths.data, Prepared)
    assert made is not None
    assert [(f["train"], f["test"]) for f in report["folds"]] == [(len(s.train), len(s.test)) for s in made.splits]
    assert tuple(report["stratified_by"]) == made.stratified_by
    volumes = sorted(s.lesion_mm3 for s in made.subjects)
    assert [report["lesions_mm3"][k] for k in ("low", "middle", "high")] == pytest.approx([volumes[0], volumes[4], volumes[8]])
    _, again = check(wanted)
    assert again["disk"]["needed"] == 0 and again["disk"]["prepared"] == 9 * (24**3 * 5 + 8192)


def test_every_bad_volume_is_named_not_only_the_first(tmp_path: Path, data: Path) -> None:
    cut = data / "images" / "s1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    save(data / "images" / "s2.nii.gz", np.full((20, 24, 18), np.nan, np.float32))
    save(data / "labels" / "s3.nii.gz", np.zeros((20, 24, 18), np.uint8), np.diag([1, 1, 1.5, 1]))
    save(data / "labels" / "s4.nii.gz", blob((20, 24, 12)))
    code, report = check(plan(tmp_path, data))
    assert code == 2 and not report["ok"]
    assert len(report["errors"]) == 4
    for name, fault in (("s1", "cut short"), ("s2", "NaN"), ("s3", "its affines"), ("s4", "20 × 24 × 12")):
        assert any(name in e and (fault in e or "affines differ" in e) for e in report["errors"]), report["errors"]


@pytest.mark.parametrize("more", [(), ("--quick",)])
def test_a_label_of_several_classes_is_one_foreground_and_that_is_said_once(
    tmp_path: Path, data: Path, more: tuple[str, ...]
) -> None:
    """By `check` and by preparation; --quick reads no label, but knows those that were prepared before."""
    for name, values in (("s3", 3), ("s7", 2)):
        side = 3 + int(name[1]) % 4
        mask = blob(side=side)
        mask[6, 7, 5 : 5 + values] = range(1, values + 1)
        save(data / "labels" / f"{name}.nii.gz", mask, np.array(affine((1.0, 1.0, 1.5))), "LPS")
    wanted, paths = laid_out(tmp_path, data)
    for _ in range(2):
        subprocess.run([sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)], check=True, timeout=60)
    said = (
        "the label of s3 and 1 more holds 1, 2, 3: all count as foreground; where only some should, write 0 for the others"
    )
    made = read_json(paths.data, Prepared)
    assert made is not None and made.warnings.count(said) == 1
    _, report = check(wanted, *more)
    assert report["warnings"].count(said) == 1


def test_a_label_prepared_before_its_values_were_looked_at_is_looked_at_again(tmp_path: Path, data: Path) -> None:
    wanted = plan(tmp_path, data)
    paths = ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True)
    write_json(paths.plan, wanted)
    command = [sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)]
    subprocess.run(command, check=True, timeout=60)
    bad = data / "labels" / "s2.nii.gz"
    save(bad, np.random.default_rng(0).random((20, 24, 18), np.float32), affine((1.0, 1.0, 1.5)))
    image = cache.digest(data / "images" / "s2.nii.gz")
    key = cache.case_key(image, cache.digest(bad), wanted.experiment.prepare)
    folder = tmp_path / "logs" / "_cache"
    made = read_json(paths.data, Prepared)
    assert made is not None
    before = Path(made.subjects[2].folder)
    record = read_json(before / cache.RECORD, cache.CaseRecord)
    assert record is not None
    before.rename(folder / key)
    write_json(folder / key / cache.RECORD, msgspec.structs.replace(record, key=key, label_values=()))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "s2.nii.gz': the label holds" in done.stderr


def test_more_errors_than_one_can_read_are_counted(tmp_path: Path) -> None:
    for i in range(30):
        pair(tmp_path / "data", f"s{i:02}", seed=i)
        save(tmp_path / "data" / "labels" / f"s{i:02}.nii.gz", np.zeros((20, 24, 18), np.uint8))
    _, report = check(plan(tmp_path, tmp_path / "data"))
    assert len(report["errors"]) == 21 and report["errors"][-1] == "… and 10 more volumes"


def test_quick_reads_headers_only_and_imports_no_torch(tmp_path: Path, data: Path) -> None:
    cut = data / "images" / "s1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    save(data / "labels" / "s4.nii.gz", blob((20, 24, 12)))
    code, report = check(plan(tmp_path, data), "--quick")
    assert code == 2 and [e for e in report["errors"] if "s4" in e] == report["errors"]
    assert report["folds"][0] == {"fold": 0, "train": 4, "test": 5, "steps_per_epoch": 4}
    assert report["lesions_mm3"] is None and report["strata"] == {} and report["model"] == {}
    script = "import sys, engine.training.check as c; c.main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    text = tmp_path / "plan.json"
    write_json(text, plan(tmp_path, data))
    done = subprocess.run([sys.executable, "-c", script, "--quick", str(text)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0


def test_quick_knows_lesions_that_were_prepared_before(tmp_path: Path, data: Path) -> None:
    wanted, paths = laid_out(tmp_path, data)
    subprocess.run([sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)], check=True, timeout=60)
    _, quick = check(wanted, "--quick")
    _, full = check(wanted)
    for key in ("lesions_mm3", "strata", "folds", "stratified_by"):
        assert quick[key] == full[key]
    assert quick["disk"]["needed"] == full["disk"]["needed"] == 0


@pytest.mark.parametrize("more", [(), ("--quick",)])
def test_quick_or_not_the_device_has_one_name(tmp_path: Path, data: Path, more: tuple[str, ...]) -> None:
    """A forecast looks earlier runs up by the name the trainer wrote down."""
    from engine.training import device

    _, report = check(plan(tmp_path, data), *more)
    assert report["device"] == {"kind": "cpu", "name": device.name(device.choose("cpu"))}


def test_phantoms_are_described_before_they_exist(tmp_path: Path) -> None:
    wanted = plan(
        tmp_path, None, data={"source": "phantom", "subjects": 16, "shape": [32, 32, 32]},
        runs={"folds": 2, "restarts": 2},
    )
    code, report = check(wanted, "--quick")
    assert code == 0 and report["subjects"] == 16 and list(tmp_path.iterdir()) == []
    assert report["acquisitions"] == {"space_2x": 8, "space_no_accel": 8}
    assert report["stratified_by"] == ["lesion size in quartiles", "acquisition"]
    assert all(counts == [1, 1] for counts in report["strata"].values())


def test_a_tree_with_small_strata_is_warned_of(tmp_path: Path) -> None:
    for i in range(6):
        stem = f"sub-{i}_ses-1_acq-{'spc3' if i else 'tse3'}_T2w"
        save(tmp_path / "arc" / f"sub-{i}/ses-1/anat/{stem}.nii.gz", head(seed=i))
        save(tmp_path / "arc" / MASKS / f"sub-{i}/ses-1/anat/{stem}_desc-lesion_mask.nii.gz", blob(side=3 + i))
    code, report = check(plan(tmp_path, tmp_path / "arc", data={"source": "bids", "subjects": 223}))
    assert code == 0 and report["subjects"] == 5
    assert report["warnings"][0] == "1 turbo spin echo volume left out: another contrast than SPACE"
    assert "223 subjects were expected" in report["warnings"][1]
    assert "stratified by lesion size in halves only" in report["warnings"][2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"volumes": None}, "give their folder with --data DIR"),
        ({"volumes": Path("/nowhere/at/all")}, "does not exist"),
        ({"model": {"name": "mashnet"}}, "did you mean 'meshnet'"),
        ({"prepare": {"orientation": "RAX"}}, "as in RAS"),
        ({"prepare": {"shape": [16384, 16384, 16384]}}, "STEPTOP_CACHE"),
        ({"runs": {"folds": 12, "restarts": 1}}, "12 folds need at least 12 subjects, not 9"),
        ({"device": "17"}, "device"),
    ],
)
def test_what_cannot_be_trained_is_an_error_with_its_remedy(
    tmp_path: Path, data: Path, change: dict[str, Any], said: str
) -> None:
    needs_torch = {"model", "device"} & set(change)
    code, report = check(plan(tmp_path, **({"volumes": data} | change)), *([] if needs_torch else ["--quick"]))
    assert code == 2 and not report["ok"]
    assert any(said in error for error in report["errors"]), report["errors"]


def test_batches_that_will_not_fit_into_memory_are_warned_of(tmp_path: Path, data: Path) -> None:
    knobs = {"num_workers": 64, "prefetch_factor": 64, "batch_size": 4}
    wanted = plan(tmp_path, data, knobs, prepare={"spacing_mm": 1.0, "shape": [256, 256, 256]})
    code, report = check(wanted, "--quick")
    refused = [error for error in report["errors"] if "does not fit" in error]
    assert code == 2 and refused[-1].startswith("/dev/shm does not fit: 64 workers × 64 batches ahead × 320 MiB")
    assert "--over-budget" in refused[-1]
    code, report = check(msgspec.structs.replace(wanted, over_budget=True), "--quick")
    assert code == 0
    assert report["memory"]["waiting_batches"] == 64 * 64 * 4 * 256**3 * 5
    assert any(w.startswith(("RAM may not fit: trainer ", "RAM does not fit: trainer ")) and "fewer num_workers" in w for w in report["warnings"])
    assert any(w.startswith("/dev/shm does not fit: 64 workers × 64 batches ahead × 320 MiB") for w in report["warnings"])
    assert any(w.startswith("64 workers on ") and "more than cores only help" in w for w in report["warnings"])
    assert [line.split()[0] for line in report["budget"]] == ["RAM", "/dev/shm"] and "/dev/shm over: " in report["budget"][1]


def test_a_batch_of_more_samples_than_there_are_is_refused(tmp_path: Path, data: Path) -> None:
    code, report = check(plan(tmp_path, data, {"batch_size": 64}), "--quick")
    assert code == 2
    assert any(re.fullmatch(r"batch_size 64 is more than the \d+ samples of an epoch of fold \d", e) for e in report["errors"])
    code, _ = check(plan(tmp_path, data, {"batch_size": 64, "steps_per_epoch": 2}), "--quick")
    assert code == 0, "an epoch of so many steps goes through the samples again"


def test_what_a_step_of_meshnet_keeps_is_what_torch_keeps(tmp_path: Path, data: Path) -> None:
    """The model behind the estimate, against the tensors a forward pass really saves."""
    import torch

    from engine.training.models.meshnet import MeshNet

    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network = MeshNet(5)
    weights = sum(p.untyped_storage().nbytes() for p in network.parameters())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(torch.rand(1, 1, 24, 24, 24))
        torch.nn.functional.cross_entropy(logits, torch.zeros(1, 24, 24, 24, dtype=torch.long)).backward()
    _, report = check(plan(tmp_path, data), "--quick")
    assert abs(sum(kept.values()) - report["memory"]["step"]) <= weights + 1000


def test_meshnet_26_at_256_is_known_to_need_32_gb_on_a_cpu(tmp_path: Path, data: Path) -> None:
    wanted = plan(tmp_path, data, prepare={"spacing_mm": 1.0, "shape": [256, 256, 256]}, model={"channels": 26})
    _, report = check(wanted, "--quick")
    assert 31.7e9 < report["memory"]["step"] < 31.9e9


def test_a_steps_memory_is_told_from_the_network_before_it_exists(tmp_path: Path, data: Path) -> None:
    """35.0 GB at 256³ in fp32: 31.8 kept for the backward pass, the rest while that runs. Almost nothing is weights."""
    wanted = plan(tmp_path, data, {"num_workers": 0}, prepare={"spacing_mm": 1.0, "shape": [256, 256, 256]}, model={"channels": 26})
    _, report = check(wanted)
    made = report["estimate"]
    assert 34.8e9 < made["activations"] < 35.2e9 and made["weights"] == pytest.approx(147_474 * 4, rel=0.01)
    assert made["optimizer"] == pytest.approx(2 * made["weights"], rel=0.05)
    assert report["memory"]["step"] == sum(made.get(name, 0) for name in ("activations", "weights", "gradients", "optimizer"))
    # On a CPU a step is host memory.
    assert report["memory"]["ram"] > 34.8e9 and report["budget"][0].startswith(("RAM over: trainer 33", "RAM tight: trainer 33", "RAM fits: trainer 33"))


def test_where_data_are_wrong_nothing_is_added_up_first(tmp_path: Path, data: Path) -> None:
    """The sum of a large network's step takes long, and says nothing where its data forbid training."""
    save(data / "labels" / "s3.nii.gz", np.zeros((20, 24, 18), np.uint8), affine((1.0, 1.0, 1.5)))
    code, bad = check(plan(tmp_path, data))
    assert code == 2 and "s3" in bad["errors"][0]
    # What is known of MeshNet without torch has no weights in it; added up from the network it has.
    assert not bad["estimate"].get("weights")
    assert bad["model"]["parameters"] == 5682


def test_validation_that_a_launch_switches_off_is_warned_of(tmp_path: Path, data: Path) -> None:
    """Not where the experiment's own file has none, nor where whole volumes are scored in between."""
    off = "nothing held out is scored before a run's end: val_every_epochs and reconstruct_every_epochs are 0"

    def warned(wanted: Plan) -> list[str]:
        return [text for text in check(wanted, "--quick")[1]["warnings"] if off in text]

    none = {"val_every_epochs": 0}
    watched = plan(tmp_path, data, none, knobs_of_its_own={"val_every_epochs": 2})
    assert warned(watched) == [f"{off}; the experiment's own is val_every_epochs = 2"]
    assert warned(plan(tmp_path, data, knobs_of_its_own={"val_every_epochs": 2})) == []
    assert warned(plan(tmp_path, data, none)) == []
    assert warned(plan(tmp_path, data, none | {"reconstruct_every_epochs": 3}, knobs_of_its_own={"val_every_epochs": 2})) == []
    paths = ExperimentPaths(tmp_path / "logs" / "e")
    paths.folder.mkdir(parents=True)
    write_json(paths.plan, watched)
    subprocess.run([sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder)], check=True, timeout=60)
    assert [note.text for note in read(paths.prepare) if isinstance(note, Note) and off in note.text and note.level == "warn"]


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b"[1]"])
def test_what_is_no_plan_is_said_to_be_none(text: bytes) -> None:
    code, report = check(text)
    assert code == 2 and "not a plan" in report["errors"][0]
