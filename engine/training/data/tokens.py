"""Sequences as one array of tokens on disk, mapped by whoever trains: a million of them are 20 MB and no objects.

    CACHE/<key>/tokens.npy       uint8 (N, MAX_LENGTH): residues by number, then PAD
    CACHE/<key>/lengths.npy      uint8 (N,)
    CACHE/<key>/targets.npy      uint16 (N,): what each sequence is for, 0 for nothing said
    CACHE/<key>/sequences.json   Record

Rows stand fold by fold: one fold's are held out as one block. A sequence's fold is a hash of its residues, so the same
sequence is on the same side wherever it stands in a file, and however many others there are. `key` is a digest of the
source's contents and of what the array depends on besides; the folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import shutil
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.paths import FOLDER_MODE, read_json, write_json
from engine.training.data import cache
from engine.training.data.nifti import shown
from engine.training.folds import FEWER_FOLDS

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PAD = len(RESIDUES)
# Padding is a token like the others: with it the network learns where a sequence ends.
TOKENS = PAD + 1
MIN_LENGTH, MAX_LENGTH = 4, 20
FORMAT = 1
ARRAYS = ("tokens.npy", "lengths.npy", "targets.npy")
RECORD = "sequences.json"
# A fold's rows in so many parts, each with figures of its own: they show how much a figure scatters.
PARTS = 10
UNKNOWN = 255

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]
_NUMBERS = np.full(256, UNKNOWN, dtype=np.uint8)
for _letters in (RESIDUES, RESIDUES.lower()):
    _NUMBERS[np.frombuffer(_letters.encode(), dtype=np.uint8)] = np.arange(PAD, dtype=np.uint8)


class Sequences(NamedTuple):
    """tokens uint8 (N, MAX_LENGTH), lengths uint8 (N,), targets uint16 (N,): numbers into `names`, 0 is ''."""

    tokens: Bytes
    lengths: Bytes
    targets: Words
    names: tuple[str, ...] = ("",)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Rows `first` to `last` (exclusive) of one fold."""

    fold: int
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"rows {self.first + 1:,}–{self.last:,}"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """sequences.json. `sha256`: of the tokens and targets as they stand. `repeated`: rows that are the same as
    another one above them."""

    format: int = FORMAT
    key: str
    sha256: str
    count: int
    residues: int
    parts: tuple[Part, ...]
    names: tuple[str, ...] = ("",)
    repeated: int = 0

    def held_out(self, fold: int) -> tuple[int, int]:
        """The fold's rows, first and last (exclusive)."""
        own = [part for part in self.parts if part.fold == fold]
        return own[0].first, own[-1].last


def numbered(letters: bytes) -> Bytes:
    """Each letter's residue, UNKNOWN for none; lower case counts like upper case."""
    return _NUMBERS[np.frombuffer(letters, dtype=np.uint8)]


def rows(numbers: Bytes, lengths: NDArray[np.int64]) -> Bytes:
    """(N, MAX_LENGTH) of residues that stand one behind the other; every length fits."""
    tokens = np.full((len(lengths), MAX_LENGTH), PAD, dtype=np.uint8)
    tokens[np.arange(MAX_LENGTH) < lengths[:, None]] = numbers
    return tokens


def texts(tokens: Bytes) -> list[str]:
    """Each row up to its first PAD, as letters."""
    letters = np.frombuffer((RESIDUES + " ").encode(), dtype=np.uint8)[tokens]
    return [bytes(row).decode().partition(" ")[0] for row in letters]


def hashed(tokens: Bytes, seed: int) -> NDArray[np.uint64]:
    """64 bits of each row, alike on every machine: a sum of odd multiples, stirred (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        factors = _stirred(np.arange(1, tokens.shape[1] + 1, dtype=np.uint64) + np.uint64(seed)) | np.uint64(1)
        total = np.zeros(len(tokens), dtype=np.uint64)
        for column, factor in zip(tokens.T, factors, strict=True):
            total += (column.astype(np.uint64) + np.uint64(1)) * factor
        return _stirred(total)


def _stirred(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def key_of(source: object, folds: int, seed: int) -> str:
    """The name of the prepared array: 64 hex digits. `source`: a file's digest, or what it is drawn from."""
    body = {"format": FORMAT, "source": source, "folds": folds, "seed": seed, "length": MAX_LENGTH}
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def find(folder: Path, key: str) -> Record | None:
    """The array's record if it is there and whole."""
    record = read_json(folder / key / RECORD, Record)
    if record is None or (record.key, record.format) != (key, FORMAT):
        return None
    try:
        found = opened(folder / key)
    except DataError:
        return None
    return record if len(found.tokens) == record.count else None


