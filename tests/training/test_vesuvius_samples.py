"""Patches of volumes: where they are cut, what is done to them, and that it does not matter where they come from."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config.prepared import Prepared, Subject
from engine.config.tables import Data, Patch, Prepare
from engine.errors import UsageError
from engine.training.augment import chain
from engine.training.data import sheets
from engine.training.data.cases import prepare_case
from engine.training.data.discover import find
from engine.training.data.maps import Wanted
from engine.training.samples import Volumes, collate

PREPARE = Prepare(shape=(0, 0, 0), median=3)
WANT = Wanted(classes=1, ignore=2, maps=("distance", "skeleton"), places=True, patch=(8, 10, 12))
PATCH = Patch(shape=(8, 10, 12), per_volume=4, foreground=1.0)
WARPS = ("rotate", "scale", "anisotropy", "elastic", "slice_jitter")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, ...]:
    """Volumes of two shapes, prepared."""
    under = tmp_path_factory.mktemp("sheets")
    made: list[Subject] = []
    for shape in ((20, 24, 28), (16, 16, 16)):
        folder = sheets.write(Data(source="sheets", subjects=2, shape=shape, ignore=2), under)
        for case in find(Data(source="tiff"), folder).cases:
            record = prepare_case(case, under, PREPARE, WANT).record
            made.append(Subject(
                id=case.id, folder=str(under / record.key), image_file=str(case.image), label_file=str(case.label),
            ))
    assert isinstance(Prepared(subjects=tuple(made), splits=(), data_hash=""), Prepared)
    return tuple(made)


def volumes(subjects: tuple[Subject, ...], cache: str = "disk", patch: Patch = PATCH, names: tuple[str, ...] = ()) -> Volumes:
    transform = chain.build({name: {"p": 1.0} for name in names})
    return Volumes(subjects, 7, transform, cache, PREPARE, patch, WANT)


def test_patches_of_volumes_of_any_shape_make_one_batch(subjects: tuple[Subject, ...]) -> None:
    found = volumes(subjects, names=WARPS)
    batch = collate([found[1, draw] for draw in range(16)])
    assert batch.image.shape == (16, 1, 8, 10, 12) and batch.label.shape == (16, 8, 10, 12)
    assert batch.image.dtype == torch.float32 and batch.label.dtype == torch.uint8
    assert sorted(batch.maps) == ["distance", "skeleton"]
    assert all(one.shape == (16, 8, 10, 12) and one.dtype == torch.float16 for one in batch.maps.values())
    assert found.shape == (8, 10, 12) and found.voxels == 960 and len(found) == 4


def test_foreground_patches_have_foreground_in_their_middle_or_at_the_border(subjects: tuple[Subject, ...]) -> None:
    found = volumes(subjects)
    assert all((found[epoch, draw].label == 1).any() for epoch in range(3) for draw in range(16))
    anywhere = volumes(subjects, patch=Patch(shape=(8, 10, 12), foreground=0.0))
    half = volumes(subjects, patch=Patch(shape=(4, 4, 4), foreground=0.5))
    none = volumes(subjects, patch=Patch(shape=(4, 4, 4), foreground=0.0))

    def middle(of: Volumes, count: int = 200) -> float:
        return sum(bool(of[1, draw].label[2, 2, 2] == 1) for draw in range(count)) / count

    assert anywhere[1, 0].label.shape == (8, 10, 12)
    assert middle(half) > middle(none) + 0.2


def test_samples_are_the_same_whether_mapped_copied_or_prepared_anew(subjects: tuple[Subject, ...]) -> None:
    kinds = [volumes(subjects, cache, names=("rotate", "noise")) for cache in ("disk", "ram", "none")]
    for draw in range(6):
        first, *others = (one[2, draw] for one in kinds)
        for other in others:
            assert np.array_equal(first.image, other.image) and np.array_equal(first.label, other.label)
            assert all(np.array_equal(first.maps[name], other.maps[name]) for name in first.maps)


def test_a_sample_depends_on_seed_epoch_and_draw_alone(subjects: tuple[Subject, ...]) -> None:
    one = volumes(subjects, names=("rotate", "elastic", "cutout"))
    first = one[3, 5]
    spawned = pickle.loads(pickle.dumps(one))
    assert np.array_equal(first.image, spawned[3, 5].image) and not np.array_equal(first.image, one[4, 5].image)


@pytest.mark.parametrize("name", [*WARPS, "flip", "gamma", "contrast", "noise", "blur", "cutout"])
def test_an_augmentation_keeps_shapes_and_classes(subjects: tuple[Subject, ...], name: str) -> None:
    step = chain.AUGMENTS[name]({} if name == "flip" else {"p": 1.0})
    item = volumes(subjects)[1, 0]
    image, label = step(item.image, item.label, np.random.default_rng(2))
    assert image.shape == label.shape == (8, 10, 12) and image.dtype == np.float32 and label.dtype == np.uint8
    assert set(np.unique(label)) <= {0, 1, 2} and np.isfinite(image).all()
    assert not np.array_equal(image, item.image)
    assert name in (*WARPS, "flip") or np.array_equal(label, item.label)


def test_image_label_and_maps_move_together() -> None:
    grid = np.mgrid[:16, :16, :16].astype(np.float32)
    ball = ((grid - 7.5) ** 2).sum(0) < 25
    made = chain.build({"flip": {"d": 1.0, "h": 0.0, "w": 1.0}, "rotate": {"p": 1.0, "degrees": 30}})
    assert made is not None
    label = ball.astype(np.uint8)
    label[8:] = 0  # half a ball: a flip shows
    image, turned, maps = made.with_maps(
        label.astype(np.float32), label, {"skeleton": label.astype(np.float32)}, np.random.default_rng(3)
    )
    assert (maps["skeleton"] == turned).all() and not np.array_equal(turned, label)
    assert ((image > 0.5) == (turned > 0)).mean() > 0.97 and abs(int(turned.sum()) - int(label.sum())) < 0.1 * label.sum()


@pytest.mark.parametrize("name", ["scale", "elastic"])
def test_what_comes_in_from_beyond_a_patch_counts_nowhere(name: str) -> None:
    """Half as large, or bent by voxels: much of the new patch lies outside of the old one, which is all foreground."""
    drawn = {"scale": {"p": 1.0, "low": 0.5, "high": 0.5}, "elastic": {"p": 1.0, "spacing": 8.0, "magnitude": 4.0}}
    image, label = np.full((16, 16, 16), 0.5, np.float32), np.ones((16, 16, 16), np.uint8)
    made = [chain.build({name: drawn[name]}, ignore) for ignore in (-1, 2)]
    mirrored, ignored = (one(image, label, np.random.default_rng(6)) for one in made if one is not None)
    assert (mirrored[1] == 1).all()
    assert set(np.unique(ignored[1])) == {1, 2}
    assert np.allclose(ignored[0], 0.5) and np.allclose(mirrored[0], 0.5), "the image goes on"
    if name == "scale":
        inside = np.zeros((16, 16, 16), bool)
        inside[4:12, 4:12, 4:12] = True
        assert ((ignored[1] == 1) == inside).all()


def test_nothing_at_the_edge_is_lost_where_nothing_comes_in() -> None:
    made = chain.build({"rotate": {"p": 1.0, "degrees": 1e-9}, "anisotropy": {"p": 1.0, "low": 1.0, "high": 1.0}}, 2)
    assert made is not None
    label = np.ones((9, 10, 11), np.uint8)
    assert (made(label.astype(np.float32), label, np.random.default_rng(7))[1] == 1).all()


def test_distances_grow_with_the_volume() -> None:
    made = chain.build({"scale": {"p": 1.0, "low": 2.0, "high": 2.0}})
    assert made is not None
    plane = np.abs(np.arange(21, dtype=np.float32) - 10)[:, None, None] * np.ones((1, 21, 21), np.float32)
    _, _, maps = made.with_maps(plane, np.zeros((21, 21, 21), np.uint8), {"distance": plane}, np.random.default_rng(4))
    assert maps["distance"][:, 3, 3] == pytest.approx(plane[:, 3, 3], abs=1e-4)  # half as near, twice as large


def test_a_flip_is_exact_and_a_misspelt_option_is_told() -> None:
    made = chain.build({"flip": {"d": 0.0, "h": 1.0, "w": 0.0}})
    assert made is not None
    image = np.random.default_rng(5).random((3, 4, 5), dtype=np.float32)
    assert (made(image, np.zeros((3, 4, 5), np.uint8), np.random.default_rng(0))[0] == image[:, ::-1]).all()
    with pytest.raises(UsageError, match=r"degreees.*did you mean 'degrees'"):
        chain.build({"rotate": {"degreees": 3.0}})
    with pytest.raises(UsageError, match=r"rotat.*did you mean 'rotate'"):
        chain.build({"rotat": {}})


def test_only_what_a_patch_needs_is_read(subjects: tuple[Subject, ...], tmp_path: Path) -> None:
    batch = collate([volumes(subjects)[1, 1]])
    # Image, label and two maps, in the same memory.
    assert batch.image.untyped_storage().nbytes() == 960 * (4 + 1 + 2 + 2)
