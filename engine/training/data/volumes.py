"""Read NIfTI-1 and NIfTI-2 volumes without trusting them.

A gzip stream is read to its end, so that its CRC and length are checked (a reader that stops at the last voxel loads
most bit flips without a word), and nothing is allocated on a header's word alone: the buffer grows with what the file
really holds. Every fault is a DataError that names the file, what is wrong and what would be right.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec
import nibabel
import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.uint8]
Affine: TypeAlias = NDArray[np.float64]

CHUNK = 1 << 20
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


class Raw(NamedTuple):
    """A whole file: its voxels as stored (x, y, z), and the SHA-256 of the file as it lies on disk."""

    header: Header
    voxels: NDArray[Any]
    sha256: str


class Pair(NamedTuple):
    """An image with its lesion mask on the same grid, orientation and spacing as stored."""

    image: Floats
    mask: Mask
    header: Header
    image_sha256: str
    label_sha256: str


def shown(path: Path | str) -> str:
    """A file name fit for a message: control characters, bidi marks and undecodable bytes escaped."""
    return repr(str(path))


def is_volume(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def stem(name: str) -> str:
    """The file name without .nii or .nii.gz."""
    lower = name.lower()
    return next((name[: -len(s)] for s in (".nii.gz", ".nii") if lower.endswith(s)), name)


def read_header(path: Path) -> Header:
    """The header alone, checked as far as it can be without reading the voxels. Raises DataError."""
    with _opened(path) as file:
        return _header(path, next(_stream(path, file), b""), os.fstat(file.fileno()).st_size)


def digest(path: Path) -> str:
    """SHA-256 of the file as it lies on disk. Raises DataError if it cannot be read."""
    sha = hashlib.sha256()
    with _opened(path) as file:
        while block := _read(path, file):
            sha.update(block)
    return sha.hexdigest()


def read_raw(path: Path) -> Raw:
    """The whole file, every check done. Raises DataError."""
    sha = hashlib.sha256()
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        blocks = _stream(path, file, sha)
        first = next(blocks, b"")
        header = _header(path, first, before.st_size)
        end = header.offset + header.data_bytes
        content = bytearray(first)
        for block in blocks:
            content += block
            if len(content) > end:
                break
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{shown(path)}: changed while it was read; start again when nothing writes to it")
    if len(content) != end:
        holds = f"more than {end:,}" if len(content) > end else f"only {len(content):,}"
        raise DataError(
            f"{shown(path)}: its header promises {_sides(header.shape)} voxels of {header.dtype}, {end:,} bytes in all, "
            f"but it holds {holds} bytes; copy or convert it again"
        )
    flat = np.frombuffer(content, dtype=np.dtype(header.dtype), count=prod(header.shape), offset=header.offset)
    return Raw(header, flat.reshape(header.shape, order="F"), sha.hexdigest())


def read_pair(image: Path, label: Path) -> Pair:
    """Image as float32 with its scaling applied, label as mask (above 0 is lesion), both (x, y, z) as stored.

    Raises DataError for a file that is damaged, an image with NaN or infinite voxels or all of one value, a label of
    another grid than its image, or an empty label.
    """
    picture, marks = read_raw(image), read_raw(label)
    check_grids(image, picture.header, label, marks.header)
    return Pair(
        image=scaled(image, picture),
        mask=lesions(label, marks),
        header=picture.header,
        image_sha256=picture.sha256,
        label_sha256=marks.sha256,
    )


def scaled(path: Path, raw: Raw) -> Floats:
    """float32 voxels with slope and intercept applied. Raises DataError for non-finite or constant ones."""
    header = raw.header
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw.voxels.astype(np.float32)
        if (header.slope, header.inter) != (1.0, 0.0):
            values *= np.float32(header.slope)
            values += np.float32(header.inter)
    _check_finite(path, values)
    if values.min() == values.max():
        raise DataError(f"{shown(path)}: every voxel is {float(values.flat[0]):g}, so there is no picture; replace the file")
    return values


def lesions(path: Path, raw: Raw) -> Mask:
    """1 where the scaled label is above 0. A threshold of one half would erase masks stored with a small slope."""
    if raw.voxels.dtype.kind == "f":
        _check_finite(path, raw.voxels)
    header = raw.header
    plain = (header.slope, header.inter) == (1.0, 0.0)
    mask = (raw.voxels > 0) if plain else (raw.voxels * float(header.slope) + float(header.inter) > 0)
    if not mask.any():
        raise DataError(
            f"{shown(path)}: the mask is empty, no voxel is above 0; remove the subject, or pass a label that marks its lesion"
        )
    return mask.astype(np.uint8)


def check_grids(image: Path, of_image: Header, label: Path, of_label: Header) -> None:
    """Raises DataError unless both lie on one grid, to half a voxel at every corner."""
    if of_image.shape != of_label.shape:
        raise DataError(
            f"{shown(label)}: the label is {_sides(of_label.shape)} voxels but its image {shown(image)} is "
            f"{_sides(of_image.shape)}; resample the label to the image's grid"
        )
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in of_image.shape))], dtype=np.float64).T
    apart = float(np.abs(((of_image.matrix - of_label.matrix) @ corners)[:3]).max())
    if apart > 0.5 * min(of_image.spacing_mm):
        raise DataError(
            f"{shown(label)}: the label lies up to {apart:.1f} mm from its image {shown(image)} (their affines differ); "
            "resample the label to the image's grid"
        )


def _check_finite(path: Path, values: NDArray[Any]) -> None:
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(
            f"{shown(path)}: {bad:,} of {values.size:,} voxels are NaN or infinite; "
            "write a finite value (0 outside the head, say) there"
        )


def _opened(path: Path) -> BinaryIO:
    """The regular file at `path`, open. O_NONBLOCK: a named pipe must not hold the program up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(
                f"{shown(path)}: a link to content that is not here; fetch it first (`datalad get`, `git annex get`)"
            ) from None
        raise DataError(f"{shown(path)}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: cannot be opened: {_reason(error)}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{shown(path)}: not a regular file; a .nii or .nii.gz volume is needed")
    return os.fdopen(descriptor, "rb", buffering=0)


