"""Read volumes stored as 3D TIFF (slices as pages, or one block) without trusting them.

Uncompressed ones are mapped where they lie. Compressed ones are decoded whole: zlib by tifffile itself, LZW and others
by imagecodecs where it is installed and by Pillow otherwise. Every fault is a DataError that names the file, what is
wrong and what would be right. TIFF knows no orientation and no spacing: axes are those of the file, voxels are 1 mm.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.training.data.nifti import Header, shown, sides

SUFFIXES = (".tif", ".tiff")
# 4 GiB of float32. More is a broken header, not a scan.
MAX_VOXELS = 1 << 30
IMAGE_KINDS = ("|u1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4")
AS_STORED = "as stored"
IDENTITY = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
DAMAGED = "copy or download it again"


class Stack(NamedTuple):
    """A volume (D, H, W) as stored. `mapped`: it lies uncompressed in its file, and was not read."""

    voxels: NDArray[Any]
    mapped: bool


def is_tiff(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def name_of(name: str) -> str:
    """A file's name without .tif or .tiff."""
    lower = name.lower()
    return next((name[: -len(end)] for end in SUFFIXES if lower.endswith(end)), name)


def read_header(path: Path) -> Header:
    """What the file says, checked against its size. Raises DataError."""
    with _opened(path) as series:
        return _header(path, series)


def read_stack(path: Path) -> Stack:
    """All voxels. Raises DataError."""
    with _opened(path) as series:
        header = _header(path, series)
        if series.dataoffset is not None and _plain(series):
            return Stack(mapped(path, header), True)
        try:
            voxels = series.asarray()
        except Exception as error:  # whatever a decoder says of damaged data
            if "imagecodecs" not in str(error):
                raise _damaged(path, error) from None
            voxels = _by_pillow(path, header)
    voxels = np.squeeze(voxels)
    if voxels.shape != header.shape:
        raise DataError(
            f"{shown(path)}: it promises {sides(header.shape)} voxels and holds {sides(voxels.shape)}; {DAMAGED}"
        )
    return Stack(voxels, False)


def imagined(shape: tuple[int, int, int]) -> Header:
    """Of a file of bytes that is not written yet."""
    return Header(
        shape=shape, dtype="|u1", spacing_mm=(1.0, 1.0, 1.0), orientation=AS_STORED, affine=IDENTITY, offset=0,
        data_bytes=prod(shape),
    )


def mapped(path: Path, header: Header) -> NDArray[Any]:
    """The voxels of an uncompressed file, memory-mapped read-only. Raises DataError if it is not as `header` says."""
    try:
        return np.memmap(path, dtype=np.dtype(header.dtype), mode="r", offset=header.offset, shape=header.shape)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def check_image(path: Path, header: Header) -> None:
    """Raises DataError for voxels of a kind that no scan has."""
    if header.dtype not in IMAGE_KINDS:
        raise DataError(
            f"{shown(path)}: its voxels are {np.dtype(header.dtype).name}; uint8, uint16, int16 or float32 are needed: "
            "convert it"
        )


def check_label(path: Path, header: Header) -> None:
    """Raises DataError for a label that does not hold whole numbers of one byte."""
    if header.dtype != "|u1":
        raise DataError(
            f"{shown(path)}: its labels are {np.dtype(header.dtype).name}; uint8 is needed: convert it"
        )


