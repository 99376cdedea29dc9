"""Peptides out of a file: FASTA, or CSV with a column `sequence` and perhaps one called `target`.

FASTA: a line of `>` and a name, then residues over one line or more. CSV: commas, semicolons or tabs, the first line
names the columns; a file of one column of sequences needs no names. `.gz` of either is unpacked on the way. Every
sequence has MIN_LENGTH to MAX_LENGTH of the 20 amino acids, in upper or lower case; one that has not ends the reading:
what is learnt from is the whole file, or nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from engine.counts import plural
from engine.errors import DataError
from engine.text import clean
from engine.training.data.nifti import shown
from engine.training.data.tokens import (
    MAX_LENGTH,
    MIN_LENGTH,
    PAD,
    RESIDUES,
    UNKNOWN,
    Sequences,
    numbered,
    rows,
)

if TYPE_CHECKING:
    from _csv import Reader

COLUMNS = ("sequence", "seq", "peptide")
TARGET = "target"
ENDINGS = (".fasta", ".fa", ".faa", ".csv", ".tsv", ".txt")
MOST_TARGETS = np.iinfo(np.uint16).max
# A byte order mark; `>` before a name, `;` before a comment.
MARK, NAME, COMMENT = b"\xef\xbb\xbf", 62, 59
NAMED = 3
SHOWN_LETTERS = 30
EXPECTED = "a FASTA file ('>' and a name, then residues), or a CSV file with a column called sequence"


class _Found:
    """Sequences as they are read: letters one behind the other, and of each its length, line and target."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.lengths: list[int] = []
        self.lines: list[int] = []
        self.targets: list[str] = []


def file_of(data: Path) -> Path:
    """The file that `--data` means: itself, or the only one of its kind in a folder. Raises DataError."""
    if not data.is_dir():
        return data
    try:
        inside = sorted(path for path in data.iterdir() if path.name.removesuffix(".gz").endswith(ENDINGS))
    except OSError as error:
        raise DataError(f"{shown(data)}: cannot be read: {error.strerror}") from None
    if len(inside) != 1:
        there = ", ".join(shown(path.name) for path in inside[:NAMED]) or "no file of sequences"
        raise DataError(f"{shown(data)}: holds {there}; name one with --data FILE: {EXPECTED}")
    return inside[0]


def read(file: Path) -> Sequences:
    """All of them in the file's order. Raises DataError naming file, line and remedy."""
    found = _Found()
    try:
        with _open(file) as stream:
            head = stream.peek(1 << 12)[: 1 << 12]
            if b"\0" in head:
                raise DataError(f"{shown(file)}: is no text; {EXPECTED} is needed")
            text = head.removeprefix(MARK).lstrip()
            if not text:
                raise DataError(f"{shown(file)}: is empty; {EXPECTED} is needed")
            as_fasta = text.startswith((b">", b";")) or _named(file, ".fasta", ".fa", ".faa")
            (_fasta if as_fasta else _csv)(file, stream, found)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown(file)}: damaged or cut short ({error}); fetch it again") from None
    except UnicodeDecodeError:
        raise DataError(f"{shown(file)}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror or error}") from None
    if not found.lengths:
        raise DataError(f"{shown(file)}: holds no sequence; {EXPECTED} is needed")
    return _checked(file, found)


def _open(file: Path) -> io.BufferedReader:
    if file.name.endswith(".gz"):
        return io.BufferedReader(cast(io.RawIOBase, gzip.open(file, "rb")))
    return file.open("rb")


def _named(file: Path, *endings: str) -> bool:
    return file.name.lower().removesuffix(".gz").endswith(endings)


def _fasta(file: Path, stream: io.BufferedReader, found: _Found) -> None:
    letters, lengths, lines = found.letters, found.lengths, found.lines
    length = -1  # of the sequence under way; before the first name there is none
    for number, raw in enumerate(stream, start=1):
        line = raw.strip() if number > 1 else raw.removeprefix(MARK).strip()
        if not line or line[0] == COMMENT:
            continue
        if line[0] == NAME:
            if length == 0:
                raise _broken(file, lines[-1], "a name without a sequence", "put the residues below it, or remove it")
            if length > 0:
                lengths.append(length)
            lines.append(number)
            length = 0
        elif length < 0:
            raise _broken(file, number, f"{_quoted(line)} before any name", "a FASTA file begins with a line of '>'")
        else:
            letters.append(line)
            length += len(line)
    if length == 0:
        raise _broken(file, lines[-1], "a name without a sequence: the file ends there", "is it whole? Fetch it again")
    if length > 0:
        lengths.append(length)


