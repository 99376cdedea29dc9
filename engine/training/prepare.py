"""`python -P -m engine.training.prepare EXPERIMENT_FOLDER`: every volume prepared, folds made, data.json written.

Reads plan.json; writes prepare.jsonl (progress and notes), data.json and, as its last act, prepare-result.json.
Exit codes: 0 done, 2 bad data or usage, 3 stopped (SIGTERM or SIGINT: those begun are finished first), 1 anything else.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Literal

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared, Subject
from engine.config.sources import MADE, example, missing
from engine.config.tables import Data
from engine.config.unscored import switched_off
from engine.errors import DISK_FULL, DataError, UsageError
from engine.journals.events import Note, Outcome, Progress
from engine.journals.journal import Writer
from engine.journals.records import ResultInfo
from engine.paths import FOLDER_MODE, ExperimentPaths, cache_folder, phantom_folder, read_json, write_json
from engine.training import tokenise
from engine.training.data import cache, labels, maps, phantom, sheets
from engine.training.data.cases import Done, bytes_of, prepare_all
from engine.training.data.conform import check_prepare
from engine.training.data.discover import Case, Found, find
from engine.training.data.nifti import shown
from engine.training.folds import Member, make_folds

# Source -> what writes its files, and the source they then are.
GENERATED: dict[str, tuple[Callable[[Data, Path, Callable[[int, int, str], None]], Path], Literal["bids", "tiff"]]] = {
    "phantom": (phantom.write, "bids"), "sheets": (sheets.write, "tiff"),
}
EXIT: dict[Outcome, int] = {"finished": 0, "failed": 1, "stopped": 3}
NAMED = 5
# A lesion cut by more, or a label that marks more of its volume, is worth a sentence.
LOST_SHARE = 0.01
LARGE_SHARE = 0.8


class Stop:
    """Set by SIGTERM, SIGINT or SIGUSR1 (Slurm's warning), looked at between volumes."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def prepare(plan: Plan, logs: Path, writer: Writer, stopped: Callable[[], bool], processes: int = 0) -> Prepared | None:
    """All of the plan's cases in its cache, and the folds over them; None if stopped before the last case.

    Raises DataError or UsageError; nothing half-written is left in use whatever happens.
    """
    began = time.monotonic()
    experiment = plan.experiment
    if off := switched_off(plan):
        writer.write(Note(text=off, level="warn"))
    if experiment.task != "peptides":
        check_prepare(experiment.prepare)
    folder = Path(plan.cache_dir) if plan.cache_dir else cache_folder(logs)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    cache.clean(folder)
    cache.clean(folder / cache.INDEX)
    if experiment.task == "peptides":
        made = tokenise.prepare(plan, folder, writer, stopped)
        return msgspec.structs.replace(made, seconds=time.monotonic() - began) if made is not None else None
    found = sources(plan, logs, writer)
    for text in found.warnings:
        writer.write(Note(text=text, level="warn"))
    _check_room(found.cases, folder, plan)
    done: list[Done] = []
    writer.write(Progress(name="prepare", done=0, total=len(found.cases)))
    for one in prepare_all(found.cases, folder, experiment.prepare, stopped, processes, maps.wanted(experiment)):
        done.append(one)
        writer.write(Progress(name="prepare", done=len(done), total=len(found.cases), text=one.case.id))
    if len(done) < len(found.cases):
        return None
    done.sort(key=lambda one: one.case.id)
    result = _with_folds(plan, folder, done)
    for text in result.warnings:
        writer.write(Note(text=text, level="warn"))
    result = msgspec.structs.replace(result, warnings=(*found.warnings, *result.warnings))
    reused = sum(one.reused for one in done)
    told = f"{len(done)} volumes are ready" + (f", {reused} of them from earlier" if reused else "")
    writer.write(Note(text=told, level="good"))
    return msgspec.structs.replace(result, seconds=time.monotonic() - began)


def sources(plan: Plan, logs: Path, writer: Writer) -> Found:
    """The plan's cases; what steptop makes itself is written first if it is not there. Raises DataError or UsageError.
    """
    data = plan.experiment.data
    if data.source in GENERATED:
        write, layout = GENERATED[data.source]

        def progress(done: int, total: int, name: str) -> None:
            writer.write(Progress(name=MADE[data.source], done=done, total=total, text=name))

        writer.write(Note(text=example(plan.experiment)))
        folder = write(data, phantom_folder(logs), progress)
        return find(msgspec.structs.replace(data, source=layout, image="", label=""), folder)
    if why := missing(plan):
        raise UsageError(why)
    return find(data, Path(plan.data_dir))


def data_hash(done: Sequence[Done], splits: object) -> str:
    """A digest of all that runs learn from and are held out on: contents, settings, ids and folds. 16 hex digits."""
    body = ([(one.case.id, one.record.key, one.case.acquisition, one.case.group) for one in done], splits)
    return hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:16]


def _with_folds(plan: Plan, folder: Path, done: Sequence[Done]) -> Prepared:
    """The cases as subjects with their folds; warnings are those that only all cases together give."""
    runs, want = plan.experiment.runs, maps.wanted(plan.experiment)
    members = [member(one.case, one.record.lesion_mm3) for one in done]
    folds = make_folds(members, runs.folds, runs.split_seed, runs.stratify, plan.experiment.patch.per_volume)
    return Prepared(
        subjects=tuple(
            Subject(
                id=one.case.id,
                folder=str((folder / one.record.key).absolute()),
                image_file=_file(one.case.image),
                label_file=_file(one.case.label),
                lesion_voxels=one.record.lesion_voxels,
                lesion_mm3=one.record.lesion_mm3,
                acquisition=one.case.acquisition,
                sha256=one.record.key,
                kept_bytes=maps.kept_bytes(one.record.shape, one.record.dtype, want, one.record.lesion_voxels),
                shape=one.record.shape,
            )
            for one in done
        ),
        splits=folds.splits,
        data_hash=data_hash(done, folds.splits),
        stratified_by=folds.stratified_by,
        warnings=(*_remarks(done), *folds.warnings),
    )


