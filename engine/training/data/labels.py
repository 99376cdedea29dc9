"""What the values of a NIfTI label mean: 0 is background, whatever is above it foreground; nothing else is right.

A mask may be stored with any slope, so its one value need not be 1. Several values that are no whole numbers are
probabilities or a resampled mask, of which "above 0" would take nearly all for foreground.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.training.data.nifti import shown

# So many of a label's values are kept and named.
KEPT = 5
# How far a whole number may be off for its slope was rounded to float32.
WHOLE = 1e-3


class Label(NamedTuple):
    """`mask`: uint8, 1 is foreground; `values`: the least of those it was stored as, scaled, KEPT + 1 at most."""

    mask: NDArray[np.uint8]
    values: tuple[float, ...]


def foreground(path: Path, voxels: NDArray[Any], slope: float, inter: float) -> Label:
    """1 where the scaled label is above 0. A threshold of one half would erase masks stored with a small slope.

    Raises DataError for a label without foreground or background, with values below 0, or with several that are no
    whole numbers.
    """
    found = voxels if (slope, inter) == (1.0, 0.0) else voxels * float(slope) + float(inter)
    below, mask = found < 0, found > 0
    if below.any():
        raise DataError(
            f"{shown(path)}: the label holds {_some(np.unique(found[below]))} ({int(below.sum()):,} voxels); right are "
            "0 for background and numbers above 0 for foreground: write 0 there"
        )
    marked = found[mask]
    if not marked.size:
        raise DataError(
            f"{shown(path)}: the mask is empty, no voxel is above 0; remove the subject, or pass a label of it"
        )
    values = np.unique(marked) if marked.min() != marked.max() else marked[:1]
    whole = np.rint(values)
    odd = values[(np.abs(values - whole) > WHOLE) | (whole == 0)]
    if len(values) > 1 and odd.size:
        raise DataError(
            f"{shown(path)}: the label holds {_some(odd)}, no whole numbers: probabilities, or a mask that was "
            f"interpolated? All above 0 ({mask.mean():.0%} of the volume) would be foreground: write 0 and 1, cut at "
            "0.5, say"
        )
    if mask.all():
        raise DataError(
            f"{shown(path)}: the mask has no background, every voxel is above 0; pass a label that is 0 where nothing "
            "is marked"
        )
    # Twice the same where 0.9999 and 1 are both 1.
    kept = np.unique(whole) if len(values) > 1 else values
    return Label(mask.astype(np.uint8), tuple(float(value) for value in kept[: KEPT + 1]))


def several(labels: Sequence[tuple[str, Sequence[float]]]) -> tuple[str, ...]:
    """That labels hold more than one value, all of which are foreground: one sentence for all of them. `labels`: the
    name of each case, and the values of its label."""
    odd = [(name, values) for name, values in labels if len(values) > 1]
    if not odd:
        return ()
    held = _some(np.unique(np.concatenate([np.asarray(values) for _, values in odd])))
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    return (
        f"the label of {odd[0][0]}{more} holds {held}: all count as foreground; where only some should, write 0 for "
        "the others",
    )


def _some(values: NDArray[Any]) -> str:
    """`1, 2, 3`: the least ones; of more than KEPT, that there are more."""
    return ", ".join(f"{value:g}" for value in values[:KEPT]) + (", …" if len(values) > KEPT else "")
