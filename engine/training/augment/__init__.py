"""Changes to a sample, drawn anew each time it is loaded; each registers itself by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Arrays: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint8]]
# (image (D, H, W), label (D, H, W), generator) -> both changed, of the shapes they had. What it is given may be the
# volume itself, read-only: what it changes is its own.
Transform: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.uint8], Generator], Arrays]
