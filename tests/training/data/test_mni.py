"""The real-MRI fixture is small, says where it is from, and its two halves share no voxel."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from engine.config.catalog import experiment_named
from engine.config.tables import Data
from engine.training.data.conform import conform
from engine.training.data.discover import find
from engine.training.data.nifti import SUFFIXES
from engine.training.data.volumes import read_header, read_pair
from engine.training.folds import Member, make_folds
from tests.fixtures import mni


def test_the_fixture_is_small_and_bears_its_notice() -> None:
    files = [p for p in mni.HERE.iterdir() if p.name.endswith(SUFFIXES)]
    assert {mni.T1, mni.WHITE_MATTER} == set(files)
    assert sum(p.stat().st_size for p in files) < 500_000
    notice = (mni.HERE / "NOTICE").read_text()
    for words in ("nilearn-0.14.1", "McConnell Brain Imaging Centre", '"unknown"', *(p.name for p in files)):
        assert words in notice
    assert read_header(mni.T1).shape == read_header(mni.WHITE_MATTER).shape == (75, 93, 79)
    assert read_header(mni.T1).spacing_mm == (2.0, 2.0, 2.0)


def test_what_is_held_out_shares_no_voxel_with_what_is_learnt_from(tmp_path: Path) -> None:
    mni.write_mni_subjects(tmp_path / "data", crops=20)
    experiment = experiment_named("mni-white-matter")
    found = find(Data(source="pairs"), tmp_path / "data")
    assert len(found.cases) == 40 and {case.group for case in found.cases} == {"sub-back", "sub-front"}
    members = [Member(id=case.id, lesion_mm3=1.0, group=case.group) for case in found.cases]
    folds = make_folds(members, experiment.runs.folds, experiment.runs.split_seed, experiment.runs.stratify)
    assert folds.warnings == ()
    taken: dict[bool, set[tuple[int, int, int]]] = defaultdict(set)
    held_out = set(folds.splits[0].test)
    for i, case in enumerate(found.cases):
        header = read_header(case.image)
        corner = np.rint((header.matrix[:3, 3] - read_header(mni.T1).matrix[:3, 3]) / 2.0).astype(int)
        taken[i in held_out] |= {
            (int(x), int(y), int(z))
            for x, y, z in np.argwhere(np.ones(header.shape, dtype=bool)) + corner
        }
    assert taken[True] and taken[False] and not taken[True] & taken[False]


def test_preparation_leaves_the_crops_as_they_are(tmp_path: Path) -> None:
    mni.write_mni_subjects(tmp_path / "data", crops=1)
    prepare = experiment_named("mni-white-matter").prepare
    for case in find(Data(source="pairs"), tmp_path / "data").cases:
        pair = read_pair(case.image, case.label)
        done = conform(pair.image, pair.mask, pair.header.matrix, prepare)
        assert done.kept == 1.0 and np.array_equal(done.label, pair.mask)
        assert np.allclose(done.image, pair.image / pair.image.max(), atol=1 / 128)
