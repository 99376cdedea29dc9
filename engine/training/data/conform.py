"""What a volume becomes before training: one orientation, one spacing, one shape, intensities from 0 to 1.

The recipe of the MeshNet stroke study (arXiv 2503.05531 §2, after FreeSurfer's mri_convert --conform): canonical axes,
isotropic resampling (linear for images, nearest for labels), centre crop or pad, min-max.
"""

from __future__ import annotations

from itertools import permutations, product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.tables import Prepare
from engine.errors import DataError, UsageError
from engine.training.data.nifti import Affine
from engine.training.data.volumes import Floats, Mask

ORIENTATIONS = tuple(
    "".join(axes[i] for axes, i in zip(order, ends, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for ends in product((0, 1), repeat=3)
)
# A volume may grow this much by resampling: 4 GiB of float32. More is a wrong spacing, not a head.
MAX_VOXELS = 1 << 30
MAX_MEDIAN = 15


class Conformed(NamedTuple):
    """`image` float32 and `label` uint8 {0, 1}, C order, of the prepared shape. `kept`: share of the lesion inside."""

    image: Floats
    label: Mask
    kept: float


def check_prepare(prepare: Prepare) -> None:
    """Raises UsageError for an orientation that is none, or a median that has no middle."""
    if prepare.median and not (prepare.median % 2 and 3 <= prepare.median <= MAX_MEDIAN):
        raise UsageError(f"prepare.median = {prepare.median}: 0 for none, or an odd side of 3 to {MAX_MEDIAN} voxels")
    if prepare.orientation not in ORIENTATIONS:
        raise UsageError(
            f"prepare.orientation = {prepare.orientation!r}: one letter of L/R, one of P/A, one of I/S, as in RAS"
        )


def conform(image: Floats, mask: Mask, affine: Affine, prepare: Prepare) -> Conformed:
    """`image` and `mask`, both (x, y, z) as stored with `affine`, as `prepare` wants them.

    Raises DataError if nothing of the lesion is left, or if resampling would make a volume of absurd size.
    """
    turned_image, turned_mask, spacing = reorient(image, mask, affine, prepare.orientation)
    if prepare.median:
        turned_image = ndimage.median_filter(turned_image, size=prepare.median)
    shape = resampled_shape(turned_image.shape, spacing, prepare.spacing_mm)
    resampled = _zoom(turned_image, shape, order=1)
    marks = _zoom(turned_mask, shape, order=0)
    whole = int(np.count_nonzero(marks))
    label = fit(marks, prepare.shape, 0)
    inside = int(np.count_nonzero(label))
    if not inside:
        why = "lies outside the prepared shape" if whole else f"falls between voxels of {prepare.spacing_mm:g} mm"
        right = "a larger prepare.shape" if whole else "a finer prepare.spacing_mm"
        raise DataError(f"the lesion {why}: nothing of it would be left; set {right}")
    picture = fit(resampled, prepare.shape, float(resampled.min()))
    return Conformed(
        image=np.ascontiguousarray(min_max(picture) if prepare.intensity == "minmax" else picture, dtype=np.float32),
        label=np.ascontiguousarray(label, dtype=np.uint8),
        kept=inside / whole,
    )


def reorient(
    image: Floats, mask: Mask, affine: Affine, axes: str
) -> tuple[Floats, Mask, tuple[float, float, float]]:
    """Both turned to `axes` (RAS: the first axis grows to the right), and the spacing (mm) along them."""
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(axes))
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    turned = np.empty(3)
    turned[turn[:, 0].astype(int)] = spacing
    return (
        orientations.apply_orientation(image, turn),
        orientations.apply_orientation(mask, turn),
        (float(turned[0]), float(turned[1]), float(turned[2])),
    )


def resampled_shape(shape: tuple[int, ...], spacing_mm: tuple[float, ...], target_mm: float) -> tuple[int, ...]:
    """Voxels after resampling, as scipy.ndimage.zoom rounds them; 1 at least. Raises DataError over MAX_VOXELS."""
    sides = tuple(max(1, round(n * s / target_mm)) for n, s in zip(shape, spacing_mm, strict=True))
    if prod(sides) > MAX_VOXELS:
        raise DataError(
            f"at {target_mm:g} mm it would be {' × '.join(map(str, sides))} voxels; is its spacing right, "
            f"or prepare.spacing_mm too fine?"
        )
    return sides


def fit(volume: NDArray[Any], shape: tuple[int, int, int], outside: float) -> NDArray[Any]:
    """Cropped or padded with `outside` to `shape`, centre on centre (one voxel more at the far end where it is odd)."""
    fitted = np.full(shape, outside, dtype=volume.dtype)
    source, target = [], []
    for have, want in zip(volume.shape, shape, strict=True):
        both, cut, pad = min(have, want), max(0, have - want) // 2, max(0, want - have) // 2
        source.append(slice(cut, cut + both))
        target.append(slice(pad, pad + both))
    fitted[tuple(target)] = volume[tuple(source)]
    return fitted


def min_max(volume: Floats) -> Floats:
    """Linearly to 0–1. Raises DataError where all voxels are alike."""
    low, high = float(volume.min()), float(volume.max())
    # Halves first: the difference of two large floats may overflow where neither of them does.
    half = np.float32(high * 0.5 - low * 0.5)
    if not half > 0:  # alike, or apart by less than a float can be halved
        raise DataError(f"every voxel inside the prepared shape is {low:g}: no picture; set a larger prepare.shape")
    scaled: Floats = (volume * 0.5 - low * 0.5) / half
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _zoom(volume: NDArray[Any], shape: tuple[int, ...], order: int) -> NDArray[Any]:
    """scipy.ndimage.zoom to exactly `shape`; of the same shape it is the identity."""
    if tuple(volume.shape) == shape:
        return volume
    factors = [want / have for want, have in zip(shape, volume.shape, strict=True)]
    zoomed: NDArray[Any] = ndimage.zoom(volume, factors, order=order)
    return zoomed
