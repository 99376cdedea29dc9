"""`python -P -m engine.training.check PLAN_JSON [--quick]`: would this plan train? One JSON object on stdout.

`PLAN_JSON` is a file, or - for stdin; no experiment need exist. Every volume is read to its end; with `--quick` only
headers are, nothing slow is imported, and what needs the voxels or the model is left empty. Nothing is ever written.
Exit codes: 0 nothing wrong, 2 errors (they are in the report).
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from engine.config.experiment import of_variant
from engine.config.plan import Plan
from engine.config.prepared import draws_per_epoch, steps_per_epoch
from engine.config.run_keys import variants_of
from engine.config.sources import MADE, Unit, missing, source_of, trained_on
from engine.config.unscored import switched_off
from engine.counts import plural
from engine.errors import UsageError
from engine.machine.device_preview import missing_devices, quick_device
from engine.memory.footprint import Estimate
from engine.training import needs, requirements, tokenise
from engine.training.data import cache, labels
from engine.training.data.conform import check_prepare
from engine.training.data.discover import find
from engine.training.data.nifti import shown
from engine.training.folds import ACQUISITION, Member, make_folds, table
from engine.training.looking import Looked, imagined, look_at_all
from engine.training.requirements import Need

SHOWN_ERRORS = 20
# What differs among cases, as its source tells it.
MEASURED: Mapping[Unit, Callable[[Looked], float | None]] = {
    "mm³": lambda one: one.lesion_mm3, "% of the volume": lambda one: one.percent,
}


class Range(msgspec.Struct, frozen=True, kw_only=True):
    low: float
    middle: float
    high: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `data`: what it trains on; `spreads`: what differs among cases, by name and unit; `strata`: how
    many of each stratum every fold holds out; `needs`: what the whole training takes. Bytes, mm, mm³."""

    ok: bool
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    quick: bool = False
    experiment: str = ""
    data: str = ""
    runs: int = 0
    epochs: int = 0
    subjects: int = 0
    shapes: dict[str, int] = {}
    spacings_mm: Range | None = None
    orientations: dict[str, int] = {}
    acquisitions: dict[str, int] = {}
    lesions_mm3: Range | None = None
    spreads: dict[str, Range] = {}
    stratified_by: tuple[str, ...] = ()
    strata: dict[str, tuple[int, ...]] = {}
    folds: tuple[dict[str, int], ...] = ()
    prepared_shape: tuple[int, int, int] = (0, 0, 0)
    disk: dict[str, int] = {}
    memory: dict[str, int] = {}
    budget: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    estimate: Estimate | None = None
    model: dict[str, str | int] = {}
    device: dict[str, str] = {}


def check(plan: Plan, quick: bool) -> Report:
    """The whole report. Raises UsageError for a plan that cannot be looked at at all."""
    first = Report(
        ok=True, quick=quick, experiment=plan.experiment_name, data=trained_on(plan), runs=len(plan.runs),
        epochs=plan.experiment.epochs, prepared_shape=plan.experiment.prepare.shape, device=quick_device(plan.device),
    )
    if why := missing_devices(plan):
        first = _wrong(first, why)
    first = _wrong(first, *requirements.absent(plan.experiment))
    if why := missing(plan):
        report = _with_memory(_wrong(first, why), plan, ())
    else:
        report = LOOKS[plan.experiment.task](first, plan)
    return report if quick else _with_model(report, plan)


def _wrong(report: Report, *errors: str) -> Report:
    return msgspec.structs.replace(report, ok=False, errors=(*report.errors, *errors)) if errors else report


def _of_volumes(report: Report, plan: Plan) -> Report:
    experiment = plan.experiment
    check_prepare(experiment.prepare)
    warnings: list[str] = []
    if experiment.data.source in MADE:
        looked = imagined(plan)
    else:
        found = find(experiment.data, Path(plan.data_dir))
        warnings += found.warnings
        looked = look_at_all(found.cases, plan, report.quick)
    report = msgspec.structs.replace(
        _wrong(report, *_first([one.error for one in looked if one.error])),
        warnings=(
            *warnings, *_twins(looked), *labels.several([(one.case.id, one.label_values) for one in looked])
        ),
        subjects=len(looked),
        acquisitions=dict(Counter(one.case.acquisition for one in looked if one.case.acquisition)),
    )
    for step in (_with_headers, _with_folds, _with_disk, _with_memory):
        report = step(report, plan, looked)
    return report


