"""Bad input of every kind, given to the real command: exit code 2, what, where and what would be right, nothing left.

`steptop check` names every bad case of a folder at once, so each kind is looked at once and asked about one by one. What
only a whole file shows is told by `check`, and again while it is prepared; what headers show is refused at launch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from engine.training.data import tiff
from tests.conftest import Laboratory
from tests.training.data.make import affine, blob, head, pair, save
from tests.training.tables import DENOISER, PATCHES, RESIDUAL_UNET

FOLDS = 'stratify = []\nrestarts = 1\nfolds = {folds}\n'
VOLUMES = """
epochs = 1
[data]
source = "pairs"
[prepare]
spacing_mm = 1.0
shape = [24, 24, 24]
[model]
channels = 3
[runs]
"""
STACKS = 'epochs = 1\n[data]\nsource = "tiff"\nignore = 2' + PATCHES + RESIDUAL_UNET + """
terms = { soft_dice = { weight = 1.0 } }
[runs]
"""
PEPTIDES = 'task = "peptides"\nepochs = 1' + DENOISER + """
[loss]
terms = { denoising = { weight = 1.0 } }
[runs]
"""
SHAPE = (20, 18, 16)


class Place:
    """A folder to stand in, with an experiment called `mine`, and `steptop` to type there."""

    def __init__(self, folder: Path, table: str, folds: int = 2) -> None:
        self.folder = folder
        (folder / "experiments").mkdir(parents=True)
        (folder / "experiments" / "mine.toml").write_text(table + FOLDS.format(folds=folds))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "tui.cli", *words], cwd=self.folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL,
        )

    def refused(self, *words: str) -> str:
        """What stderr says of a command that ends with 2 and leaves nothing."""
        done = self(*words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not [*(self.folder / "logs").rglob("*")]
        return done.stderr


def line_about(said: str, name: str) -> str:
    (line,) = [line for line in said.splitlines() if name in line]
    return line


# ---------------------------------------------------------------- NIfTI


def _bad_volumes(data: Path) -> None:
    for name in ("good-1", "good-2", "nan", "shapes", "cut", "empty", "blank", "renamed", "moved", "chances", "below"):
        pair(data, name, seed=len(name))
    image = head().astype(np.float32)
    image[3, 3, 3:6] = np.nan
    save(data / "images" / "nan.nii.gz", image)
    save(data / "labels" / "shapes.nii.gz", blob((20, 24, 12)))
    cut = data / "images" / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    (data / "images" / "empty.nii.gz").write_bytes(b"")
    save(data / "labels" / "blank.nii.gz", np.zeros((20, 24, 18), np.uint8))
    chances = np.random.default_rng(1).random((20, 24, 18), np.float32)
    save(data / "labels" / "chances.nii.gz", chances)
    save(data / "labels" / "below.nii.gz", blob().astype(np.int16) - (chances < 0.1))
    (data / "images" / "renamed.nii.gz").write_bytes(b"a text, not a volume")
    save(data / "labels" / "moved.nii.gz", blob(), affine() + np.eye(4, k=3) * 50)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `steptop check` says of a folder with a case of every fault."""
    place = Place(tmp_path_factory.mktemp("nifti"), VOLUMES)
    _bad_volumes(place.folder / "data")
    return place.refused("check", "mine", "--data", "data")


@pytest.mark.xdist_group("bad-volumes")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nan", "voxels are NaN or infinite; write a finite value"),
        ("shapes", "the label is 20 × 24 × 12 voxels but its image"),
        ("cut", "cut short, the gzip stream has no end; fetch it again"),
        ("empty", "the file is empty; copy or convert it again"),
        ("blank", "no voxel is above 0; remove the subject, or pass a label of it"),
        ("chances", "no whole numbers: probabilities, or a mask that was interpolated?"),
        ("below", "right are 0 for background and numbers above 0 for foreground: write 0 there"),
        ("renamed", "is not gzip, though its name ends in .gz; a NIfTI volume as .nii or .nii.gz is needed"),
        ("moved", "their affines differ; resample the label to the image's grid"),
    ],
)
def test_a_bad_volume_is_named_with_what_is_wrong_and_what_would_be_right(volumes: str, name: str, said: str) -> None:
    line = line_about(volumes, f"{name}.nii.gz': ")
    assert said in line
    assert line.startswith("error: ")


@pytest.mark.xdist_group("bad-volumes")
def test_good_volumes_beside_bad_ones_are_no_errors(volumes: str) -> None:
    assert "good" not in volumes
    assert len(volumes.splitlines()) == 9


