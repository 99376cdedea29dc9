"""`python -P -m engine.training.check PLAN_JSON [--quick]`: would this plan train? One JSON object on stdout.

`PLAN_JSON` is a file, or - for stdin; no experiment need exist. Every volume is read to its end; with `--quick` only
headers are, nothing slow is imported, and what needs the voxels or the model is left empty. Nothing is ever written.
Exit codes: 0 nothing wrong, 2 errors (they are in the report).
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from engine.config.experiment import Plan, draws_per_epoch, of_variant, steps_per_epoch, variants_of
from engine.config.sources import MADE
from engine.counts import plural
from engine.errors import UsageError
from engine.machine.device_preview import missing_devices, quick_device
from engine.memory.footprint import Estimate
from engine.training import needs, tokenise
from engine.training.data import cache
from engine.training.data.conform import check_prepare
from engine.training.data.discover import find
from engine.training.data.nifti import shown
from engine.training.folds import ACQUISITION, Member, make_folds, table
from engine.training.looking import Looked, imagined, look_at_all

SHOWN_ERRORS = 20


class Range(msgspec.Struct, frozen=True, kw_only=True):
    low: float
    middle: float
    high: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `strata`: how many of each stratum every fold holds out. Bytes, mm, mm³."""

    ok: bool
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    quick: bool = False
    experiment: str = ""
    runs: int = 0
    epochs: int = 0
    subjects: int = 0
    shapes: dict[str, int] = {}
    spacings_mm: Range | None = None
    orientations: dict[str, int] = {}
    acquisitions: dict[str, int] = {}
    lesions_mm3: Range | None = None
    stratified_by: tuple[str, ...] = ()
    strata: dict[str, tuple[int, ...]] = {}
    folds: tuple[dict[str, int], ...] = ()
    prepared_shape: tuple[int, int, int] = (0, 0, 0)
    disk: dict[str, int] = {}
    memory: dict[str, int] = {}
    budget: tuple[str, ...] = ()
    estimate: Estimate | None = None
    model: dict[str, str | int] = {}
    device: dict[str, str] = {}


def check(plan: Plan, quick: bool) -> Report:
    """The whole report. Raises UsageError for a plan that cannot be looked at at all."""
    experiment = plan.experiment
    if experiment.task == "peptides":
        report = _with_memory(_of_sequences(plan, quick), plan, ())
        return report if quick else _with_model(report, plan)
    check_prepare(experiment.prepare)
    warnings: list[str] = []
    if experiment.data.source in MADE:
        looked = imagined(plan)
    else:
        if not plan.data_dir:
            raise UsageError(f"{plan.experiment_name} needs volumes of your own: give their folder with --data DIR")
        found = find(experiment.data, Path(plan.data_dir))
        warnings += found.warnings
        looked = look_at_all(found.cases, plan, quick)
    errors = [one.error for one in looked if one.error]
    if missing := missing_devices(plan):
        errors.insert(0, missing)
    report = Report(
        ok=not errors,
        errors=_first(errors),
        warnings=(*warnings, *_twins(looked)),
        quick=quick,
        experiment=plan.experiment_name,
        runs=len(plan.runs),
        epochs=experiment.epochs,
        subjects=len(looked),
        acquisitions=dict(Counter(one.case.acquisition for one in looked if one.case.acquisition)),
        prepared_shape=experiment.prepare.shape,
        device=quick_device(plan.device),
    )
    steps = (_with_headers, _with_folds, _with_disk, _with_memory)
    for step in steps:
        report = step(report, plan, looked)
    return report if quick else _with_model(report, plan)


def _of_sequences(plan: Plan, quick: bool) -> Report:
    """A held-out fold is scored in parts, `test` of them, which hold `held_out` sequences."""
    missing = missing_devices(plan)
    try:
        found = tokenise.look(plan)
        if found.needed and plan.cache_dir:
            cache.check_writable(Path(plan.cache_dir))
            cache.check_room(Path(plan.cache_dir), found.needed)
    except UsageError as error:
        return Report(
            ok=False, errors=(*([missing] if missing else []), str(error)), quick=quick,
            experiment=plan.experiment_name, device=quick_device(plan.device),
        )
    disk = {"needed": found.needed, "prepared": found.prepared}
    return Report(
        ok=not missing, errors=(missing,) if missing else (), warnings=found.warnings, quick=quick,
        experiment=plan.experiment_name, runs=len(plan.runs), epochs=plan.experiment.epochs,
        subjects=found.record.count, stratified_by=tokenise.BY, device=quick_device(plan.device),
        folds=tuple(
            {
                "fold": split.fold, "train": split.draws, "test": len(split.test),
                "held_out": found.record.count - split.draws, "steps_per_epoch": steps_per_epoch(split, plan.profile),
            }
            for split in found.splits
        ),
        disk=disk | ({"free": cache.free_bytes(Path(plan.cache_dir))} if plan.cache_dir else {}),
    )


def _first(errors: Sequence[str]) -> tuple[str, ...]:
    more = len(errors) - SHOWN_ERRORS
    return (*errors[:SHOWN_ERRORS], *([f"… and {more} more volumes"] if more > 0 else ()))


def _twins(looked: Iterable[Looked]) -> tuple[str, ...]:
    same: dict[str, list[str]] = defaultdict(list)
    for one in looked:
        if one.content:
            same[one.content].append(one.case.id)
    named = [" = ".join(names) for names in same.values() if len(names) > 1]
    if not named:
        return ()
    listed = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return (f"images that are there more than once: {len(named)} ({listed}); folds may test on what they learnt from",)


