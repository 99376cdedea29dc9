"""Augmentations that move voxels: turned, stretched, bent. Each draws how; those that follow one another resample once.

The product of the `matrix`es comes first, then the sum of the `field`s (engine.training.augment.resample).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import unknown
from engine.training.augment.resample import Field, Matrix, Places, Shape
from engine.training.registry import AUGMENTS


@runtime_checkable
class Warp(Protocol):
    """Draws how to bend a volume of `shape`: a 3×3 matrix and a field (3, D, H, W), either None for nothing."""

    def draw(self, shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]: ...


class Drawn:
    """A warp by one function, with probability `p`. It is a transform by itself too."""

    def __init__(self, p: float, draw: partial[tuple[Matrix | None, Field | None]]) -> None:
        self._p = p
        self._draw = draw

    def draw(self, shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
        return self._draw(shape, rng) if rng.random() < self._p else (None, None)

    def __call__(
        self, image: NDArray[np.float32], label: NDArray[np.uint8], rng: Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        d, h, w = image.shape
        matrix, field = self.draw((d, h, w), rng)
        if matrix is None and field is None:
            return image, label
        moved = Places((d, h, w), matrix, field).moved([image], [label])
        return moved.linear[0], moved.nearest[0]


def chosen(name: str, given: Mapping[str, float], defaults: Mapping[str, float]) -> dict[str, float]:
    """Options over their defaults. Raises UsageError for one the augmentation does not have."""
    for option in given:
        if option not in defaults:
            raise unknown("option", option, defaults, f"[augment.{name}]")
    return {**defaults, **given}


def _rotation(degrees: float, _shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
    made = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-degrees, degrees, 3))):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        made = made @ turn
    return made, None


def _scaling(low: float, high: float, _shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
    return np.eye(3) / _between(rng, low, high), None


def _anisotropy(low: float, high: float, _shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
    """One axis is stretched against the two others; the volume of a voxel stays as it was."""
    factors = np.ones(3)
    factors[int(rng.integers(3))] = _between(rng, low, high)
    return np.diag(np.cbrt(factors.prod()) / factors), None


def _elastic(spacing: float, magnitude: float, shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
    """Random shifts every `spacing` voxels, standard deviation `magnitude` voxels, cubic in between.

    A spline in three dimensions is one along each axis after the other: as ndimage.zoom of the whole has it, which
    looks at 64 knots for every voxel.
    """
    knots = [max(4, round(n / spacing) + 1) for n in shape]
    coarse = rng.normal(0.0, magnitude, (3, *knots)).astype(np.float32)
    of_d, of_h, of_w = (_spline(k, n) for k, n in zip(knots, shape, strict=True))
    planes = np.einsum("hj,xijw->xihw", of_h, np.einsum("wk,xijk->xijw", of_w, coarse))
    field = np.zeros((3, *shape), dtype=np.float32)
    for knot in range(knots[0]):
        # Added up knot by knot: a matrix product may do so in another order with another number of threads.
        field += of_d[None, :, knot, None, None] * planes[:, knot, None]
    return None, field


@lru_cache(maxsize=64)
def _spline(knots: int, side: int) -> NDArray[np.float32]:
    """(side, knots): what every knot weighs at every voxel along one axis."""
    each = [ndimage.zoom(one, side / knots, order=3, mode="nearest", grid_mode=True) for one in np.eye(knots)]
    weights: NDArray[np.float32] = np.stack(each, axis=1).astype(np.float32)
    weights.setflags(write=False)
    return weights


def _slice_jitter(voxels: float, shape: Shape, rng: Generator) -> tuple[Matrix | None, Field | None]:
    """Every slice of the first axis is shifted in its plane by whole voxels."""
    most = int(voxels)
    shifts = rng.integers(-most, most + 1, (2, shape[0])).astype(np.float32)
    field = np.zeros((3, *shape), dtype=np.float32)
    field[1:] = shifts[:, :, None, None]
    return None, field


def _between(rng: Generator, low: float, high: float) -> float:
    """As often larger than 1 as smaller where `low` and `high` are each other's inverse."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@AUGMENTS.register("rotate")
def rotate(given: dict[str, float]) -> Drawn:
    found = chosen("rotate", given, {"p": 0.5, "degrees": 20.0})
    return Drawn(found["p"], partial(_rotation, found["degrees"]))


@AUGMENTS.register("scale")
def scale(given: dict[str, float]) -> Drawn:
    found = chosen("scale", given, {"p": 0.5, "low": 0.85, "high": 1.2})
    return Drawn(found["p"], partial(_scaling, found["low"], found["high"]))


@AUGMENTS.register("anisotropy")
def anisotropy(given: dict[str, float]) -> Drawn:
    found = chosen("anisotropy", given, {"p": 0.25, "low": 0.8, "high": 1.3})
    return Drawn(found["p"], partial(_anisotropy, found["low"], found["high"]))


@AUGMENTS.register("elastic")
def elastic(given: dict[str, float]) -> Drawn:
    found = chosen("elastic", given, {"p": 0.2, "spacing": 24.0, "magnitude": 2.0})
    return Drawn(found["p"], partial(_elastic, found["spacing"], found["magnitude"]))


@AUGMENTS.register("slice_jitter")
def slice_jitter(given: dict[str, float]) -> Drawn:
    found = chosen("slice_jitter", given, {"p": 0.1, "voxels": 2.0})
    return Drawn(found["p"], partial(_slice_jitter, found["voxels"]))