def member(case: Case, lesion_mm3: float) -> Member:
    return Member(id=case.id, lesion_mm3=lesion_mm3, acquisition=case.acquisition, group=case.group)


def _remarks(done: Sequence[Done]) -> tuple[str, ...]:
    """What is odd about the volumes, one sentence a kind however many there are."""
    cut = [f"{one.case.id} by {1.0 - one.record.kept:.0%}" for one in done if one.record.kept < 1.0 - LOST_SHARE]
    large = [one.case.id for one in done if one.record.marked > LARGE_SHARE]
    same: dict[str, list[str]] = defaultdict(list)
    for one in done:
        same[one.record.image_sha256].append(one.case.id)
    twins = [" = ".join(names) for names in same.values() if len(names) > 1]
    kinds = (
        (cut, "lesions cut, partly outside the prepared shape", "a larger prepare.shape keeps them whole"),
        (large, f"labels that mark more than {LARGE_SHARE:.0%} of their volume", "are they masks? Above 0 is lesion"),
        (twins, "images that are there more than once", "folds may test on what they learnt from"),
    )
    told = (f"{what}: {len(names)} ({_listed(names)}); {so}" for names, what, so in kinds if names)
    return (*told, *labels.several([(one.case.id, one.record.label_values) for one in done]))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _file(path: Path) -> str:
    """An absolute path that can go to JSON; bytes that are no UTF-8 are escaped."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")


def _check_room(cases: Sequence[Case], folder: Path, plan: Plan) -> None:
    """Raises DiskFull unless all that is not in the cache yet fits on its disk."""
    prepare, want = plan.experiment.prepare, maps.wanted(plan.experiment)
    free = cache.free_bytes(folder)

    def missing(digest: Callable[[Path, Path], str | None]) -> int:
        needed = 0
        for case in cases:
            image, label = digest(folder, case.image), digest(folder, case.label)
            there = image and label and cache.find(folder, cache.case_key(image, label, prepare))
            needed += 0 if there else bytes_of(case, prepare, want)
        return needed

    # Reading every file for its digest costs minutes, so that only happens where the answer depends on it.
    if missing(cache.known_digest) > free:
        cache.check_room(folder, missing(cache.learn_digest))


def _note_change(paths: ExperimentPaths, result: Prepared, writer: Writer) -> None:
    before = read_json(paths.data, Prepared)
    if before is not None and before.data_hash != result.data_hash:
        text = "the data have changed since they were prepared for this experiment: runs done before count as another's"
        writer.write(Note(text=text, level="warn"))


def _failure(error: BaseException) -> tuple[str, str, int]:
    """What kind of failure it was (as in engine.runs.verdict), said in words, and the exit code."""
    text = str(error) or type(error).__name__
    for expected, kind in ((cache.DiskFull, "disk_full"), (DataError, "bad_data"), (UsageError, "usage")):
        if isinstance(error, expected):
            return kind, text, 2
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "disk_full", f"{text}; free some space and start again: what is prepared so far is kept", 1
    if isinstance(error, PermissionError):
        where = shown(str(error.filename or ""))
        return "closed", f"{where}: {error.strerror}; give yourself the right to read and write there", 2
    if isinstance(error, MemoryError):
        text = "the machine refused memory for a volume; end other programs, or set a smaller prepare.shape"
        return "host_alloc", text, 1
    if isinstance(error, BrokenProcessPool):
        text = "a process that prepared volumes was killed; most often the machine ran out of memory; start again"
        return "worker_killed", text, 1
    return "crash", f"{type(error).__name__}: {text}", 1


def main(arguments: Sequence[str]) -> int:
    os.umask(0o077)
    if len(arguments) != 1:
        print("usage: python -P -m engine.training.prepare EXPERIMENT_FOLDER", file=sys.stderr)
        return 2
    stopped = Stop()
    paths = ExperimentPaths(Path(arguments[0]).absolute())
    plan = read_json(paths.plan, Plan)
    if plan is None:
        print(f"{shown(paths.plan)}: not there, or not a plan; start it with `steptop run`", file=sys.stderr)
        return 2
    outcome: Outcome = "stopped"
    kind, text, code, name = "", "", EXIT["stopped"], ""
    with Writer(paths.prepare) as writer:
        try:
            result = prepare(plan, paths.folder.parent, writer, stopped)
            if result is not None:
                _note_change(paths, result, writer)
                write_json(paths.data, result)
                outcome, code = "finished", EXIT["finished"]
        except Exception as error:
            outcome, name = "failed", type(error).__name__
            kind, text, code = _failure(error)
            if code == 1:
                traceback.print_exc()
            print(text, file=sys.stderr)
            writer.write(Note(text=text, level="bad"))
        try:
            write_json(
                paths.prepare_result,
                ResultInfo(
                    outcome=outcome, attempt=int(os.environ.get("STEPTOP_ATTEMPT", "0")), error=text, error_class=name,
                    kind=kind, at=time.time(),
                ),
            )
        except OSError as error:
            print(f"{shown(paths.prepare_result)}: cannot be written: {error.strerror}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
