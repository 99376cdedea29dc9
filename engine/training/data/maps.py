"""What a loss, or the choice of patches, needs of a label and of nothing else: computed once, kept beside the volume.

    CACHE/<key>/distance-I.npy    uint8: squared voxels to the surface of the foreground, MOST_SQUARED at most
    CACHE/<key>/skeleton-I.npy    uint8: 1 on the centre sheets of the foreground
    CACHE/<key>/foreground-I.npy  uint32: places of foreground voxels in C order, MOST_PLACES at most

I is the label's value that counts nowhere, `none` without one. Squared distances between voxels are whole numbers, so
one byte holds them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.experiment import Experiment
from engine.config.label_maps import ITERATIONS, needed
from engine.errors import DataError
from engine.training.data import cache
from engine.training.data.nifti import shown, sides
from engine.training.data.opened import open_volume
from engine.training.data.volumes import Mask

Map = NDArray[np.uint8]

# What lies further from a surface than this is as far as this: 15.97 voxels.
MOST_SQUARED = 255
FURTHEST = 15.96
# Enough that no epoch draws the same one twice.
MOST_PLACES = 100_000
PLACES = "foreground"


def squared_distances(truth: NDArray[np.bool_]) -> Map:
    """Squared voxels from every voxel's centre to the nearest one on the other side of the surface, Euclidean,
    MOST_SQUARED at most, or where there is no surface."""
    if not truth.any() or truth.all():
        return np.full(truth.shape, MOST_SQUARED, dtype=np.uint8)
    distance = ndimage.distance_transform_edt(~truth)
    distance += ndimage.distance_transform_edt(truth)  # 0 wherever the other is not
    found: Map = np.minimum(np.rint(distance**2), MOST_SQUARED).astype(np.uint8)
    return found


def skeleton(truth: NDArray[np.bool_], iterations: int = ITERATIONS) -> NDArray[np.bool_]:
    """What repeated erosion (6 neighbours, beyond the volume is foreground) leaves and opening (26) takes away: the
    soft skeleton of the loss, of a shape that is not soft."""
    cross, cube = ndimage.generate_binary_structure(3, 1), ndimage.generate_binary_structure(3, 3)
    found = np.zeros(truth.shape, dtype=bool)
    shape = truth
    for _ in range(iterations + 1):
        smaller = ndimage.binary_erosion(shape, cross, border_value=1)
        found |= shape & ~ndimage.binary_dilation(smaller, cube)
        shape = smaller
    return found


MAPS: Mapping[str, Callable[[NDArray[np.bool_]], NDArray[Any]]] = {"distance": squared_distances, "skeleton": skeleton}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment wants of its labels. `maps`: names in MAPS, sorted; `patch`: the least shape of a volume."""

    classes: int = 2
    ignore: int = -1
    maps: tuple[str, ...] = ()
    places: bool = False
    patch: tuple[int, int, int] = (0, 0, 0)


def wanted(experiment: Experiment) -> Wanted:
    patch = experiment.patch
    return Wanted(
        classes=experiment.model.classes, ignore=experiment.data.ignore, maps=needed(experiment.loss),
        places=not patch.whole and patch.foreground > 0, patch=patch.shape,
    )


def bytes_per_voxel(want: Wanted) -> int:
    """What maps take on disk."""
    return len(want.maps) * np.dtype(np.uint8).itemsize


def kept_bytes(shape: tuple[int, int, int], dtype: str, want: Wanted, marked: int = MOST_PLACES) -> int:
    """What the knob cache = ram keeps of a volume: its image (`dtype`) and label as they are stored, their maps, and
    where its foreground is, `marked` voxels or fewer."""
    voxels = prod(shape)
    places = min(marked, MOST_PLACES, voxels) * np.dtype(np.uint32).itemsize if want.places else 0
    return voxels * (np.dtype(dtype).itemsize + np.dtype(np.uint8).itemsize + bytes_per_voxel(want)) + places


def decoded(name: str, part: Map) -> NDArray[np.float32]:
    """A part of a map as a loss is given it: distances in voxels."""
    found = np.array(part, dtype=np.float32)
    return np.sqrt(found, out=found) if name == "distance" else found


def foreground(label: Mask, ignore: int) -> NDArray[np.bool_]:
    """What is ignored is no foreground."""
    return (label > 0) & (label != ignore) if ignore >= 0 else label > 0


def of_label(label: Mask, want: Wanted) -> dict[str, Map]:
    """The maps of a label."""
    truth = foreground(label, want.ignore) if want.maps else np.zeros(0, bool)
    return {name: MAPS[name](truth).astype(np.uint8) for name in want.maps}


def places_of(label: Mask, ignore: int) -> NDArray[np.uint32]:
    """Foreground voxels as places in C order; of many, MOST_PLACES of them, the same ones every time."""
    every = np.flatnonzero(foreground(label, ignore)).astype(np.uint32)
    if len(every) <= MOST_PLACES:
        return every
    return np.sort(np.random.default_rng(0).choice(every, MOST_PLACES, replace=False))


def ensure(folder: Path, want: Wanted) -> None:
    """Compute what is wanted and not there of the prepared case in `folder`, each file written whole or not at all."""
    missing = tuple(name for name in want.maps if not _file(folder, name, want.ignore).exists())
    places = want.places and not _file(folder, PLACES, want.ignore).exists()
    if not missing and not places:
        return
    label = np.asarray(open_volume(folder).label)
    if places:
        cache.add_array(_file(folder, PLACES, want.ignore), places_of(label, want.ignore))
    for name, found in of_label(label, msgspec.structs.replace(want, maps=missing)).items():
        cache.add_array(_file(folder, name, want.ignore), np.ascontiguousarray(found))


def opened(folder: Path, want: Wanted) -> dict[str, Map]:
    """Maps of a prepared case, memory-mapped read-only. Raises DataError if one is not there."""
    return {name: _opened(folder, name, want.ignore) for name in want.maps}


def places(folder: Path, want: Wanted) -> NDArray[np.uint32]:
    """Where foreground is in a prepared case. Raises DataError if it is not told there."""
    return _opened(folder, PLACES, want.ignore)


def check_shape(file: Path, shape: tuple[int, int, int], want: Wanted) -> None:
    """Raises DataError for a volume that no patch fits into."""
    if any(side < part for side, part in zip(shape, want.patch, strict=True)):
        raise DataError(
            f"{shown(file)}: {sides(shape)} voxels are less than the patch of {sides(want.patch)}; set a smaller "
            "patch.shape, or leave the volume out"
        )


def _file(folder: Path, name: str, ignore: int) -> Path:
    return folder / f"{name}-{ignore if ignore >= 0 else 'none'}.npy"


def _opened(folder: Path, name: str, ignore: int) -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.load(_file(folder, name, ignore), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{shown(folder)}: its prepared {name} cannot be read ({error}); prepare again") from None
    return found