def _of_sequences(report: Report, plan: Plan) -> Report:
    """A held-out fold is scored in parts, `test` of them, which hold `held_out` sequences."""
    try:
        found = tokenise.look(plan)
        if found.needed and plan.cache_dir:
            cache.check_writable(Path(plan.cache_dir))
            cache.check_room(Path(plan.cache_dir), found.needed)
    except UsageError as error:
        return _wrong(report, str(error))
    disk = {"needed": found.needed, "prepared": found.prepared}
    low, middle, high = found.lengths
    report = msgspec.structs.replace(
        report, warnings=found.warnings, subjects=found.record.count, stratified_by=tokenise.BY,
        spreads={source_of(plan.experiment).told: Range(low=low, middle=middle, high=high)},
        folds=tuple(
            {
                "fold": split.fold, "train": split.draws, "test": len(split.test),
                "held_out": found.record.count - split.draws, "steps_per_epoch": steps_per_epoch(split, plan.profile),
            }
            for split in found.splits
        ),
        disk=disk | ({"free": cache.free_bytes(Path(plan.cache_dir))} if plan.cache_dir else {}),
    )
    return _with_memory(report, plan, ())


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


def _with_headers(report: Report, plan: Plan, looked: Sequence[Looked]) -> Report:
    headers, source = [one.header for one in looked if one.header], source_of(plan.experiment)
    shapes = Counter(" × ".join(str(n) for n in header.shape) for header in headers)
    spread = _range([value for one in looked if (value := MEASURED[source.unit](one)) is not None])
    return msgspec.structs.replace(
        report,
        shapes=dict(shapes.most_common()),
        orientations=dict(Counter(header.orientation for header in headers).most_common()) if source.spacing else {},
        spacings_mm=_range([s for header in headers for s in header.spacing_mm]) if source.spacing else None,
        lesions_mm3=spread if source.unit == "mm³" else None,
        spreads={source.told: spread} if spread is not None else {},
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


def _with_memory(report: Report, plan: Plan, looked: Sequence[Looked]) -> Report:
    samples, kind = max((fold["train"] for fold in report.folds), default=0), report.device["kind"]
    kept = [one.kept for one in looked]
    # What is wrong with data is told at once; without any the question is what the experiment needs.
    counts = not report.quick and (report.ok or not plan.data_dir)
    told = needs.known(plan, kind, samples, _estimate(plan, kind) if counts else None, kept)
    memory, made = needs.memory(plan, told)
    # On data of one's own the whole training is meant, and that is done on a GPU, if not here.
    wanted = counts and kind != "cuda" and plan.experiment.data.source not in MADE
    # Of a device only the meaning of precision = auto is counted with; any other is the same sum on both.
    same = plan.profile["precision"] != "auto"
    on_gpu = (told.estimate if same else _estimate(plan, "cuda")) if wanted else None
    needed = requirements.needs(plan, told, report.disk, report.folds, on_gpu)
    batch = int(plan.profile["batch_size"])
    errors = [
        f"batch_size {batch} is more than the {plural(draws, 'sample')} of an epoch of fold {fold['fold']}"
        for fold in report.folds
        if (draws := fold.get("draws", fold["train"])) < batch and not plan.profile["steps_per_epoch"]
    ][:1]
    if not plan.over_budget:
        errors += needs.refusals(made)
    return msgspec.structs.replace(
        _wrong(report, *errors), memory=memory, budget=needs.told(made), needs=needed, estimate=told.estimate,
        warnings=(*report.warnings, *needs.warnings(plan, made), *([off] if (off := switched_off(plan)) else ())),
    )


def _estimate(plan: Plan, kind: str) -> Estimate | None:
    """Of a step's memory on a device of this kind, from the network itself, of variants the one with the most
    parameters; None where torch cannot tell without computing."""
    from engine.training import vram

    try:
        return vram.of_plan(plan, kind)
    except Exception:  # an unknown model is reported where the network is built; anything else is torch's
        return None


LOOKS: Mapping[str, Callable[[Report, Plan], Report]] = {"segmentation": _of_volumes, "peptides": _of_sequences}


def _with_model(report: Report, plan: Plan) -> Report:
    """The network of every variant built once, and the device asked for by the name the trainer will use."""
    from engine.training import device, models, precision, tasks
    from engine.training.augment import chain

    config = plan.experiment.model
    errors, warnings = list(report.errors), list(report.warnings)
    described: dict[str, str | int] = {"name": config.name, "channels": config.channels}
    found = report.device
    try:
        for variant in variants_of(plan.runs):
            made = of_variant(plan.experiment, variant)
            described[f"parameters {variant}".rstrip()] = models.parameters(models.build(made.model))
            tasks.criterion(made)
            chain.build(made.augment)
    except UsageError as error:
        errors += [str(error)] if str(error) not in errors else []
    try:
        chosen = device.chosen(plan.device)
        found = {"kind": chosen.type, "name": device.name(chosen)}
        able = device.capability(chosen)
        if able is not None and (said := precision.remark(str(plan.profile["precision"]), able)):
            warnings.append(said)
    except UsageError as error:
        errors.append(str(error))
    return msgspec.structs.replace(
        report, ok=not errors, errors=tuple(errors), warnings=tuple(warnings), model=described, device=found
    )


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
