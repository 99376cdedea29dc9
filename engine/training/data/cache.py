"""Prepared volumes on disk, shared by all experiments: a folder per content and settings, written whole or not at all.

    CACHE/<key>/image.npy       C order, of the prepared shape; float32, or of TIFF as it was stored
    CACHE/<key>/label.npy       uint8 {0, 1}, the same shape; of TIFF the values it was stored with
    CACHE/<key>/case.json       CaseRecord
    CACHE/<key>/NAME-I.npy      what is made of the label alone (engine.training.data.maps)
    CACHE/index/<hash>.json     a source file's digest, valid while its size and times stay as they were

`key` is a digest of both files' contents, the settings of preparation and the format. A case is written into
`<key>.tmp.<host>.<pid>.<start>.<random>/`, forced to the disk and renamed: whoever sees `<key>/` sees all of it, and of
several processes that prepare the same case one wins while the others use its work.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from engine.config.tables import Prepare
from engine.errors import DataError, UsageError
from engine.paths import FOLDER_MODE, read_json, sync_folder, write_json
from engine.process import start_ticks
from engine.training.data.conform import Conformed
from engine.training.data.nifti import shown
from engine.training.data.volumes import Floats, Mask, digest

FORMAT = 1
IMAGE, LABEL, RECORD = "image.npy", "label.npy", "case.json"
INDEX = "index"
# A file changed this shortly before it was read may change again without its times showing it.
SETTLED_SECONDS = 2.0
# A temporary folder of another machine is left over once it is this old.
FOREIGN_SECONDS = 86_400.0
# What a conformed image is stored as.
CONFORMED = np.dtype(np.float32).str
BYTES_PER_VOXEL = np.dtype(np.float32).itemsize + np.dtype(np.uint8).itemsize
RECORD_BYTES = 8192
ELSEWHERE = "set STEPTOP_CACHE to a folder of yours on a disk with room"


class DiskFull(DataError):
    """Not enough room for the prepared volumes."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An array that is read from the file it came in: `dtype` as numpy writes it, what the file looked like then."""

    file: str
    dtype: str
    offset: int
    size: int
    mtime_ns: int

    @property
    def there(self) -> bool:
        try:
            now = Path(self.file).stat()
        except (OSError, ValueError):
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)


class CaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """case.json: what is in the two arrays and where they came from.

    `kept`: share of the lesion inside the prepared shape; `marked`: share of the source volume that the label marks;
    `label_values`: the least of those that a NIfTI label was stored as. `dtype`: of the image, whose values `low` to
    `high` become 0 to 1. `image_at`, `label_at`: where an array is read that is not here.
    """

    format: int = FORMAT
    key: str
    shape: tuple[int, int, int]
    lesion_voxels: int
    lesion_mm3: float
    source_shape: tuple[int, int, int]
    source_spacing_mm: tuple[float, float, float]
    source_orientation: str
    image_sha256: str
    label_sha256: str
    kept: float = 1.0
    marked: float = 0.0
    label_values: tuple[float, ...] = ()
    dtype: str = CONFORMED
    low: float = 0.0
    high: float = 1.0
    image_at: Place | None = None
    label_at: Place | None = None


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """A source file's digest and what the file looked like then."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


def case_key(image_sha256: str, label_sha256: str, prepare: Prepare) -> str:
    """The name of a prepared case: 64 hex digits."""
    body = {"format": FORMAT, "image": image_sha256, "label": label_sha256, "prepare": prepare}
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def bytes_per_case(prepare: Prepare) -> int:
    """What one prepared case takes on disk."""
    return int(np.prod(prepare.shape)) * BYTES_PER_VOXEL + RECORD_BYTES


def find(cache: Path, key: str) -> CaseRecord | None:
    """The case if it is there and whole."""
    record = read_json(cache / key / RECORD, CaseRecord)
    if record is None or record.key != key or record.format != FORMAT:
        return None
    voxels = int(np.prod(record.shape))
    for name, kind, place in ((IMAGE, record.dtype, record.image_at), (LABEL, "|u1", record.label_at)):
        if place is not None:
            if not place.there:
                return None
            continue
        try:
            array = np.load(cache / key / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.shape != record.shape or array.dtype != kind or array.size != voxels or not array.flags.c_contiguous:
            return None
    return record


def open_case(folder: Path) -> tuple[Floats, Mask]:
    """Both arrays of a prepared case, memory-mapped read-only. Raises DataError if they are not there or not right."""
    try:
        image = np.load(folder / IMAGE, mmap_mode="r", allow_pickle=False)
        label = np.load(folder / LABEL, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{shown(folder)}: a prepared volume cannot be read ({error}); prepare again") from None
    if image.dtype != np.float32 or label.dtype != np.uint8 or image.shape != label.shape:
        raise DataError(f"{shown(folder)}: not a prepared volume; remove the folder and prepare again")
    return image, label


class Arrays(NamedTuple):
    """What is written of a case: None for what stays in the file it came in."""

    image: NDArray[Any] | None
    label: Mask | None


def store(cache: Path, record: CaseRecord, conformed: Conformed | Arrays) -> CaseRecord:
    """Write a case under its key, or take what another process wrote meanwhile."""
    final = cache / record.key
    temporary = cache / temporary_name(record.key)
    temporary.mkdir(mode=FOLDER_MODE)
    try:
        for name, array in ((IMAGE, conformed.image), (LABEL, conformed.label)):
            if array is not None:
                write_array(temporary / name, array)
        write_json(temporary / RECORD, record)
        publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = find(cache, record.key)
    if found is None:
        for place in (record.image_at, record.label_at):
            if place is not None and not place.there:
                raise DataError(f"{shown(place.file)}: it changed while it was prepared; start again")
        # Something is there that is no case: put it out of the way, then there is room for this one.
        damaged = cache / temporary_name(record.key)
        final.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        return store(cache, record, conformed)
    return found


def add_array(path: Path, array: NDArray[Any]) -> None:
    """Put an array beside a prepared case, or take what another process put there meanwhile."""
    temporary = path.with_name(temporary_name(path.name))
    try:
        write_array(temporary, array)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> bool:
    """Give a finished folder its name, forced to the disk; False if another process was first."""
    sync_folder(temporary)
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    sync_folder(final.parent)
    return True


def clean(folder: Path) -> int:
    """Remove what killed preparations left behind; how many there were. Work of living processes is spared."""
    removed = 0
    for path in folder.glob("*.tmp.*"):
        if _abandoned(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed += 1
    return removed


def known_digest(cache: Path, file: Path) -> str | None:
    """The digest of `file` from the index, if it looks as it did then."""
    entry = read_json(_entry(cache, file), Digest)
    try:
        now = file.stat()
    except OSError:
        return None
    if entry is None or (entry.size, entry.mtime_ns, entry.ctime_ns) != (now.st_size, now.st_mtime_ns, now.st_ctime_ns):
        return None
    return entry.sha256


def learn_digest(cache: Path, file: Path) -> str:
    """The digest of `file`, from the index or by reading it. Raises DataError if it cannot be read."""
    known = known_digest(cache, file)
    if known is None:
        known = digest(file)
        remember(cache, file, known)
    return known


def remember(cache: Path, file: Path, sha256: str) -> None:
    """Put a digest into the index, unless the file has changed so lately that it may change again unseen."""
    try:
        now = file.stat()
    except OSError:
        return
    if time.time() - now.st_mtime < SETTLED_SECONDS:
        return
    entry = _entry(cache, file)
    entry.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    write_json(entry, Digest(
        path=ascii(str(file)), size=now.st_size, mtime_ns=now.st_mtime_ns, ctime_ns=now.st_ctime_ns, sha256=sha256,
    ))


def check_room(cache: Path, needed: int) -> None:
    """Raises DiskFull unless `needed` bytes are free where `cache` lies."""
    free = free_bytes(cache)
    if needed > free:
        raise DiskFull(
            f"{shown(cache)}: the prepared volumes need {_size(needed)}, {_size(free)} are free there; "
            f"free some space, or {ELSEWHERE}"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def free_bytes(folder: Path) -> int:
    """Bytes this user may still write where `folder` lies or will lie."""
    info = os.statvfs(_nearest(folder))
    return info.f_bavail * info.f_frsize


def check_writable(folder: Path) -> None:
    """Raises UsageError unless this user may write into `folder`, or make it. Nothing is tried out."""
    there = _nearest(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    why = f"{shown(there)} is " + ("closed to you" if there.is_dir() else "no folder")
    raise UsageError(f"{shown(folder)}: prepared volumes cannot be written there ({why}); open it, or {ELSEWHERE}")


def _nearest(folder: Path) -> Path:
    """`folder`, or of the folders it lies in the lowest one that is there and can be seen."""
    for place in (folder, *folder.absolute().parents):
        with contextlib.suppress(PermissionError):
            if place.exists():
                return place
    return Path("/")


def _entry(cache: Path, file: Path) -> Path:
    name = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]
    return cache / INDEX / f"{name}.json"


def write_array(path: Path, array: NDArray[Any]) -> None:
    """`array` (C order) as .npy, forced to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # Not numpy's own way to write: its error for a full disk does not say that the disk is full.
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def temporary_name(name: str) -> str:
    """A name no other process uses, which says whose it is."""
    pid = os.getpid()
    return f"{name}.tmp.{_host()}.{pid}.{start_ticks(pid) or 0}.{secrets.token_hex(4)}"


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _abandoned(path: Path) -> bool:
    """Whether its writer is gone: told by pid and start time on this machine, by age on another."""
    words = path.name.partition(".tmp.")[2].split(".")
    if len(words) == 4 and words[0] == _host() and words[1].isdigit():
        return str(start_ticks(int(words[1])) or "") != words[2]
    try:
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    except OSError:
        return False
