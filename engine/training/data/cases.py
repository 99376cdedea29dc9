"""One case from its two files to its place in the cache, and several at once in processes that end with this one."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from math import prod
from pathlib import Path

import msgspec

from engine.config.tables import Prepare
from engine.errors import DataError
from engine.machine.cgroup import available_bytes
from engine.machine.cores import machine
from engine.training.data import cache, maps, stacks, tiff
from engine.training.data.conform import conform
from engine.training.data.discover import Case
from engine.training.data.maps import Wanted
from engine.training.data.nifti import Header, shown
from engine.training.data.volumes import read_header, read_pair

MAX_PROCESSES = 8
POLL_SECONDS = 0.5
PR_SET_PDEATHSIG = 1
# Peak memory of one case: the file, float32 of it, turned, resampled and prepared copies.
COPIES = 6


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared case."""

    case: Case
    record: cache.CaseRecord
    reused: bool


def prepare_case(case: Case, folder: Path, prepare: Prepare, want: Wanted | None = None) -> Done:
    """The case in the cache `folder`, prepared now if it is not there, with the maps of its label that are wanted.
    Raises DataError naming the file."""
    want = want or Wanted()
    if tiff.is_tiff(case.image.name):
        record, reused = stacks.prepared(case, folder, prepare, want)
        done = Done(case=case, record=record, reused=reused)
    else:
        done = _conformed(case, folder, prepare)
    maps.check_shape(case.image, done.record.shape, want)
    maps.ensure(folder / done.record.key, want)
    return done


def _conformed(case: Case, folder: Path, prepare: Prepare) -> Done:
    """A pair of NIfTI files."""
    known = [cache.known_digest(folder, file) for file in (case.image, case.label)]
    if known[0] and known[1]:
        record = cache.find(folder, cache.case_key(known[0], known[1], prepare))
        # A record without values is of a time when any label above 0 was taken: it is read, and judged, again.
        if record is not None and record.label_values:
            return Done(case=case, record=record, reused=True)
    pair = read_pair(case.image, case.label)
    cache.remember(folder, case.image, pair.image_sha256)
    cache.remember(folder, case.label, pair.label_sha256)
    key = cache.case_key(pair.image_sha256, pair.label_sha256, prepare)
    record = cache.find(folder, key)
    if record is not None:
        return Done(case=case, record=msgspec.structs.replace(record, label_values=pair.label_values), reused=True)
    try:
        conformed = conform(pair.image, pair.mask, pair.header.matrix, prepare)
    except DataError as error:
        raise DataError(f"{shown(case.image)}: {error}") from None
    header = pair.header
    marked = int(pair.mask.sum(dtype="int64"))
    record = cache.CaseRecord(
        key=key,
        shape=prepare.shape,
        lesion_voxels=int(conformed.label.sum(dtype="int64")),
        lesion_mm3=marked * header.voxel_mm3,
        source_shape=header.shape,
        source_spacing_mm=header.spacing_mm,
        source_orientation=header.orientation,
        image_sha256=pair.image_sha256,
        label_sha256=pair.label_sha256,
        kept=conformed.kept,
        marked=marked / pair.mask.size,
        label_values=pair.label_values,
    )
    return Done(case=case, record=cache.store(folder, record, conformed), reused=False)


def prepare_all(
    cases: Sequence[Case], folder: Path, prepare: Prepare, stopped: Callable[[], bool], processes: int = 0,
    want: Wanted | None = None,
) -> Iterator[Done]:
    """Cases as they are done, in any order; none begins after `stopped()` says so, and those begun are finished.

    `processes` 0 asks the machine. Raises DataError for the first bad case, once those begun are finished.
    """
    count = processes or process_count(cases)
    if count == 1:
        for case in cases:
            if stopped():
                return
            yield prepare_case(case, folder, prepare, want)
        return
    # fork: a child that must import scipy first takes longer than a small case.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_follow, initargs=(os.getpid(),)) as pool:
        waiting = list(reversed(cases))
        running: set[Future[Done]] = set()
        failure: Exception | None = None
        while running or (waiting and not failure and not stopped()):
            while waiting and len(running) < count and not failure and not stopped():
                running.add(pool.submit(prepare_case, waiting.pop(), folder, prepare, want))
            finished, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                error = future.exception()
                if error is None:
                    yield future.result()
                elif not isinstance(error, Exception):
                    raise error
                else:
                    failure = failure or error
        if failure:
            raise failure


def process_count(cases: Sequence[Case]) -> int:
    """As many processes as cores (a container's quota of them) allow and memory bears, MAX_PROCESSES at most."""
    largest = max((_case_bytes(case) for case in cases[:16]), default=1)
    cores = machine().cores
    return max(1, min(cores, len(cases), MAX_PROCESSES, available_bytes() // 2 // largest))


def header_of(case: Case) -> Header:
    """Of the image. Raises DataError."""
    if tiff.is_tiff(case.image.name):
        return tiff.read_header(case.image)
    return read_header(case.image)


def bytes_of(case: Case, prepare: Prepare, want: Wanted, header: Header | None = None) -> int:
    """What a case takes in the cache, at most. Raises DataError where its shape decides and cannot be read."""
    if not tiff.is_tiff(case.image.name):
        return cache.bytes_per_case(prepare) + prod(prepare.shape) * maps.bytes_per_voxel(want)
    header = header or header_of(case)
    voxels = prod(prepare.shape) or prod(header.shape)
    return stacks.bytes_per_case(header.shape, header.dtype, prepare) + voxels * maps.bytes_per_voxel(want)


def _case_bytes(case: Case) -> int:
    try:
        header = header_of(case)
    except DataError:
        return 1
    voxels = header.shape[0] * header.shape[1] * header.shape[2]
    return header.data_bytes + voxels * 4 * COPIES


def _follow(parent: int) -> None:
    """In a new child: end with the parent however that ends, and let it decide what a signal to the group means."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
