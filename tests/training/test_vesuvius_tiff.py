"""Pairs of TIFF: read in place or converted once, filtered once, and every bad file told with its remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from engine.config.prepared import Prepared
from engine.config.tables import Data, Prepare
from engine.errors import DataError, UsageError
from engine.journals.journal import Writer
from engine.paths import ExperimentPaths
from engine.training.check import check
from engine.training.data import sheets, tiff
from engine.training.data.cases import Done, prepare_case
from engine.training.data.discover import Case, find
from engine.training.data.maps import Wanted
from engine.training.data.opened import open_volume
from engine.training.looking import look_at_all
from engine.training.prepare import prepare
from tests.training.test_prepare import lay_out, result, run
from tests.training.world import plan_of

SHAPE = (20, 18, 16)
PREPARE = Prepare(shape=(0, 0, 0))
WANT = Wanted(classes=1, ignore=2, maps=("distance", "skeleton"), places=True, patch=(8, 8, 8))
DATA = Data(source="sheets", subjects=3, shape=SHAPE, ignore=2)
TABLES: dict[str, object] = {
    "data": {"source": "tiff", "ignore": 2}, "prepare": {"shape": [0, 0, 0], "median": 3},
    "patch": {"shape": [8, 8, 8], "per_volume": 2, "foreground": 0.5},
    "model": {"name": "residual_unet", "channels": 2, "classes": 1, "multipliers": [1, 2], "blocks": 1},
    "loss": {"class_weights": [1.0], "terms": {"soft_dice": {}, "surface_distance": {}}},
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """images/ and labels/ with sheet-001 to sheet-003."""
    return sheets.write(DATA, tmp_path / "made")


def case(pairs: Path, number: int = 1) -> Case:
    name = f"sheet-{number:03d}"
    return Case(id=name, image=pairs / "images" / f"{name}.tif", label=pairs / "labels" / f"{name}.tif")


def made(pairs: Path, tmp_path: Path, prepare: Prepare = PREPARE) -> tuple[Path, Done]:
    folder = tmp_path / "cache"
    folder.mkdir(exist_ok=True)
    done = prepare_case(case(pairs), folder, prepare, WANT)
    return folder / done.record.key, done


def test_uncompressed_pairs_are_read_where_they_lie(pairs: Path, tmp_path: Path) -> None:
    folder, _ = made(pairs, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == [
        "case.json", "distance-2.npy", "foreground-2.npy", "skeleton-2.npy",
    ]
    volume, stored = open_volume(folder), tifffile.imread(case(pairs).image)
    assert (np.asarray(volume.image) == stored).all() and volume.image.dtype == np.uint8
    assert (np.asarray(volume.label) == tifffile.imread(case(pairs).label)).all()
    cut = (slice(2, 9), slice(1, 5), slice(0, 16))
    low, high = float(stored.min()), float(stored.max())
    assert volume.floats(cut) == pytest.approx((stored[cut] - low) / (high - low), abs=1e-6)


def test_a_file_that_changed_since_is_not_read_on(pairs: Path, tmp_path: Path) -> None:
    folder, done = made(pairs, tmp_path)
    shutil.copy(case(pairs, 2).image, case(pairs).image)
    with pytest.raises(DataError, match=r"sheet-001.tif.*changed.*prepare again"):
        open_volume(folder)
    assert made(pairs, tmp_path)[1].record.key != done.record.key


def test_the_median_filter_is_a_step_of_preparation(pairs: Path, tmp_path: Path) -> None:
    folder, done = made(pairs, tmp_path, msgspec.structs.replace(PREPARE, median=3))
    expected = ndimage.median_filter(tifffile.imread(case(pairs).image), size=3)
    volume = open_volume(folder)
    assert (np.asarray(volume.image) == expected).all() and (volume.low, volume.high) == (expected.min(), expected.max())
    assert not done.reused and made(pairs, tmp_path, msgspec.structs.replace(PREPARE, median=3))[1].reused
    assert done.record.key != made(pairs, tmp_path)[1].record.key


@pytest.mark.parametrize("compression", ["zlib", "tiff_lzw"])
def test_compressed_files_are_converted_once(pairs: Path, tmp_path: Path, compression: str) -> None:
    plain, label = case(pairs), tifffile.imread(case(pairs).label)
    if compression == "zlib":
        tifffile.imwrite(plain.label, label, compression="zlib", photometric="minisblack")
    else:  # as the challenge's files are
        pages = [Image.fromarray(page) for page in label]
        pages[0].save(plain.label, save_all=True, append_images=pages[1:], compression=compression)
    folder, _ = made(pairs, tmp_path)
    assert (folder / "label.npy").exists() and not (folder / "image.npy").exists()
    assert (np.asarray(open_volume(folder).label) == label).all()


def _cut_short(pair: Case) -> None:
    pair.image.write_bytes(pair.image.read_bytes()[:-3000])


def _cut_compressed(pair: Case) -> None:
    tifffile.imwrite(pair.image, tifffile.imread(pair.image), compression="zlib", photometric="minisblack")
    _cut_short(pair)


def _write(pair: Case, which: str, voxels: np.ndarray) -> None:
    tifffile.imwrite(getattr(pair, which), voxels, photometric="minisblack")


def _with_seven(pair: Case) -> None:
    label = tifffile.imread(pair.label)
    label[3, 4, 5:8] = 7
    _write(pair, "label", label)


def _two_sizes(pair: Case) -> None:
    with tifffile.TiffWriter(pair.image) as file:
        file.write(np.zeros((5, 18, 16), np.uint8))
        file.write(np.zeros((5, 20, 16), np.uint8))


BAD: dict[str, tuple[Callable[[Case], object], str]] = {
    "cut short": (_cut_short, r"images.sheet-001.tif.*cut short.*download it again"),
    "cut short, compressed": (_cut_compressed, r"images.sheet-001.tif.*(damaged|cut short).*again"),
    "no TIFF": (lambda pair: pair.image.write_bytes(b"PK\3\4 a zip"), r"no TIFF that can be read.*download it again"),
    "empty file": (lambda pair: pair.label.write_bytes(b""), r"labels.sheet-001.tif.*no TIFF that can be read"),
    "floats as labels": (
        lambda pair: _write(pair, "label", np.zeros(SHAPE, np.float32)), r"labels.*are float32; uint8 is needed",
    ),
    "doubles as image": (
        lambda pair: _write(pair, "image", np.zeros(SHAPE)), r"images.*float64; uint8, uint16, int16 or float32",
    ),
    "other shape": (
        lambda pair: _write(pair, "label", np.zeros((20, 18, 14), np.uint8)),
        r"labels.*20 × 18 × 14 voxels but its image.*20 × 18 × 16",
    ),
    "slices of two sizes": (_two_sizes, r"images.*2 images in one file.*all slices alike"),
    "one slice": (lambda pair: _write(pair, "image", np.zeros((18, 16), np.uint8)), r"18 × 16; a 3D volume is needed"),
    "a label's value": (_with_seven, r"labels.*holds 7 \(3 voxels\); right are 0 to 1, and 2 for what counts nowhere"),
    "no foreground": (
        lambda pair: _write(pair, "label", np.full(SHAPE, 2, np.uint8)), r"labels.*no voxel is foreground.*remove the pair",
    ),
    "constant": (lambda pair: _write(pair, "image", np.full(SHAPE, 9, np.uint8)), r"every voxel is 9: no picture"),
    "smaller than a patch": (
        lambda pair: [_write(pair, kind, np.ones((6, 18, 16), np.uint8)) or _write(
            pair, "image", np.arange(6 * 18 * 16).astype(np.uint8).reshape(6, 18, 16)) for kind in ("label",)],
        r"6 × 18 × 16 voxels are less than the patch of 8 × 8 × 8; set a smaller patch.shape",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_with_what_is_wrong_and_nothing_is_left(kind: str, pairs: Path, tmp_path: Path) -> None:
    spoil, words = BAD[kind]
    spoil(case(pairs))
    with pytest.raises(DataError, match=words) as error:
        made(pairs, tmp_path)
    assert "sheet-001.tif" in str(error.value)
    assert not [file for file in (tmp_path / "cache").rglob("*") if ".tmp." in file.name]


def test_a_bad_case_ends_preparation_and_writes_no_data_json(pairs: Path, tmp_path: Path) -> None:
    _with_seven(case(pairs))
    paths = lay_out(tmp_path, pairs, **TABLES)
    code, words = run(paths)
    assert code == 2 and "holds 7 (3 voxels)" in words and not paths.data.exists()
    assert result(paths).kind == "bad_data"


def test_a_label_that_was_fine_for_three_classes_is_not_for_two(pairs: Path, tmp_path: Path) -> None:
    label = tifffile.imread(case(pairs).label)
    label[label == 2] = 0
    label[0] = 2
    _write(case(pairs), "label", label)
    folder = tmp_path / "cache"
    folder.mkdir()
    assert not prepare_case(case(pairs), folder, PREPARE, Wanted(classes=3)).reused
    with pytest.raises(DataError, match=r"holds 2 .*right are 0 to 1; data.ignore names one"):
        prepare_case(case(pairs), folder, PREPARE, Wanted(classes=2))


def test_pairs_are_found_by_name_and_a_lonely_image_is_told(pairs: Path) -> None:
    found = find(Data(source="tiff"), pairs)
    assert [one.id for one in found.cases] == ["sheet-001", "sheet-002", "sheet-003"]
    (pairs / "labels" / "sheet-002.tif").unlink()
    with pytest.raises(DataError, match=r"sheet-002.tif.*without a label.*same name"):
        find(Data(source="tiff"), pairs)
    with pytest.raises(DataError, match=r"3 TIFF files in 'images' and 0 in 'masks'.*both are needed"):
        find(Data(source="tiff", image="images", label="masks"), pairs)


def told(paths: ExperimentPaths) -> Prepared:
    with Writer(paths.prepare) as writer:
        found = prepare(plan_of(paths), paths.folder.parent, writer, lambda: False, processes=1)
    assert found is not None
    return found


def test_fewer_pairs_than_folds_are_refused(pairs: Path, tmp_path: Path) -> None:
    paths = lay_out(tmp_path, pairs, **TABLES | {"runs": {"folds": 5, "restarts": 1, "stratify": []}})
    with pytest.raises(DataError, match="5 folds need at least 5 subjects, not 3; add data, or set fewer folds"):
        told(paths)


def test_a_plan_with_tiff_is_prepared_with_its_maps_and_draws(pairs: Path, tmp_path: Path) -> None:
    found = told(lay_out(tmp_path, pairs, **TABLES | {"runs": {"folds": 3, "restarts": 1, "stratify": []}}))
    assert [split.draws for split in found.splits] == [4, 4, 4]  # two volumes, two patches of each
    for subject in found.subjects:
        names = {file.name for file in Path(subject.folder).iterdir()}
        assert {"distance-2.npy", "foreground-2.npy"} <= names and subject.lesion_voxels > 0


def test_sheets_are_the_same_for_the_same_seed_and_of_two_thicknesses_apart(tmp_path: Path) -> None:
    again = sheets.write(DATA, tmp_path / "a")
    other = sheets.write(DATA, tmp_path / "b")
    assert case(again).image.read_bytes() == case(other).image.read_bytes()
    image, label = sheets.render(DATA, 0)
    assert set(np.unique(label)) == {0, 1, 2} and image[label == 1].mean() > image[label == 0].mean() + 40
    with pytest.raises(UsageError, match=r"pitsch.*did you mean 'pitch'"):
        sheets.check(msgspec.structs.replace(DATA, options={"pitsch": 3.0}))
    with pytest.raises(UsageError, match=r"data.subjects must be 2 or more"):
        sheets.check(msgspec.structs.replace(DATA, subjects=1))


def test_a_header_is_read_without_the_voxels(pairs: Path) -> None:
    header = tiff.read_header(case(pairs).image)
    assert header.shape == SHAPE and header.dtype == "|u1" and header.offset > 0


def test_the_preflight_reads_every_pair_and_counts_what_the_cache_will_take(pairs: Path, tmp_path: Path) -> None:
    plan = plan_of(lay_out(tmp_path, pairs, **TABLES))
    report = check(plan, quick=True)
    assert report.ok and report.shapes == {"20 × 18 × 16": 3}
    voxels = 20 * 18 * 16
    assert 3 * voxels * 3 <= report.disk["needed"] <= 3 * (voxels * 3 + 10_000)  # image, label, distances: a byte each
    _with_seven(case(pairs, 2))
    looked = look_at_all(find(plan.experiment.data, pairs).cases, plan, quick=False)
    assert [bool(one.error) for one in looked] == [False, True, False] and "holds 7" in looked[1].error
    sheets_only = plan_of(lay_out(tmp_path / "made-up", None, **TABLES | {
        "data": {"source": "sheets", "subjects": 4, "shape": [16, 16, 16], "ignore": 2},
    }))
    assert check(sheets_only, quick=True).subjects == 4 and not (tmp_path / "made-up" / "logs" / "_data").exists()
