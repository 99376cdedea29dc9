"""What a NIfTI-1 or NIfTI-2 header says about its voxels, believed only as far as the file bears it out."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from engine.errors import DataError

Affine: TypeAlias = NDArray[np.float64]

HEADER_BYTES = 540
# The most that deflate can shrink anything: 258 bytes in two bits.
DEFLATE_RATIO = 1032
SPACING_MM = (0.02, 20.0)
SUFFIXES = (".nii", ".nii.gz")
MAGIC = {348: (b"n+1\0",), 540: (b"n+2\0\r\n\x1a\n",)}
PAIRED = (b"ni1\0", b"ni2\0")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says about its voxels. `dtype` as numpy writes it, `offset` and `data_bytes` after decompression."""

    shape: tuple[int, int, int]
    dtype: str
    spacing_mm: tuple[float, float, float]
    orientation: str
    affine: tuple[tuple[float, ...], ...]
    offset: int
    data_bytes: int
    slope: float = 1.0
    inter: float = 0.0

    @property
    def matrix(self) -> Affine:
        return np.array(self.affine, dtype=np.float64)

    @property
    def voxel_mm3(self) -> float:
        return prod(self.spacing_mm)


def shown(path: Path | str) -> str:
    """A file name fit for a message: control characters, bidi marks and undecodable bytes escaped."""
    return repr(str(path))


def is_volume(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def stem(name: str) -> str:
    """The file name without .nii or .nii.gz."""
    lower = name.lower()
    return next((name[: -len(s)] for s in (".nii.gz", ".nii") if lower.endswith(s)), name)


def parse(path: Path, block: bytes, file_bytes: int) -> Header:
    """The header at the start of `block`, with its promise weighed against the size of the file."""
    raw = _nifti(path, block)
    shape = _shape(path, raw)
    dtype = _dtype(path, raw)
    affine, spacing = _space(path, raw)
    try:
        offset = int(raw.get_data_offset())
        slope, inter = raw.get_slope_inter()
    except (ValueError, OverflowError, HeaderDataError) as error:
        raise DataError(f"{shown(path)}: its header makes no sense ({error}); convert it again") from None
    if offset < len(raw.binaryblock):
        raise DataError(f"{shown(path)}: its voxels would begin inside the header, at byte {offset}; convert it again")
    header = Header(
        shape=shape,
        dtype=dtype.str,
        spacing_mm=spacing,
        orientation="".join(nibabel.aff2axcodes(affine)),
        affine=tuple(tuple(float(v) for v in row) for row in affine),
        offset=offset,
        data_bytes=prod(shape) * dtype.itemsize,
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
    )
    end = offset + header.data_bytes
    zipped = path.name.lower().endswith(".gz")
    possible = file_bytes * DEFLATE_RATIO if zipped else file_bytes
    if end > possible or (not zipped and end != file_bytes):
        raise DataError(
            f"{shown(path)}: {promise(header)}; the file has {file_bytes:,} bytes"
            f"{' and cannot unpack to that' if zipped else ''}; copy or convert it again"
        )
    return header


def _nifti(path: Path, block: bytes) -> Any:
    """nibabel's view of the header's fields, unchecked."""
    for order in ("<", ">"):
        size = int.from_bytes(block[:4], "little" if order == "<" else "big")
        if size not in MAGIC or len(block) < size:
            continue
        place = slice(344, 348) if size == 348 else slice(4, 12)
        if block[place][:4] in PAIRED:
            raise DataError(f"{shown(path)}: the header of an .hdr/.img pair; convert both into one .nii.gz")
        if block[place] in MAGIC[size]:
            kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
            return kind(block[:size], endianness=order, check=False)
    raise DataError(f"{shown(path)}: not a NIfTI volume; a .nii or .nii.gz file is needed")


def _shape(path: Path, raw: Any) -> tuple[int, int, int]:
    """Three sides; further dimensions may only be 1."""
    count = int(raw["dim"][0])
    lengths = [int(n) for n in raw["dim"][1 : count + 1]] if 1 <= count <= 7 else []
    if any(n < 1 for n in lengths) or not lengths:
        raise DataError(f"{shown(path)}: its header gives dimensions {[int(n) for n in raw['dim']]}; convert it again")
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    if len(lengths) != 3:
        advice = "take one volume out of the series" if len(lengths) > 3 else "a whole head is needed"
        raise DataError(f"{shown(path)}: {len(lengths)} dimensions ({sides(tuple(lengths))}); 3 are needed: {advice}")
    return lengths[0], lengths[1], lengths[2]


def _dtype(path: Path, raw: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(raw.get_data_dtype())
    except (HeaderDataError, KeyError):
        dtype = np.dtype("V1")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DataError(
            f"{shown(path)}: voxels of type {int(raw['datatype'])} (colour, complex or unknown); "
            "whole numbers or floats are needed"
        )
    if int(raw["bitpix"]) != dtype.itemsize * 8:
        raise DataError(
            f"{shown(path)}: its header says {dtype.name} but {int(raw['bitpix'])} bits a voxel; convert it again"
        )
    return dtype


def _space(path: Path, raw: Any) -> tuple[Affine, tuple[float, float, float]]:
    """The affine (mm) and the spacing along the stored axes (mm)."""
    try:
        with np.errstate(all="ignore"):
            affine = np.asarray(raw.get_best_affine(), dtype=np.float64)
    except (ValueError, HeaderDataError) as error:
        raise DataError(f"{shown(path)}: its orientation makes no sense ({error}); convert it again") from None
    low, high = SPACING_MM
    if np.isfinite(affine).all():
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        flat = abs(float(np.linalg.det(affine[:3, :3]))) < 1e-3 * float(np.prod(spacing))
        if not flat and bool(((spacing >= low) & (spacing <= high)).all()):
            return affine, (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        words = " × ".join(f"{s:g}" for s in spacing)
    else:
        words = "NaN or infinite"
    raise DataError(
        f"{shown(path)}: a voxel would measure {words} mm; three independent axes with sides of {low:g} to {high:g} mm "
        "are needed (are its units mm?); convert it again"
    )


def promise(header: Header) -> str:
    total = header.offset + header.data_bytes
    return f"its header promises {sides(header.shape)} voxels of {header.dtype}, {total:,} bytes in all"


def sides(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def check_grids(image: Path, of_image: Header, label: Path, of_label: Header) -> None:
    """Raises DataError unless both lie on one grid, to half a voxel at every corner."""
    if of_image.shape != of_label.shape:
        raise DataError(
            f"{shown(label)}: the label is {sides(of_label.shape)} voxels but its image {shown(image)} is "
            f"{sides(of_image.shape)}; resample the label to the image's grid"
        )
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in of_image.shape))], dtype=np.float64).T
    apart = float(np.abs(((of_image.matrix - of_label.matrix) @ corners)[:3]).max())
    if apart > 0.5 * min(of_image.spacing_mm):
        raise DataError(
            f"{shown(label)}: the label lies up to {apart:.1f} mm from its image {shown(image)}: their affines differ; "
            "resample the label to the image's grid"
        )