# ---------------------------------------------------------------- TIFF


def stack(path: Path, voxels: np.ndarray, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, voxels, photometric="minisblack", **how)


def _bad_stacks(data: Path) -> None:
    for number, name in enumerate(("plain", "packed", "cut", "packed-cut", "doubles", "floats", "shapes", "values", "blank", "thin", "empty")):
        rng = np.random.default_rng(number)
        label = np.zeros(SHAPE, np.uint8)
        label[4:9] = 1
        label[:2] = 2
        stack(data / "images" / f"{name}.tif", (rng.random(SHAPE) * 255).astype(np.uint8))
        stack(data / "labels" / f"{name}.tif", label)
    images, labels = data / "images", data / "labels"
    for name in ("packed", "packed-cut"):
        stack(images / f"{name}.tif", tifffile.imread(images / f"{name}.tif"), compression="zlib")
    for name in ("cut", "packed-cut"):
        (images / f"{name}.tif").write_bytes((images / f"{name}.tif").read_bytes()[:-3000])
    stack(images / "doubles.tif", np.random.default_rng(0).random(SHAPE))
    stack(labels / "floats.tif", np.ones(SHAPE, np.float32))
    stack(labels / "shapes.tif", np.ones((20, 18, 14), np.uint8))
    label = tifffile.imread(labels / "values.tif")
    label[3, 4, 5:8] = 7
    stack(labels / "values.tif", label)
    stack(labels / "blank.tif", np.full(SHAPE, 2, np.uint8))
    stack(images / "thin.tif", np.arange(6 * 18 * 16).astype(np.uint8).reshape(6, 18, 16))
    stack(labels / "thin.tif", np.ones((6, 18, 16), np.uint8))
    (labels / "empty.tif").write_bytes(b"")


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = Place(tmp_path_factory.mktemp("tiff"), STACKS)
    _bad_stacks(place.folder / "data")
    return place.refused("check", "mine", "--data", "data")


@pytest.mark.xdist_group("bad-stacks")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("images/cut", "cut short"),
        ("images/packed-cut", "again"),
        ("images/doubles", "its voxels are float64; uint8, uint16, int16 or float32 are needed: convert it"),
        ("labels/floats", "its labels are float32; uint8 is needed: convert it"),
        ("labels/shapes", "the label is 20 × 18 × 14 voxels but its image"),
        ("labels/values", "the label holds 7 (3 voxels); right are 0 to 1, and 2 for what counts nowhere"),
        ("labels/blank", "the label is empty, no voxel is foreground; remove the pair"),
        ("images/thin", "6 × 18 × 16 voxels are less than the patch of 8 × 8 × 8; set a smaller patch.shape"),
        ("labels/empty", "no TIFF that can be read"),
    ],
)
def test_a_bad_stack_is_named_with_what_is_wrong_and_what_would_be_right(stacks: str, name: str, said: str) -> None:
    line = line_about(stacks, f"{name}.tif': ")
    assert said in line
    assert line.startswith("error: ")


@pytest.mark.xdist_group("bad-stacks")
def test_good_stacks_compressed_or_not_are_no_errors(stacks: str) -> None:
    assert "plain" not in stacks
    assert "packed.tif" not in stacks
    assert len(stacks.splitlines()) == 9


# ---------------------------------------------------------------- sequences


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (">a\nACDE\n>b\nACBXE\n>c\nACDEF\n", "p.fasta", "line 3: 'ACBXE' holds B, X, no amino acid"),
        (f"sequence\nACDE\n{'A' * 21}\n", "p.csv", "line 3: 'AAAAAAAAAAAAAAAAAAAAA' has 21 residues. A sequence has 4 to 20"),
        ("", "p.fasta", "is empty; a FASTA file"),
        ("sequence,target\n", "p.csv", "holds no sequence; a FASTA file"),
        ("name,target\nACDE,x\n", "p.csv", "line 1: no column called sequence (there is name, target)"),
        ("sequence\nACDE\n", "p.csv", "2 folds need at least 2 sequences, each fold one of its own; there are 1"),
    ],
)
def test_sequences_that_cannot_be_learnt_from_are_refused_at_launch(tmp_path: Path, text: str, name: str, said: str) -> None:
    place = Place(tmp_path, PEPTIDES)
    (tmp_path / name).write_text(text)
    told = place.refused("run", "mine", "--data", name)
    assert said in told
    assert "folds need" in said or name in told


# ---------------------------------------------------------------- what a whole folder lacks


def _empty(data: Path) -> None:
    data.mkdir()


