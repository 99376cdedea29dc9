"""How well surfaces agree, beyond counts of voxels: figures of whole volumes that an experiment asks for by name.

As the surface detection of the Vesuvius Challenge scores them: Surface Dice at 2 voxels, the variation of information,
and, where a further package is installed, its topological score (engine.training.topo_score). Voxels that count nowhere
are background in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import UsageError
from engine.training import topo_score

TOLERANCE_VOXELS = 2.0
# 1 / (1 + 0.3 · VOI): a score that grows as two segmentations agree.
VOI_SCALE = 0.3

Solid = NDArray[np.bool_]


def surface_dice(predicted: Solid, truth: Solid, tolerance: float = TOLERANCE_VOXELS) -> float:
    """The share of both surfaces that lies within `tolerance` voxels of the other one (Nikolov et al. 2021, voxels at
    the border as surface). Where one has no surface, nothing in it or nothing but it, 1 if both are alike,
    else 0."""
    mine, true = _border(predicted), _border(truth)
    if not mine.any() or not true.any():
        return float(np.array_equal(predicted, truth))
    near_true = ndimage.distance_transform_edt(~true)[mine] <= tolerance
    near_mine = ndimage.distance_transform_edt(~mine)[true] <= tolerance
    return float((near_true.sum() + near_mine.sum()) / (near_true.size + near_mine.size))


def voi_score(predicted: Solid, truth: Solid) -> float:
    """1 / (1 + 0.3 · VOI), 1 where both agree: VOI = H(truth | predicted) + H(predicted | truth) in bits, of connected
    pieces (26 neighbours) with the background as one more."""
    from skimage.metrics import variation_of_information

    around = ndimage.generate_binary_structure(3, 3)
    pieces = [ndimage.label(one, around)[0] for one in (truth, predicted)]
    return float(1.0 / (1.0 + VOI_SCALE * float(np.sum(variation_of_information(*pieces)))))


FIGURES: Mapping[str, Callable[[Solid, Solid], float]] = {
    "surface_dice_2": surface_dice, "voi_score": voi_score, "topo_score": topo_score.topo_score,
}


def check(figures: Sequence[str]) -> None:
    """Raises UsageError for one that cannot be computed here: before a training, not after it."""
    if "topo_score" in figures and not topo_score.installed():
        raise UsageError(topo_score.MISSING)


def _border(solid: Solid) -> Solid:
    """Voxels with a neighbour (of six) outside; beyond the volume is more of the same."""
    found: Solid = solid & ~ndimage.binary_erosion(solid, border_value=1)
    return found