def _with_headers(report: Report, _plan: Plan, looked: Sequence[Looked]) -> Report:
    headers = [one.header for one in looked if one.header]
    shapes = Counter(" × ".join(str(n) for n in header.shape) for header in headers)
    return msgspec.structs.replace(
        report,
        shapes=dict(shapes.most_common()),
        orientations=dict(Counter(header.orientation for header in headers).most_common()),
        spacings_mm=_range([s for header in headers for s in header.spacing_mm]),
        lesions_mm3=_range([one.lesion_mm3 for one in looked if one.lesion_mm3 is not None]),
    )


def _range(values: Sequence[float]) -> Range | None:
    return Range(low=min(values), middle=median(values), high=max(values)) if values else None


def _with_folds(report: Report, plan: Plan, looked: Sequence[Looked]) -> Report:
    """Fold sizes do not depend on strata, so they are right even where lesion sizes are not known yet."""
    runs = plan.experiment.runs
    known = all(one.lesion_mm3 is not None for one in looked)
    by = runs.stratify if known else tuple(name for name in runs.stratify if name == ACQUISITION)
    try:
        folds = make_folds(
            [
                Member(
                    id=one.case.id, lesion_mm3=one.lesion_mm3 or 0.0, acquisition=one.case.acquisition,
                    group=one.case.group,
                )
                for one in looked
            ],
            runs.folds, runs.split_seed, by, plan.experiment.patch.per_volume,
        )
    except UsageError as error:
        return msgspec.structs.replace(report, ok=False, errors=(*report.errors, str(error)))
    return msgspec.structs.replace(
        report,
        stratified_by=folds.stratified_by,
        strata=table(folds) if known else {},
        warnings=(*report.warnings, *(folds.warnings if known else ())),
        folds=tuple(
            {
                "fold": split.fold,
                "train": len(split.train),
                "test": len(split.test),
                "steps_per_epoch": steps_per_epoch(split, plan.profile),
                **({"draws": draws_per_epoch(split, plan.profile)} if split.draws else {}),
            }
            for split in folds.splits
        ),
    )


def _with_disk(report: Report, plan: Plan, looked: Sequence[Looked]) -> Report:
    needed = sum(one.bytes for one in looked if not one.cached)
    disk = {"needed": needed, "prepared": sum(one.bytes for one in looked if one.cached)}
    if not plan.cache_dir:
        return msgspec.structs.replace(report, disk=disk)
    folder = Path(plan.cache_dir)
    report = msgspec.structs.replace(report, disk=disk | {"free": cache.free_bytes(folder)})
    try:
        if needed:
            cache.check_writable(folder)
            cache.check_room(folder, needed)
    except UsageError as error:
        return msgspec.structs.replace(report, ok=False, errors=(*report.errors, str(error)))
    return report


def _with_memory(report: Report, plan: Plan, _looked: Sequence[Looked]) -> Report:
    samples = max((fold["train"] for fold in report.folds), default=0)
    told = needs.known(plan, report.device["kind"], samples, None if report.quick else _estimate(plan, report))
    memory, made = needs.memory(plan, told)
    batch = int(plan.profile["batch_size"])
    errors = [
        f"batch_size {batch} is more than the {plural(draws, 'sample')} of an epoch of fold {fold['fold']}"
        for fold in report.folds
        if (draws := fold.get("draws", fold["train"])) < batch and not plan.profile["steps_per_epoch"]
    ][:1]
    if not plan.over_budget:
        errors += needs.refusals(made)
    return msgspec.structs.replace(
        report, memory=memory, budget=needs.told(made), estimate=told.estimate, ok=report.ok and not errors,
        errors=(*report.errors, *errors), warnings=(*report.warnings, *needs.warnings(plan, made)),
    )


def _estimate(plan: Plan, report: Report) -> Estimate | None:
    """Of a step's memory, from the network itself, of variants the one with the most parameters; None where torch
    cannot tell without computing."""
    from engine.training import vram

    try:
        return vram.of_plan(plan, report.device["kind"])
    except Exception:  # an unknown model is reported where the network is built; anything else is torch's
        return None


def _with_model(report: Report, plan: Plan) -> Report:
    """The network of every variant built once, and the device asked for by the name the trainer will use."""
    from engine.training import device, losses, models
    from engine.training.augment import chain

    config = plan.experiment.model
    errors = list(report.errors)
    described: dict[str, str | int] = {"name": config.name, "channels": config.channels}
    found = report.device
    try:
        for variant in variants_of(plan.runs):
            made = of_variant(plan.experiment, variant)
            described[f"parameters {variant}".rstrip()] = models.parameters(models.build(made.model))
            losses.build(made)
            chain.build(made.augment)
    except UsageError as error:
        errors.append(str(error))
    try:
        chosen = device.chosen(plan.device)
        found = {"kind": chosen.type, "name": device.name(chosen)}
    except UsageError as error:
        errors.append(str(error))
    return msgspec.structs.replace(report, ok=not errors, errors=tuple(errors), model=described, device=found)


def _plan(name: str) -> Plan:
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return msgspec.json.decode(text, type=Plan)
    except OSError as error:
        raise UsageError(f"{shown(name)}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(name)}: not a plan: {error}") from None


def main(arguments: Sequence[str]) -> int:
    names = [argument for argument in arguments if argument != "--quick"]
    if len(names) != 1:
        print("usage: python -P -m engine.training.check PLAN_JSON|- [--quick]", file=sys.stderr)
        return 2
    try:
        report = check(_plan(names[0]), quick="--quick" in arguments)
    except UsageError as error:
        report = Report(ok=False, errors=(str(error),))
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()
    return 0 if report.ok else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