def _without_pairs(data: Path) -> None:
    for i in range(3):
        save(data / f"scan{i}.nii.gz", head(seed=i))


def _without_a_label(data: Path) -> None:
    for i in range(3):
        pair(data, f"s{i}", seed=i)
    (data / "labels" / "s1.nii.gz").unlink()


def _one_pair(data: Path) -> None:
    pair(data, "s0")


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (_empty, "holds no .nii or .nii.gz volume; expected images/ and labels/ with the same file names"),
        (_without_pairs, "3 volumes ('scan0.nii.gz', 'scan1.nii.gz', 'scan2.nii.gz'), but no pairs among them; expected"),
        (_without_a_label, "1 image ('images/s1.nii.gz') without a label; its label in labels/ must bear the same name"),
        (_one_pair, "2 folds need at least 2 subjects, not 1; add data, or set fewer folds"),
        (lambda data: None, "there is no such folder"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_at_launch(
    tmp_path: Path, lay: Callable[[Path], object], said: str
) -> None:
    place = Place(tmp_path, VOLUMES)
    lay(tmp_path / "data")
    assert said in place.refused("run", "mine", "--data", "data")


def test_volumes_of_several_shapes_are_refused_where_whole_ones_are_learnt_from(tmp_path: Path) -> None:
    """A batch has one shape: what differs must be cut, or looked at in patches."""
    place = Place(tmp_path, STACKS.replace("shape = [8, 8, 8]\n", ""))
    (tmp_path / "data").mkdir()
    assert "prepare.shape must be 8 voxels or more on every side, or [0, 0, 0]" in place.refused("run", "mine", "--data", "data")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stroke-small", "--variants", "bsaeline"), "no variant called 'bsaeline'; did you mean 'baseline'?"),
        (("mine", "--data", "data", "--variants", "mkdc"), "no variant 'mkdc': the experiment has none"),
        (("mine",), "say where they are with --data DIR"),
        (("quickstart", "--data", "data"), "trains on phantoms that it makes itself"),
    ],
)
def test_what_the_experiment_has_not_is_refused_at_launch(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    place = Place(tmp_path, VOLUMES)
    (tmp_path / "data").mkdir()
    assert said in place.refused("run", *words)


# ---------------------------------------------------------------- what only preparing shows


def _nan(data: Path) -> None:
    for i in range(4):
        pair(data, f"s{i}", seed=i)
    image = head().astype(np.float32)
    image[3, 3, 3:6] = np.nan
    save(data / "images" / "s2.nii.gz", image)


def _values(data: Path) -> None:
    for i in range(4):
        label = np.zeros(SHAPE, np.uint8)
        label[4:9] = 7 if i == 2 else 1
        stack(data / "images" / f"s{i}.tif", (np.random.default_rng(i).random(SHAPE) * 255).astype(np.uint8))
        stack(data / "labels" / f"s{i}.tif", label)


@pytest.mark.parametrize(
    ("table", "lay", "said"),
    [
        (VOLUMES, _nan, "s2.nii.gz': 3 of 8,640 voxels are NaN or infinite"),
        (STACKS, _values, "s2.tif': the label holds 7"),
    ],
)
def test_what_only_the_voxels_show_ends_preparing_with_2_and_nothing_half_written(
    tmp_path: Path, lab: Laboratory, table: str, lay: Callable[[Path], None], said: str
) -> None:
    place = Place(tmp_path, table)
    lay(tmp_path / "data")
    lab.folders.append(tmp_path / "logs" / "mine")
    done = place("run", "mine", "--data", "data", "--wait")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stdout
    logs = tmp_path / "logs"
    assert not (logs / "mine" / "data.json").exists()
    assert not [path for path in logs.rglob("*") if ".tmp." in path.name]
    assert not [path for path in (logs / "mine").rglob("*") if path.suffix in (".pt", ".npy") or path.name == "results.json"]
    whole = [path for path in (logs / "_cache").iterdir() if path.name != "index"]
    assert all((path / "case.json").is_file() for path in whole)


def test_what_is_wrong_with_one_file_is_not_said_of_another_that_is_read_beside_it() -> None:
    """tifffile tells faults to a log that all threads share."""
    mine = tiff._Complaints()
    log = tiff._log()
    log.addHandler(mine)
    try:
        other = threading.Thread(target=log.error, args=("a page beyond the end of another file",))
        other.start()
        other.join()
        assert mine.heard == []
        log.error("a page beyond the end of mine")
        assert mine.heard == ["a page beyond the end of mine"]
    finally:
        log.removeHandler(mine)
