"""Changes to a sample, drawn anew each time it is loaded; each registers itself by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Arrays: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint8]]
# (image (D, H, W), label (D, H, W), generator) -> both changed, of the shapes they had.
Transform: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.uint8], Generator], Arrays]