def check_values(path: Path, label: NDArray[np.uint8], classes: int, ignore: int) -> None:
    """Raises DataError for a label's value that is no class of the experiment, and for one without any foreground."""
    counts = np.bincount(label.reshape(-1), minlength=256)
    right = [*range(max(2, classes)), *([ignore] if ignore >= 0 else [])]
    wrong = [value for value in np.flatnonzero(counts) if value not in right]
    if wrong:
        named = ", ".join(f"{value} ({counts[value]:,} voxels)" for value in wrong[:5])
        also = f", and {ignore} for what counts nowhere" if ignore >= 0 else "; data.ignore names one that counts not"
        raise DataError(f"{shown(path)}: the label holds {named}; right are 0 to {max(2, classes) - 1}{also}")
    if not sum(counts[value] for value in right if value not in (0, ignore)):
        raise DataError(
            f"{shown(path)}: the label is empty, no voxel is foreground; remove the pair, or pass a label of it"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The only series of a TIFF file. Raises DataError."""
    import tifffile

    if not path.is_file():
        why = "a link to content that is not here; fetch it first" if path.is_symlink() else "no such file"
        raise DataError(f"{shown(path)}: {why}")
    complaints, log = _Complaints(), _log()
    log.addHandler(complaints)
    try:
        file = tifffile.TiffFile(path)
    except Exception as error:  # tifffile has no one error for what is no TIFF
        if isinstance(error, OSError):
            raise DataError(f"{shown(path)}: cannot be opened: {error.strerror or error}") from None
        raise DataError(f"{shown(path)}: no TIFF that can be read ({_said(error)}); {DAMAGED}") from None
    else:
        with file:
            try:
                every = list(file.series)
            except Exception as error:
                raise _damaged(path, error) from None
            if complaints.heard:
                beyond = "offset" in complaints.heard[0]
                why = "cut short, its list of pages lies beyond its end" if beyond else "damaged"
                raise DataError(f"{shown(path)}: {why} ({complaints.heard[0]}); {DAMAGED}")
            if len(every) != 1:
                shapes = ", ".join(sides(one.shape) for one in every[:3]) or "none"
                raise DataError(
                    f"{shown(path)}: {len(every)} images in one file ({shapes}); one volume is needed, all slices alike"
                )
            yield every[0]
    finally:
        log.removeHandler(complaints)


class _Complaints(logging.Handler):
    """tifffile logs what is wrong with a file, and goes on. Of several files that are read at once each is told its own
    faults alone: those of its thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage()[:200])


@lru_cache(maxsize=1)
def _log() -> logging.Logger:
    """tifffile's, off the screen for good: what it says becomes an error here."""
    import tifffile

    log: logging.Logger = tifffile.logger()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    return log


def _header(path: Path, series: Any) -> Header:
    try:
        shape = tuple(int(side) for side in series.shape if side != 1)
        dtype = np.dtype(series.dtype)
        pages = [page for page in series.pages if page is not None]
        end = max(
            offset + count for page in pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        offset = int(series.dataoffset or 0)
    except Exception as error:
        raise _damaged(path, error) from None
    if len(shape) != 3:
        raise DataError(f"{shown(path)}: it is {sides(tuple(series.shape))}; a 3D volume is needed, slices as pages")
    if prod(shape) > MAX_VOXELS:
        raise DataError(f"{shown(path)}: {sides(shape)} voxels cannot be meant; {DAMAGED}")
    size = prod(shape) * dtype.itemsize
    held = path.stat().st_size
    if offset and _plain(series):
        end = max(end, offset + size)
    if end > held:
        raise DataError(
            f"{shown(path)}: cut short, its voxels end at byte {end:,} and the file at {held:,}; {DAMAGED}"
        )
    d, h, w = shape
    return Header(
        shape=(d, h, w), dtype=dtype.str, spacing_mm=(1.0, 1.0, 1.0), orientation=AS_STORED, affine=IDENTITY,
        offset=offset, data_bytes=size,
    )


def _plain(series: Any) -> bool:
    """Whether the voxels lie in the file as they are, one behind the other."""
    return series.dataoffset is not None and int(getattr(series.keyframe, "compression", 1)) == 1


def _by_pillow(path: Path, header: Header) -> NDArray[Any]:
    """Page by page. Raises DataError."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as image:
            pages = [np.asarray(page) for page in ImageSequence.Iterator(image)]
        return np.stack(pages).astype(np.dtype(header.dtype), copy=False)
    except Exception as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> DataError:
    if isinstance(error, MemoryError):
        return DataError(f"{shown(path)}: too large for this machine's memory")
    return DataError(f"{shown(path)}: damaged ({_said(error)}); {DAMAGED}")


def _said(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
