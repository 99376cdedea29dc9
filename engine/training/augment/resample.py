"""Where every voxel of a changed volume comes from, and what is there: between eight voxels, or the nearest one.

A coordinate of the changed volume is mapped to one of the volume as it was, about the volume's centre: by a matrix,
then by a field of shifts (voxels). Beyond the volume it is mirrored about the outermost voxels (`mirror` of
scipy.ndimage). Coordinates are float32: with 256 voxels a side within 1e-4 of a voxel of scipy.ndimage's, which are
float64 and take several times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Matrix: TypeAlias = NDArray[np.float64]
Field: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int]
# Voxels worked on at a time: all that takes stays in a core's own cache. Eight bytes for each are less than what a
# worker gives back to the kernel at once (loader.give_back_memory), which costs more than the arithmetic.
AT_ONCE = 16_000


class Moved(NamedTuple):
    """`outside` (D, H, W): what has come from beyond the volume; None where nobody asked."""

    linear: list[Floats]
    nearest: list[NDArray[Any]]
    outside: NDArray[np.bool_] | None


class Places:
    """Of the voxels of a volume of `shape` that is bent by a 3×3 `matrix` and a `field` (3, D, H, W), either None for
    nothing."""

    def __init__(self, shape: Shape, matrix: Matrix | None, field: Field | None) -> None:
        self._shape = shape
        self._turn = np.eye(3) if matrix is None else matrix
        self._field = None if field is None else field.reshape(3, -1, shape[2])

    def moved(
        self, linear: Sequence[Floats] = (), nearest: Sequence[NDArray[Any]] = (), mark: bool = False
    ) -> Moved:
        """Volumes of the shape, moved: `linear` between eight voxels (float32), `nearest` from the nearest one, of two
        as near the one further on, each of the type it has. `mark`: say what has come from beyond."""
        smooth = [self._corners(volume) for volume in linear]
        flat = [np.ascontiguousarray(volume).reshape(-1) for volume in nearest]
        count = int(np.prod(self._shape))
        found = Moved(
            [np.empty(count, np.float32) for _ in linear], [np.empty(count, one.dtype) for one in flat],
            np.zeros(count, np.bool_) if mark else None,
        )
        for part, at in self._parts():
            if found.outside is not None:
                found.outside[part] = self._beyond(at)
            for along, side in zip(at, self._shape, strict=True):
                _mirror(along, side - 1)
            if smooth:
                index, share = self._cells(at)
                for corners, into in zip(smooth, found.linear, strict=True):
                    into[part] = _weighed(corners, index, share)
            if flat:
                index = self._index(at)
                for one, whole in zip(flat, found.nearest, strict=True):
                    whole[part] = np.take(one, index, mode="clip")
        return Moved(
            [one.reshape(self._shape) for one in found.linear], [one.reshape(self._shape) for one in found.nearest],
            None if found.outside is None else found.outside.reshape(self._shape),
        )

    def _parts(self) -> Iterator[tuple[slice, Floats]]:
        """All voxels in C order, some rows at a time, and where they come from: (3, N)."""
        d, h, w = self._shape
        centre = (np.array(self._shape, dtype=np.float64) - 1) / 2
        offset = centre - self._turn @ centre
        columns = (self._turn[:, 2:] * np.arange(w)).astype(np.float32)
        several = max(1, AT_ONCE // w)
        for first in range(0, d * h, several):
            rows = np.arange(first, min(first + several, d * h))
            ends = self._turn[:, :2] @ np.stack(np.divmod(rows, h)) + offset[:, None]
            at = ends.astype(np.float32)[:, :, None] + columns[:, None, :]
            if self._field is not None:
                at += self._field[:, first : first + several]
            yield slice(first * w, (first + len(rows)) * w), at.reshape(3, -1)

    def _beyond(self, at: Floats) -> NDArray[np.bool_]:
        """A voxel reaches half of one beyond its middle."""
        found = np.zeros(at.shape[1], dtype=np.bool_)
        for along, side in zip(at, self._shape, strict=True):
            found |= np.abs(along - np.float32((side - 1) / 2)) > np.float32(side / 2)
        return found

    def _corners(self, volume: Floats) -> list[Floats]:
        """One index serves all eight neighbours: each is looked up in a view that begins so much further on."""
        flat = np.ascontiguousarray(volume, dtype=np.float32).reshape(-1)
        _, h, w = self._shape
        steps = [step if side > 1 else 0 for step, side in zip((h * w, w, 1), self._shape, strict=True)]
        return [flat[i * steps[0] + j * steps[1] + k * steps[2] :] for i, j, k in product((0, 1), repeat=3)]

    def _cells(self, at: Floats) -> tuple[NDArray[np.intp], list[Floats]]:
        """The lowest neighbours in C order, and how far beyond them the places lie along each axis, 0 to 1."""
        index, shares = np.zeros(at.shape[1], dtype=np.int32), []
        for along, side in zip(at, self._shape, strict=True):
            low = along.astype(np.int32)
            np.minimum(low, max(0, side - 2), out=low)
            shares.append(np.subtract(along, low, dtype=np.float32))
            index *= side
            index += low
        return index.astype(np.intp), shares

    def _index(self, at: Floats) -> NDArray[np.intp]:
        index = np.zeros(at.shape[1], dtype=np.int32)
        for along, side in zip(at, self._shape, strict=True):
            index *= side
            index += (along + np.float32(0.5)).astype(np.int32)
        return index.astype(np.intp)


def _weighed(corners: Sequence[Floats], index: NDArray[np.intp], shares: Sequence[Floats]) -> Floats:
    values = [np.take(corner, index, mode="clip") for corner in corners]  # none is clipped: `clip` looks least
    for share in reversed(shares):
        for low, high in zip(values[::2], values[1::2], strict=True):
            high -= low
            high *= share
            high += low
        values = values[1::2]
    return values[0]


def _mirror(places: Floats, last: int) -> None:
    """In place: what lies beyond voxel 0 or voxel `last` is mirrored there, as often as it takes."""
    if last == 0:
        places[...] = 0.0
        return
    while True:
        np.abs(places, out=places)
        if places.max() <= last:
            return
        np.subtract(last, places, out=places)
        np.abs(places, out=places)
        np.subtract(last, places, out=places)
        if places.min() >= 0:
            return