def opened(folder: Path) -> Sequences:
    """All of it, memory-mapped read-only. Raises DataError if it is not there or not right."""
    try:
        tokens, lengths, targets = (
            np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in ARRAYS
        )
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{shown(folder)}: prepared sequences cannot be read ({error}); prepare again") from None
    right = tokens.ndim == 2 and tokens.shape == (len(lengths), MAX_LENGTH) and len(targets) == len(lengths)
    if not right or (tokens.dtype, lengths.dtype, targets.dtype) != (np.uint8, np.uint8, np.uint16):
        raise DataError(f"{shown(folder)}: no prepared sequences; remove the folder and prepare again")
    return Sequences(tokens, lengths, targets)


def ordered(found: Sequences, key: str, folds: int, seed: int) -> tuple[Sequences, Record]:
    """`found` fold by fold, and what is to be said of it. Raises DataError where a fold would have none."""
    hashes = hashed(found.tokens, seed)
    fold_of = (hashes % np.uint64(folds)).astype(np.int64)
    sizes = np.bincount(fold_of, minlength=folds)
    if len(hashes) < folds or not sizes.all():
        empty = "" if len(hashes) < folds else f", and by its hash none of them is in fold {int(sizes.argmin())}"
        raise DataError(
            f"{folds} folds need at least {folds} sequences, each fold one of its own; there are {len(hashes)}{empty}; "
            f"add sequences, or {FEWER_FOLDS}"
        )
    order = np.lexsort((hashes, fold_of))
    hashes = hashes[order]
    made = Sequences(found.tokens[order], found.lengths[order], found.targets[order], found.names)
    return made, Record(
        key=key, sha256=_digest(made), count=len(order), residues=int(made.lengths.sum(dtype=np.int64)),
        parts=_parts(sizes.tolist()), names=made.names, repeated=int(np.count_nonzero(hashes[1:] == hashes[:-1])),
    )


def store(folder: Path, key: str, found: Sequences, folds: int, seed: int) -> Record:
    """`found` in the cache `folder`, fold by fold, or what another process wrote meanwhile. Raises DataError."""
    made, record = ordered(found, key, folds, seed)
    temporary = folder / cache.temporary_name(key)
    temporary.mkdir(mode=FOLDER_MODE)
    try:
        for name, array in zip(ARRAYS, made, strict=False):
            cache.write_array(temporary / name, np.ascontiguousarray(array))
        write_json(temporary / RECORD, record)
        if not cache.publish(temporary, folder / key) and find(folder, key) is None:
            # Something is there that is no such array: put it out of the way, then there is room for this one.
            damaged = folder / cache.temporary_name(key)
            (folder / key).rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
            cache.publish(temporary, folder / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return find(folder, key) or record


def bytes_of(count: int) -> int:
    """What `count` prepared sequences take on disk."""
    return count * (MAX_LENGTH + 1 + 2) + cache.RECORD_BYTES


def _digest(found: Sequences) -> str:
    sha = hashlib.sha256()
    for array in (found.tokens, found.targets):
        sha.update(np.ascontiguousarray(array).data)
    sha.update(msgspec.json.encode(found.names))
    return sha.hexdigest()


def _parts(sizes: list[int]) -> tuple[Part, ...]:
    made, first = [], 0
    for fold, size in enumerate(sizes):
        count = min(PARTS, size)
        bounds = [first + size * i // count for i in range(count + 1)]
        made += [Part(fold=fold, first=a, last=b) for a, b in pairwise(bounds)]
        first += size
    return tuple(made)
