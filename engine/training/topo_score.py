"""The topological score of the Vesuvius Challenge's surface detection: do pieces, tunnels and cavities agree, each with
one of the other's in the same place? 1 where all do, 0 where none does.

Features are matched by Betti matching (Stucki et al. 2023 and 2024), by the authors' C++ as the package `topolosses`
brings it: of that wheel (86 MB) one file is used, and nothing of what it asks for besides, torchvision among it.
Foreground is filtered first, so that dimension 0 is its pieces; the library leaves out the one that never ends. As in
the challenge's own metric the volume is halved along each axis, and what is counted in the eight parts is added up.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import metadata
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

PACKAGE, MODULE = "topolosses", "betti_matching"
WEIGHTS = (0.34, 0.33, 0.33)
HALVES = 2
# What a dimension is worth in which the truth has nothing and the prediction something: 0.5 / (number + 0.5).
PSEUDO = 0.5
INSTALL = f"pip install --no-deps {PACKAGE}"
MISSING = f"figure topo_score needs {PACKAGE}, which is not installed: {INSTALL}, or leave it out"

Solid = NDArray[np.bool_]


class Counts(NamedTuple):
    """Of each dimension: how many features are matched, how many the prediction has, how many the truth."""

    matched: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]


Matching = Callable[[Solid, Solid], Counts]


def topo_score(predicted: Solid, truth: Solid, matching: Matching | None = None) -> float:
    """`predicted`, `truth` (D, H, W). `matching` counts in one part of the volume; None for the library's. Raises
    UsageError where that is not installed."""
    count = matching or betti_matching
    parts = [count(predicted[part], truth[part]) for part in octants(predicted.shape)]
    return of_counts(Counts(*(np.sum(column, axis=0) for column in zip(*parts, strict=True))))


def of_counts(counts: Counts) -> float:
    """The mean over dimensions that have features at all, weighted, of 2 · matched / (predicted + true); 1 without any.
    """
    score = weight = 0.0
    for share, matched, mine, true in zip(WEIGHTS, *counts, strict=True):
        if mine + true:
            score += share * (2.0 * matched / (mine + true) if true else PSEUDO / (mine + PSEUDO))
            weight += share
    return float(score / weight) if weight else 1.0


def octants(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Halves along each axis, the first one larger where a side is odd."""
    cuts = [(0, *(-(-side * i // HALVES) for i in range(1, HALVES + 1))) for side in shape]
    for part in product(*(list(pairwise(cut)) for cut in cuts)):
        if all(low < high for low, high in part):
            yield tuple(slice(low, high) for low, high in part)


def betti_matching(predicted: Solid, truth: Solid) -> Counts:
    """Raises UsageError where the library is not installed."""
    found = _library().compute_matching(*(np.ascontiguousarray(~one, dtype=np.float64) for one in (predicted, truth)))
    matched, mine, true = (
        np.asarray(getattr(found, name), dtype=np.int64)
        for name in ("num_matched", "num_unmatched_input1", "num_unmatched_input2")
    )
    return Counts(matched, matched + mine, matched + true)


def installed() -> bool:
    return _file() is not None


def _file() -> Path | None:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    found = (file for file in files if file.name.startswith(f"{MODULE}.") and file.suffix == ".so")
    return next((Path(str(file.locate())) for file in found), None)


@lru_cache(maxsize=1)
def _library() -> Any:
    """The extension module alone: the package around it imports losses and what those need."""
    file = _file()
    spec = importlib.util.spec_from_file_location(MODULE, file) if file is not None else None
    if spec is None or spec.loader is None:
        raise UsageError(MISSING)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(MODULE, module)
    spec.loader.exec_module(module)
    return module
