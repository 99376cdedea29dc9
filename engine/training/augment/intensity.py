"""Augmentations that leave every voxel in its place: brightness, noise, blur, and blocks cut out of the image.

Images are about 0 to 1. Labels stay as they are, under a cut-out too: what is there has to be told from around it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from engine.training.augment import Arrays
from engine.training.augment.warp import chosen
from engine.training.registry import AUGMENTS

Floats: TypeAlias = NDArray[np.float32]


class Shade:
    """Changes the image by one function, with probability `p`."""

    def __init__(self, p: float, change: Callable[[Floats, Generator], Floats]) -> None:
        self._p = p
        self._change = change

    def __call__(self, image: Floats, label: NDArray[np.uint8], rng: Generator) -> Arrays:
        if rng.random() >= self._p:
            return image, label
        return self._change(image, rng).astype(np.float32, copy=False), label


def _gamma(low: float, high: float, image: Floats, rng: Generator) -> Floats:
    power = np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
    changed: Floats = np.clip(image, 0.0, 1.0) ** power
    return changed


def _contrast(low: float, high: float, image: Floats, rng: Generator) -> Floats:
    middle = image.mean(dtype=np.float64).astype(np.float32)
    changed: Floats = (image - middle) * np.float32(rng.uniform(low, high)) + middle
    return changed


def _noise(std: float, image: Floats, rng: Generator) -> Floats:
    changed: Floats = image + np.float32(rng.uniform(0.0, std)) * rng.standard_normal(image.shape, dtype=np.float32)
    return changed


def _blur(sigma: float, image: Floats, rng: Generator) -> Floats:
    changed: Floats = ndimage.gaussian_filter(image, rng.uniform(0.0, sigma), mode="mirror", truncate=3.0)
    return changed


def _cutout(count: float, low: float, high: float, image: Floats, rng: Generator) -> Floats:
    """`count` blocks of `low` to `high` voxels a side, of half the image's side at most, take its mean."""
    changed = image.copy()
    middle = image.mean(dtype=np.float64)
    for _ in range(int(count)):
        sides = [min(int(rng.integers(int(low), int(high) + 1)), max(1, n // 2)) for n in image.shape]
        corner = [int(rng.integers(n - side + 1)) for n, side in zip(image.shape, sides, strict=True)]
        changed[tuple(slice(c, c + side) for c, side in zip(corner, sides, strict=True))] = middle
    return changed


@AUGMENTS.register("gamma")
def gamma(given: dict[str, float]) -> Shade:
    found = chosen("gamma", given, {"p": 0.3, "low": 0.65, "high": 1.6})
    return Shade(found["p"], partial(_gamma, found["low"], found["high"]))


@AUGMENTS.register("contrast")
def contrast(given: dict[str, float]) -> Shade:
    found = chosen("contrast", given, {"p": 0.3, "low": 0.75, "high": 1.25})
    return Shade(found["p"], partial(_contrast, found["low"], found["high"]))


@AUGMENTS.register("noise")
def noise(given: dict[str, float]) -> Shade:
    found = chosen("noise", given, {"p": 0.2, "std": 0.05})
    return Shade(found["p"], partial(_noise, found["std"]))


@AUGMENTS.register("blur")
def blur(given: dict[str, float]) -> Shade:
    found = chosen("blur", given, {"p": 0.1, "sigma": 1.0})
    return Shade(found["p"], partial(_blur, found["sigma"]))


@AUGMENTS.register("cutout")
def cutout(given: dict[str, float]) -> Shade:
    found = chosen("cutout", given, {"p": 0.15, "count": 3, "low": 24, "high": 64})
    return Shade(found["p"], partial(_cutout, found["count"], found["low"], found["high"]))