def _read(path: Path, file: BinaryIO) -> bytes:
    try:
        return file.read(CHUNK)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _stream(path: Path, file: BinaryIO, sha: Any = None) -> Iterator[bytes]:
    """The file's content, decompressed, in blocks; the first one holds the header. All of it feeds `sha`."""
    zipped = path.name.lower().endswith(".gz")
    block = _read(path, file)
    if not block:
        raise DataError(f"{shown(path)}: the file is empty; copy or convert it again")
    if zipped != (block[:2] == b"\x1f\x8b"):
        kind = "is not gzip, though its name ends in .gz" if zipped else "is gzip, though its name does not end in .gz"
        raise DataError(f"{shown(path)}: {kind}; a NIfTI volume as .nii or .nii.gz is needed")
    blocks = _raw_blocks(path, file, block, sha)
    yield from _coalesced(_unzipped(path, blocks) if zipped else blocks)


def _raw_blocks(path: Path, file: BinaryIO, block: bytes, sha: Any) -> Iterator[bytes]:
    while block:
        if sha is not None:
            sha.update(block)
        yield block
        block = _read(path, file)


def _coalesced(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes; the first block is at least a header long if there is as much."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEADER_BYTES:
            break
    yield head
    yield from blocks


def _unzipped(path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Every member of a gzip file to its end, at most CHUNK bytes at a time. zlib compares CRC and length there."""
    member: Any = zlib.decompressobj(wbits=31)
    for block in blocks:
        while block:
            if member.eof:
                # Blocks of zeros may follow the last member (gzip(1)); anything else must be a member of its own.
                block = block.lstrip(b"\0")
                if not block:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                out = member.decompress(block, CHUNK)
            except zlib.error as error:
                raise DataError(
                    f"{shown(path)}: damaged ({str(error).rsplit(': ', 1)[-1]}); fetch or convert it again"
                ) from None
            block = member.unused_data if member.eof else member.unconsumed_tail
            if out:
                yield out
    if not member.eof:
        raise DataError(f"{shown(path)}: cut short, the gzip stream has no end; fetch it again")


def _header(path: Path, block: bytes, file_bytes: int) -> Header:
    """The header at the start of `block`, with its promise weighed against the size of the file."""
    raw = _nifti(path, block)
    shape = _shape(path, raw)
    dtype = _dtype(path, raw)
    affine, spacing = _space(path, raw)
    try:
        offset = int(raw.get_data_offset())
        slope, inter = raw.get_slope_inter()
    except (ValueError, OverflowError, nibabel.spatialimages.HeaderDataError) as error:
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
            f"{shown(path)}: its header promises {_sides(shape)} voxels of {dtype.str}, {end:,} bytes in all, but the file has "
            f"{file_bytes:,} bytes{' even compressed' if zipped else ''}; copy or convert it again"
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
    sides = [int(n) for n in raw["dim"][1 : count + 1]] if 1 <= count <= 7 else []
    if any(n < 1 for n in sides) or not sides:
        raise DataError(f"{shown(path)}: its header gives the dimensions {[int(n) for n in raw['dim']]}; convert it again")
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if len(sides) != 3:
        advice = "take one volume out of the series" if len(sides) > 3 else "a whole head is needed"
        raise DataError(f"{shown(path)}: {len(sides)} dimensions ({_sides(tuple(sides))}); 3 are needed: {advice}")
    return sides[0], sides[1], sides[2]


def _dtype(path: Path, raw: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(raw.get_data_dtype())
    except nibabel.spatialimages.HeaderDataError:
        dtype = np.dtype("V1")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DataError(
            f"{shown(path)}: voxels of type {int(raw['datatype'])} (colour, complex or unknown); whole numbers or floats are needed"
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
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
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
        f"{shown(path)}: a voxel would measure {words} mm, and the axes must not coincide; sides of {low:g} to {high:g} mm "
        "are needed (are its units mm?); convert it again"
    )


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)
