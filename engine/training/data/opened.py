"""A prepared case as training reads it: its arrays mapped, from the cache or from the files they came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.paths import read_json
from engine.training.data import cache
from engine.training.data.nifti import shown
from engine.training.data.volumes import Floats, Mask


class Volume(NamedTuple):
    """`image` and `label` (D, H, W). Image values `low` to `high` are 0 to 1 once they are floats."""

    image: NDArray[Any]
    label: Mask
    low: float = 0.0
    high: float = 1.0

    def floats(self, cut: tuple[slice, ...] = ()) -> Floats:
        """A part of the image, copied. Mapped pages are read here."""
        found: Floats = np.array(self.image[cut], dtype=np.float32)
        if (self.low, self.high) != (0.0, 1.0):
            found -= np.float32(self.low)
            found *= np.float32(1.0 / (self.high - self.low))
        return found


def open_volume(folder: Path) -> Volume:
    """Raises DataError if the arrays are not there or not right, or a file that is read in place has changed."""
    record = read_json(folder / cache.RECORD, cache.CaseRecord)
    if record is None or (record.image_at is None and record.label_at is None and record.dtype == cache.CONFORMED):
        image, label = cache.open_case(folder)
        return Volume(image, label) if record is None else Volume(image, label, record.low, record.high)
    return Volume(
        _array(folder, cache.IMAGE, record, record.dtype, record.image_at),
        _array(folder, cache.LABEL, record, "|u1", record.label_at), record.low, record.high,
    )


def _array(
    folder: Path, name: str, record: cache.CaseRecord, dtype: str, place: cache.Place | None
) -> NDArray[Any]:
    if place is not None and not place.there:
        raise DataError(f"{shown(place.file)}: it has changed, or gone, since it was prepared; prepare again")
    try:
        found: NDArray[Any]
        if place is not None:
            kind = np.dtype(place.dtype)
            found = np.memmap(place.file, dtype=kind, mode="r", offset=place.offset, shape=record.shape)
        else:
            found = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{shown(folder)}: a prepared volume cannot be read ({error}); prepare again") from None
    if found.shape != record.shape or found.dtype != np.dtype(dtype):
        raise DataError(f"{shown(folder)}: not a prepared volume; remove the folder and prepare again")
    return found
