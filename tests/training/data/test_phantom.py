"""Phantoms are real NIfTI files, alike wherever they are made, and whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config.experiment import load
from engine.config.tables import Data
from engine.errors import UsageError
from engine.training.data import phantom
from engine.training.data.discover import find
from engine.training.data.volumes import read_pair
from tests.training.world import ROOT

DATA = Data(source="phantom", subjects=8, shape=(32, 32, 32), seed=7)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(DATA, tmp_path_factory.mktemp("data"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.nii.gz"))}


def test_they_are_a_tree_like_arc_and_pass_every_check(heads: Path) -> None:
    found = find(Data(source="bids"), heads)
    assert len(found.cases) == 8 and found.warnings == ()
    made = {f"{spec.id}_{spec.session}": spec for spec in phantom.specs(DATA)}
    for case in found.cases:
        pair = read_pair(case.image, case.label)
        spec = made[case.id]
        assert int(pair.mask.sum()) == spec.lesion_voxels
        assert pair.header.orientation == spec.axes
        assert sorted(pair.header.spacing_mm) == pytest.approx(sorted(spec.spacing_mm), abs=1e-3)
        assert pair.mask.sum() * pair.header.voxel_mm3 == pytest.approx(spec.lesion_mm3, rel=1e-3)
        assert case.acquisition == phantom.acquisition_name(spec)


def test_heads_differ_in_shape_spacing_orientation_acquisition_and_lesion() -> None:
    every = phantom.specs(Data(source="phantom", subjects=16, shape=(56, 64, 56)))
    assert len({spec.shape for spec in every}) > 12
    assert len({spec.spacing_mm for spec in every}) > 12
    assert {spec.axes for spec in every} == set(phantom.AXES)
    assert {spec.acquisition for spec in every} == set(phantom.ACQUISITIONS)
    sizes = sorted(spec.lesion_mm3 for spec in every)
    assert sizes[-1] / sizes[0] > 25 and sizes[0] >= 200 and sizes[-1] < 300_000


def test_with_voxels_of_a_millimetre_lesions_span_the_whole_range_of_the_study() -> None:
    sizes = sorted(s.lesion_mm3 for s in phantom.specs(Data(source="phantom", subjects=200, shape=(168, 196, 160))))
    assert 200 <= sizes[0] < 220 and 280_000 < sizes[-1] <= 300_000
    logs = np.log(sizes)
    assert abs(np.median(logs) - (logs[0] + logs[-1]) / 2) < 0.1


def test_the_quickstart_names_the_lesions_that_it_makes() -> None:
    """In its file and in the README, to the thousand mm³."""
    file = ROOT / "engine" / "experiments" / "quickstart.toml"
    every = sorted(phantom.specs(load(file).data), key=lambda spec: spec.lesion_mm3)
    voxels = [spec.lesion_voxels for spec in every]
    assert f"{min(voxels):,} to {max(voxels):,} voxels" in file.read_text()
    low, high = (round(spec.lesion_mm3, -3) for spec in (every[0], every[-1]))
    assert f"{low:,.0f} to {high:,.0f} mm³" in file.read_text()
    assert f"{low:,.0f} to {high:,.0f} mm³" in (ROOT / "README.md").read_text()


def test_every_quarter_of_the_sizes_has_both_acquisitions() -> None:
    every = sorted(phantom.specs(Data(source="phantom", subjects=16)), key=lambda spec: spec.lesion_mm3)
    for quarter in range(4):
        kinds = [spec.acquisition for spec in every[quarter * 4 : quarter * 4 + 4]]
        assert sorted(kinds) == ["spc3", "spc3", "spc3p2", "spc3p2"]


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(heads: Path, tmp_path: Path) -> None:
    again = phantom.write(DATA, tmp_path)
    assert again.name == heads.name and contents(again) == contents(heads)
    other = phantom.write(Data(source="phantom", subjects=8, shape=(32, 32, 32), seed=8), tmp_path)
    assert other.name != heads.name
    assert not set(contents(other).values()) & set(contents(heads).values())


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    small = Data(source="phantom", subjects=2, shape=(24, 24, 24))
    folder = phantom.write(small, tmp_path, lambda *one: said.append(one))
    assert said == [(0, 2, "sub-P001"), (1, 2, "sub-P002"), (2, 2, "")]
    before = folder.stat().st_mtime_ns
    assert phantom.write(small, tmp_path, lambda *one: said.append(one)) == folder
    assert len(said) == 3 and folder.stat().st_mtime_ns == before


def test_a_half_written_folder_is_never_used(tmp_path: Path) -> None:
    small = Data(source="phantom", subjects=3, shape=(24, 24, 24))

    def killed(done: int, _total: int, _name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        phantom.write(small, tmp_path, killed)
    assert list(tmp_path.iterdir()) == []
    broken = phantom.folder_of(small, tmp_path)
    broken.mkdir()
    (broken / "sub-P001").mkdir()
    folder = phantom.write(small, tmp_path)
    assert folder == broken and len(find(Data(source="bids"), folder).cases) == 3


def test_brightness_alone_does_not_find_the_lesions(heads: Path) -> None:
    """The best threshold over all heads misses a good part: there is something to learn."""
    scores = []
    pairs = [read_pair(case.image, case.label) for case in find(Data(source="bids"), heads).cases]
    for share in np.linspace(0.3, 0.95, 40):
        dice = []
        for pair in pairs:
            bright = pair.image > share * pair.image.max()
            dice.append(2 * (bright & (pair.mask > 0)).sum() / (bright.sum() + pair.mask.sum()))
        scores.append(np.mean(dice))
    assert 0.5 < max(scores) < 0.93


@pytest.mark.parametrize(("subjects", "shape"), [(0, (32, 32, 32)), (1, (32, 32, 32)), (8, (32, 16, 32))])
def test_too_few_or_too_small_heads_are_a_usage_error(subjects: int, shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="phantoms need"):
        phantom.specs(Data(source="phantom", subjects=subjects, shape=shape))
