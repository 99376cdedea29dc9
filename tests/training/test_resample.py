"""Bent volumes are what scipy makes of them, to a hair; samples are nobody else's; batches are whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.prepared import Subject
from engine.config.profile import Profile, defaults
from engine.config.tables import Patch
from engine.training.augment import chain, warp
from engine.training.augment.resample import AT_ONCE, Field, Matrix, Places
from engine.training.loader import Feed
from engine.training.samples import Volumes, collate
from tests.training import world

SHAPE = (18, 25, 31)


def scipys(volume: NDArray[np.float32], matrix: Matrix | None, field: Field | None, order: int) -> NDArray[np.float32]:
    """The same in float64."""
    turn = np.eye(3) if matrix is None else matrix
    centre = (np.array(volume.shape) - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij")).astype(np.float64)
    places = np.tensordot(turn, grid, 1) + (centre - turn @ centre)[:, None, None, None]
    if field is not None:
        places += field
    found: NDArray[np.float32] = ndimage.map_coordinates(volume, places, order=order, mode="mirror", prefilter=False)
    return found


def turned(degrees: float, larger: float = 1.0) -> Matrix:
    rng = np.random.default_rng(1)
    matrix, _ = warp._rotation(degrees, SHAPE, rng)
    assert matrix is not None
    return matrix / larger


def bent(voxels: float) -> Field:
    field: Field = np.random.default_rng(2).normal(0, voxels, (3, *SHAPE)).astype(np.float32)
    return field


@pytest.mark.parametrize(
    ("matrix", "field"),
    [
        (turned(20), None),
        (turned(20, 1.2), None),
        (turned(180, 0.2), None),  # beyond the volume several times over
        (None, bent(2.0)),
        (turned(10), bent(60.0)),
        (np.eye(3), None),
    ],
    ids=["turned", "larger", "much smaller", "bent", "bent far out", "as it was"],
)
def test_a_bent_volume_is_what_scipy_makes_of_it(matrix: Matrix | None, field: Field | None) -> None:
    volume = np.random.default_rng(3).random(SHAPE, dtype=np.float32)
    moved = Places(SHAPE, matrix, field).moved([volume], [volume])
    # Neighbours differ by up to 1, so an error of a place in voxels is one of the value.
    assert np.abs(moved.linear[0] - scipys(volume, matrix, field, 1)).max() < 1e-3
    assert np.abs(moved.linear[0] - scipys(volume, matrix, field, 1)).mean() < 1e-4
    assert (moved.nearest[0] == scipys(volume, matrix, field, 0)).mean() > 0.9995


def test_what_is_moved_keeps_its_type_and_may_lie_anywhere() -> None:
    """A view of a mapped volume, mirrored, read-only; and sides of one voxel."""
    label = np.random.default_rng(4).integers(0, 3, (40, 50, 60)).astype(np.uint8)
    label.setflags(write=False)
    view = np.flip(label[3:21, 5:30, 7:38], (0, 2))
    image = view.astype(np.float32)
    image.setflags(write=False)
    moved = Places(SHAPE, turned(15), None).moved([image], [view])
    copies = Places(SHAPE, turned(15), None).moved([np.array(image)], [np.array(view)])
    assert moved.nearest[0].dtype == np.uint8 and (moved.nearest[0] == copies.nearest[0]).all()
    assert moved.linear[0].dtype == np.float32 and (moved.linear[0] == copies.linear[0]).all()
    thin = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    flat = Places((1, 3, 4), np.diag([1.0, 1.0, -1.0]), None).moved([thin], [thin])
    assert np.abs(flat.linear[0] - thin[:, :, ::-1]).max() < 1e-4 and (flat.nearest[0] == thin[:, :, ::-1]).all()


def test_large_volumes_are_worked_on_piece_by_piece() -> None:
    """More voxels than are worked on at a time, in rows that do not come out even; rows longer than that too."""
    for shape in ((23, 41, 37), (2, 3, AT_ONCE + 5)):
        volume = np.random.default_rng(6).random(shape, dtype=np.float32)
        field: Field = np.random.default_rng(7).normal(0, 1, (3, *shape)).astype(np.float32)
        moved = Places(shape, None, field).moved([volume, 2 * volume], [volume])
        assert np.abs(moved.linear[0] - scipys(volume, None, field, 1)).max() < 1e-2
        assert np.abs(moved.linear[1] - 2 * moved.linear[0]).max() < 1e-5
        assert (moved.nearest[0] == scipys(volume, None, field, 0)).mean() > 0.999


def test_voxels_between_two_go_to_the_one_further_on() -> None:
    volume = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    field = np.zeros((3, 1, 1, 8), np.float32)
    field[2] = 0.5
    moved = Places((1, 1, 8), None, field).moved([], [volume], mark=True)
    assert moved.nearest[0][0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 7]
    assert moved.outside is not None and not moved.outside.any()  # half a voxel beyond its middle is still the voxel


def test_an_elastic_bend_is_the_cubic_spline_through_its_knots() -> None:
    """One axis after the other, and scipy's in three dimensions at once."""
    shape, spacing, magnitude = (40, 56, 72), 12.0, 2.0
    _, field = warp._elastic(spacing, magnitude, shape, np.random.default_rng(5))
    knots = [max(4, round(n / spacing) + 1) for n in shape]
    coarse = np.random.default_rng(5).normal(0.0, magnitude, (3, *knots)).astype(np.float32)
    factors = [n / k for n, k in zip(shape, knots, strict=True)]
    whole = np.stack([ndimage.zoom(one, factors, order=3, mode="nearest", grid_mode=True) for one in coarse])
    assert field is not None and field.shape == (3, *shape) and field.dtype == np.float32
    assert np.abs(field - whole).max() < 1e-4 < np.abs(whole).max()