def _csv(file: Path, stream: io.BufferedReader, found: _Found) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    first = text.readline()
    between = max(",;\t", key=first.count)
    reader = csv.reader(chain([first], text), delimiter=between, strict=True)
    try:
        _rows(file, reader, found)
    except csv.Error as error:
        raise _broken(file, reader.line_num, f"no CSV ({error})", "every quote that opens must close") from None
    finally:
        text.detach()


def _rows(file: Path, reader: Reader, found: _Found) -> None:
    names = next(reader, [])
    lower = [name.strip().lower() for name in names]
    at = next((lower.index(name) for name in COLUMNS if name in lower), None)
    target = lower.index(TARGET) if TARGET in lower else None
    wide = len(names)
    if at is None:
        alone = wide == 1 and bool(lower[0]) and not set(lower[0].upper()) - set(RESIDUES)
        if not alone:
            there = ", ".join(clean(name)[:SHOWN_LETTERS] for name in names if name.strip()) or "nothing"
            raise _broken(file, 1, f"no column called sequence (there is {there})", "name the columns there")
        at = 0
        _one(found, names[0], "", 1)
    letters, lengths, lines, targets = found.letters, found.lengths, found.lines, found.targets
    for row in reader:
        if len(row) != wide:
            if not row or row == [""]:
                continue
            what = f"{plural(len(row), 'column')} where the first line has {wide}"
            raise _broken(file, reader.line_num, what, "is it whole? Fetch it again, or mend that line")
        text = row[at].strip()
        letters.append(text.encode())
        lengths.append(len(letters[-1]))
        lines.append(reader.line_num)
        if target is not None:
            targets.append(row[target].strip())


def _one(found: _Found, text: str, target: str, line: int) -> None:
    found.letters.append(text.strip().encode())
    found.lengths.append(len(found.letters[-1]))
    found.lines.append(line)
    if target:
        found.targets.append(target)


def _checked(file: Path, found: _Found) -> Sequences:
    """As tokens, or DataError with the first few that cannot be any."""
    lengths = np.array(found.lengths, dtype=np.int64)
    joined = b"".join(found.letters)
    numbers, ends = numbered(joined), np.cumsum(lengths)
    unknown = np.zeros(len(lengths), dtype=bool)
    unknown[np.searchsorted(ends, np.flatnonzero(numbers == UNKNOWN), side="right")] = True
    bad = unknown | (lengths < MIN_LENGTH) | (lengths > MAX_LENGTH)
    if bad.any():
        raise DataError(_told(file, found, np.flatnonzero(bad), joined, ends))
    names, targets = _targets(file, found)
    return Sequences(rows(numbers, lengths), lengths.astype(np.uint8), targets, names)


def _targets(file: Path, found: _Found) -> tuple[tuple[str, ...], NDArray[np.uint16]]:
    """The names, '' first, and each sequence's number among them."""
    if not found.targets:
        return ("",), np.zeros(len(found.lengths), dtype=np.uint16)
    names = ("", *sorted(set(found.targets) - {""}))
    if len(names) > MOST_TARGETS:
        raise DataError(f"{shown(file)}: {len(names) - 1:,} targets; {MOST_TARGETS - 1:,} can be told apart")
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[name] for name in found.targets], dtype=np.uint16)


def _told(file: Path, found: _Found, bad: NDArray[np.int64], joined: bytes, ends: NDArray[np.int64]) -> str:
    first = []
    for row in bad[:NAMED]:
        text = joined[int(ends[row]) - found.lengths[row] : int(ends[row])]
        first.append(f"line {found.lines[row]}: {_quoted(text)} {_why(text)}")
    more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return (
        f"{shown(file)}: {len(bad):,} of {plural(len(found.lengths), 'sequence')} cannot be learnt from: "
        f"{'; '.join(first)}{more}. A sequence has {MIN_LENGTH} to {MAX_LENGTH} of the {PAD} amino acids {RESIDUES}; "
        "take the others out of the file"
    )


def _why(text: bytes) -> str:
    strange = sorted({chr(letter) for letter, number in zip(text, numbered(text), strict=True) if number == UNKNOWN})
    if strange:
        return f"holds {clean(', '.join(strange))}, no amino acid"
    return f"has {plural(len(text), 'residue')}"


def _quoted(text: bytes) -> str:
    said = clean(text[:SHOWN_LETTERS].decode(errors="replace"))
    return f"'{said}{'…' if len(text) > SHOWN_LETTERS else ''}'"


def _broken(file: Path, line: int, what: str, right: str) -> DataError:
    return DataError(f"{shown(file)}, line {max(1, line)}: {what}; {right}")
