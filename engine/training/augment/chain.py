"""All augmentations of an experiment, one after the other in the order of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from engine.training.augment import Arrays, Transform, intensity, warp
from engine.training.augment.resample import Field, Matrix, Places
from engine.training.augment.warp import Warp, chosen
from engine.training.registry import AUGMENTS

__all__ = ["Chain", "build", "intensity", "warp"]

Maps: TypeAlias = dict[str, NDArray[np.float32]]
# A map whose values are lengths, in voxels: they grow with the volume.
LENGTHS = ("distance",)


class Flip:
    """Each of the axes `d`, `h` and `w` mirrored with its own probability. Exact: nothing is resampled."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._probabilities = tuple(probabilities)

    def axes(self, rng: Generator) -> tuple[int, ...]:
        return tuple(axis for axis, p in enumerate(self._probabilities) if rng.random() < p)

    def __call__(self, image: NDArray[np.float32], label: NDArray[np.uint8], rng: Generator) -> Arrays:
        axes = self.axes(rng)
        return np.flip(image, axes), np.flip(label, axes)


class Chain:
    """Transforms as one. Those that move voxels move the label's maps likewise; a map of lengths is scaled with them,
    exactly for turned and scaled volumes, on average for stretched and bent ones. `ignore`: a value of the label that
    counts nowhere, which is what comes in from beyond the volume; negative for none: then the label is mirrored there,
    as image and maps always are."""

    def __init__(self, steps: Sequence[Transform], ignore: int = -1) -> None:
        self._steps = tuple(steps)
        self._ignore = ignore

    def __call__(self, image: NDArray[np.float32], label: NDArray[np.uint8], rng: Generator) -> Arrays:
        image, label, _ = self.with_maps(image, label, {}, rng)
        return image, label

    def with_maps(
        self, image: NDArray[np.float32], label: NDArray[np.uint8], maps: Maps, rng: Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], Maps]:
        """All of one shape (D, H, W), which they keep."""
        d, h, w = label.shape
        matrix: Matrix | None = None
        field: Field | None = None
        for step in (*self._steps, None):
            if isinstance(step, Warp):
                turn, bend = step.draw((d, h, w), rng)
                matrix = turn if matrix is None else matrix if turn is None else matrix @ turn
                field = bend if field is None else field if bend is None else field + bend
                continue
            if matrix is not None or field is not None:
                image, label, maps = _bent(image, label, maps, matrix, field, self._ignore)
                matrix = field = None
            if isinstance(step, Flip):
                axes = step.axes(rng)
                image, label = np.flip(image, axes), np.flip(label, axes)
                maps = {name: np.flip(one, axes) for name, one in maps.items()}
            elif step is not None:
                image, label = step(image, label, rng)
        return image, label, maps


def _bent(
    image: NDArray[np.float32], label: NDArray[np.uint8], maps: Maps, matrix: Matrix | None, field: Field | None,
    ignore: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], Maps]:
    larger = 1.0 if matrix is None else float(abs(np.linalg.det(matrix))) ** (-1 / 3)
    d, h, w = label.shape
    smooth = [name for name in maps if name in LENGTHS]
    others = [name for name in maps if name not in LENGTHS]
    moved = Places((d, h, w), matrix, field).moved(
        [image, *(maps[name] for name in smooth)], [label, *(maps[name] for name in others)], mark=ignore >= 0
    )
    found: Maps = dict(zip(others, moved.nearest[1:], strict=True))
    for name, one in zip(smooth, moved.linear[1:], strict=True):
        found[name] = one * np.float32(larger) if larger != 1.0 else one
    classes = moved.nearest[0]
    if moved.outside is not None:
        classes[moved.outside] = ignore
    return moved.linear[0], classes, found


@AUGMENTS.register("flip")
def flip(given: dict[str, float]) -> Flip:
    found = chosen("flip", given, {"d": 0.5, "h": 0.5, "w": 0.5})
    return Flip((found["d"], found["h"], found["w"]))


def build(table: Mapping[str, dict[str, float]], ignore: int = -1) -> Chain | None:
    """The chain of an experiment's [augment]; None without one. `ignore`: as its `data.ignore`. Raises UsageError for
    an unknown name or option."""
    return Chain([AUGMENTS[name](options) for name, options in table.items()], ignore) if table else None