@pytest.fixture
def subjects(tmp_path: Path) -> tuple[Subject, ...]:
    return world.prepared_of(world.build(tmp_path, subjects=3, shape=(12, 14, 16))).subjects


@pytest.mark.parametrize("cache", ["disk", "ram"])
@pytest.mark.parametrize("patch", [Patch(), Patch(shape=(8, 8, 8), foreground=0.5)], ids=["whole", "patch"])
@pytest.mark.parametrize("names", [(), ("flip",), ("rotate", "flip", "noise")], ids=["plain", "flips", "more"])
def test_a_sample_is_nobody_elses(subjects: tuple[Subject, ...], cache: str, patch: Patch, names: tuple[str, ...]) -> None:
    """What a step does to a sample is not in the next one."""
    transform = chain.build({name: {} for name in names})
    volumes = Volumes(subjects, 3, transform, cache, patch=patch)
    first = collate([volumes[1, 0]])
    image, label = first.image.clone(), first.label.clone()
    first.image.fill_(-7.0)
    first.label.fill_(9)
    again = collate([volumes[1, 0]])
    assert torch.equal(again.image, image) and torch.equal(again.label, label)
    assert again.image.is_contiguous() and again.image.dtype == torch.float32 and again.label.dtype == torch.uint8


def test_an_augmentation_that_writes_into_the_volume_is_told(subjects: tuple[Subject, ...]) -> None:
    class Careless:
        def __call__(self, image: NDArray[np.float32], label: NDArray[np.uint8], rng: object) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
            image += 1
            return image, label

    with pytest.raises(ValueError, match="read-only"):
        Volumes(subjects, 3, chain.Chain([Careless()]), "ram")[1, 0]


def test_batches_are_the_same_whether_workers_put_them_together_or_the_trainer(subjects: tuple[Subject, ...]) -> None:
    volumes = Volumes(subjects, 3, chain.build({"flip": {}, "elastic": {"p": 1.0}}), patch=Patch(shape=(8, 8, 8)))
    batches = []
    for workers in (0, 2):
        feed = Feed(volumes, Profile(name="x", knobs=defaults() | {"num_workers": workers, "batch_size": 2}), 3, "cpu")
        batches.append(list(feed.epoch(1)))
        feed.close()
    for here, there in zip(*batches, strict=True):
        assert here.indices == there.indices
        assert torch.equal(here.image, there.image) and torch.equal(here.label, there.label)
    assert collate([volumes[1, 0]]).image.shape == (1, 1, 8, 8, 8)
