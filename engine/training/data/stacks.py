"""One pair of TIFF volumes from its two files to its place in the cache.

An image and a label that nothing changes stay in their files, where they lie uncompressed; else they are converted
once, each in the type it was stored in: uint8 is a quarter of float32, and becomes 0 to 1 as a patch is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.config.tables import Prepare
from engine.errors import DataError
from engine.training.data import cache, tiff
from engine.training.data.conform import fit
from engine.training.data.discover import Case
from engine.training.data.maps import Wanted, foreground
from engine.training.data.nifti import Header, check_grids, shown
from engine.training.data.opened import Volume


class Read(NamedTuple):
    """A pair as its files hold it, every check done; images filtered and cut as `prepare` says. `mapped`: which of the
    two lie unchanged and uncompressed in their files."""

    volume: Volume
    image_header: Header
    label_header: Header
    mapped: tuple[bool, bool]
    kept: float


def check_headers(case: Case) -> Header:
    """The image's. Raises DataError for files that cannot be a pair."""
    image, label = tiff.read_header(case.image), tiff.read_header(case.label)
    tiff.check_image(case.image, image)
    tiff.check_label(case.label, label)
    check_grids(case.image, image, case.label, label)
    return image


def read(case: Case, prepare: Prepare, want: Wanted) -> Read:
    """Raises DataError naming the file."""
    header = check_headers(case)
    image, label = tiff.read_stack(case.image), tiff.read_stack(case.label)
    tiff.check_values(case.label, label.voxels, want.classes, want.ignore)
    pixels, marks = _filtered(image.voxels, prepare.median), label.voxels
    whole = int(np.count_nonzero(foreground(marks, want.ignore)))
    low, high = _range(case.image, pixels, prepare)
    if any(prepare.shape):
        pixels = fit(pixels, prepare.shape, low)
        marks = fit(marks, prepare.shape, max(0, want.ignore))
        if not foreground(marks, want.ignore).any():
            raise DataError(f"{shown(case.label)}: all foreground lies outside prepare.shape; set a larger one")
    kept = int(np.count_nonzero(foreground(marks, want.ignore))) / whole
    return Read(
        volume=Volume(pixels, marks, low, high), image_header=header, label_header=tiff.read_header(case.label),
        mapped=(image.mapped and pixels is image.voxels, label.mapped and marks is label.voxels), kept=kept,
    )


def prepared(case: Case, folder: Path, prepare: Prepare, want: Wanted) -> tuple[cache.CaseRecord, bool]:
    """The case in the cache `folder`, and whether it was there before. Raises DataError naming the file."""
    digests = [cache.learn_digest(folder, file) for file in (case.image, case.label)]
    key = cache.case_key(digests[0], digests[1], prepare)
    if (record := cache.find(folder, key)) is not None:
        tiff.check_values(case.label, np.asarray(tiff.read_stack(case.label).voxels), want.classes, want.ignore)
        return record, True
    made = read(case, prepare, want)
    volume, (image_stays, label_stays) = made.volume, made.mapped
    marked = int(np.count_nonzero(foreground(volume.label, want.ignore)))
    d, h, w = volume.label.shape
    record = cache.CaseRecord(
        key=key,
        shape=(d, h, w),
        lesion_voxels=marked,
        lesion_mm3=float(marked),
        source_shape=made.image_header.shape,
        source_spacing_mm=made.image_header.spacing_mm,
        source_orientation=made.image_header.orientation,
        image_sha256=digests[0],
        label_sha256=digests[1],
        kept=made.kept,
        marked=marked / volume.label.size,
        dtype=volume.image.dtype.str,
        low=volume.low,
        high=volume.high,
        image_at=_place(case.image, made.image_header) if image_stays else None,
        label_at=_place(case.label, made.label_header) if label_stays else None,
    )
    arrays = cache.Arrays(
        None if image_stays else np.ascontiguousarray(volume.image),
        None if label_stays else np.ascontiguousarray(volume.label),
    )
    return cache.store(folder, record, arrays), False


def bytes_per_case(shape: tuple[int, ...], dtype: str, prepare: Prepare) -> int:
    """What one pair takes in the cache at most: nothing is told of what stays in its file."""
    voxels = int(np.prod(prepare.shape if any(prepare.shape) else shape))
    return voxels * (np.dtype(dtype).itemsize + 1) + cache.RECORD_BYTES


def _filtered(voxels: NDArray[Any], side: int) -> NDArray[Any]:
    """The median of a cube of `side` voxels about every voxel, in the type it had."""
    if not side:
        return voxels
    found: NDArray[Any] = ndimage.median_filter(voxels, size=side)
    return found


def _range(path: Path, pixels: NDArray[Any], prepare: Prepare) -> tuple[float, float]:
    """What becomes 0 and 1. Raises DataError for an image that is none."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        bad = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
        raise DataError(f"{shown(path)}: {bad:,} of {pixels.size:,} voxels are NaN or infinite; write finite values")
    low, high = float(pixels.min()), float(pixels.max())
    if not low < high:
        raise DataError(f"{shown(path)}: every voxel is {low:g}: no picture; replace the file")
    return (low, high) if prepare.intensity == "minmax" else (0.0, 1.0)


def _place(path: Path, header: Header) -> cache.Place:
    found = path.stat()
    return cache.Place(
        file=str(path.absolute()), dtype=header.dtype, offset=header.offset, size=found.st_size,
        mtime_ns=found.st_mtime_ns,
    )
