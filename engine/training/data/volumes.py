"""Read volumes without trusting them.

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
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.training.data.labels import Label, foreground
from engine.training.data.nifti import HEADER_BYTES, Header, check_grids, parse, promise, shown

Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.uint8]

CHUNK = 1 << 18


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
    label_values: tuple[float, ...]


def read_header(path: Path) -> Header:
    """The header alone, checked as far as it can be without reading the voxels. Raises DataError."""
    with _opened(path) as file:
        return parse(path, next(_stream(path, file), b""), os.fstat(file.fileno()).st_size)


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
        header = parse(path, first, before.st_size)
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
            f"{shown(path)}: {promise(header)}; it holds {holds} bytes; copy or convert it again"
        )
    flat = np.frombuffer(content, dtype=np.dtype(header.dtype), count=prod(header.shape), offset=header.offset)
    return Raw(header, flat.reshape(header.shape, order="F"), sha.hexdigest())


def read_pair(image: Path, label: Path) -> Pair:
    """Image as float32 with its scaling applied, label as mask (above 0 is lesion), both (x, y, z) as stored.

    Raises DataError for a file that is damaged, an image with NaN or infinite voxels or all of one value, a label of
    another grid than its image, or a label that is no mask (engine.training.data.labels).
    """
    picture, marks = read_raw(image), read_raw(label)
    check_grids(image, picture.header, label, marks.header)
    picked = lesions(label, marks)
    return Pair(
        image=scaled(image, picture),
        mask=picked.mask,
        header=picture.header,
        image_sha256=picture.sha256,
        label_sha256=marks.sha256,
        label_values=picked.values,
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
        raise DataError(f"{shown(path)}: every voxel is {float(values.flat[0]):g}: no picture; replace the file")
    return values


def lesions(path: Path, raw: Raw) -> Label:
    """Where the scaled label is above 0. Raises DataError for one that is no mask."""
    if raw.voxels.dtype.kind == "f":
        _check_finite(path, raw.voxels)
    return foreground(path, raw.voxels, raw.header.slope, raw.header.inter)


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
