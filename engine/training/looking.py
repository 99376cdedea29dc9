"""One pair of files as far as a preflight looks at it: headers alone, or every voxel. Nothing is ever written."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.tables import Data
from engine.errors import DataError
from engine.training.data import cache, maps, phantom, sheets, stacks, tiff
from engine.training.data.cases import bytes_of, process_count
from engine.training.data.conform import resampled_shape
from engine.training.data.discover import Case
from engine.training.data.nifti import Header, check_grids, shown
from engine.training.data.volumes import digest, lesions, read_header, read_raw, scaled


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """One case as far as it was looked at. `bytes`: what it takes in the cache, at most; `kept`: what the knob cache =
    ram keeps of it, at most; `label_values`: as engine.training.data.labels has them, of NIfTI."""

    case: Case
    header: Header | None = None
    lesion_mm3: float | None = None
    cached: bool = False
    bytes: int = 0
    kept: int = 0
    content: str = ""
    label_values: tuple[float, ...] = ()
    error: str = ""

    @property
    def percent(self) -> float | None:
        """How much of its volume the label marks."""
        if self.header is None or self.lesion_mm3 is None:
            return None
        return 100.0 * self.lesion_mm3 / (prod(self.header.shape) * self.header.voxel_mm3)


def imagined(plan: Plan) -> list[Looked]:
    """What steptop would write itself, from its own description: nothing needs to be written to know it."""
    data = plan.experiment.data
    if data.source == "phantom":
        return [_phantom(spec, plan) for spec in phantom.specs(data)]
    sheets.check(data)
    return [_sheet(name, data, plan) for name in sheets.names(data)]


def look_at_all(cases: Sequence[Case], plan: Plan, quick: bool) -> list[Looked]:
    """Threads do: reading and unpacking let go of the interpreter's lock."""
    with ThreadPoolExecutor(1 if quick else process_count(cases)) as pool:
        return list(pool.map(lambda case: _look(case, plan, quick), cases))


def _phantom(spec: phantom.Spec, plan: Plan) -> Looked:
    case = Case(
        id=f"{spec.id}_{spec.session}", image=Path(), label=Path(), group=spec.id,
        acquisition=phantom.acquisition_name(spec),
    )
    header = Header(
        shape=spec.shape, dtype="<i2", spacing_mm=spec.spacing_mm, orientation=spec.axes, affine=(), offset=352,
        data_bytes=prod(spec.shape) * 2,
    )
    return Looked(
        case=case, header=header, lesion_mm3=spec.lesion_mm3, bytes=_bytes(case, header, plan),
        kept=_kept(case, header, plan),
    )


def _sheet(name: str, data: Data, plan: Plan) -> Looked:
    case = Case(id=name, image=Path(f"{name}.tif"), label=Path(f"{name}.tif"), group=name)
    header = tiff.imagined(data.shape)
    try:
        maps.check_shape(case.image, data.shape, maps.wanted(plan.experiment))
    except DataError as error:
        return Looked(case=case, header=header, error=str(error))
    return Looked(case=case, header=header, bytes=_bytes(case, header, plan), kept=_kept(case, header, plan))


def _bytes(case: Case, header: Header, plan: Plan) -> int:
    return bytes_of(case, plan.experiment.prepare, maps.wanted(plan.experiment), header)


def _kept(case: Case, header: Header, plan: Plan) -> int:
    """TIFF keeps its type, and its shape where no other is asked for; NIfTI becomes float32 of the prepared shape."""
    prepare, stacked = plan.experiment.prepare, tiff.is_tiff(case.image.name)
    shape = prepare.shape if any(prepare.shape) else header.shape
    return maps.kept_bytes(shape, header.dtype if stacked else cache.CONFORMED, maps.wanted(plan.experiment))


def _look(case: Case, plan: Plan, quick: bool) -> Looked:
    experiment, folder = plan.experiment, Path(plan.cache_dir)
    prepare, want = experiment.prepare, maps.wanted(experiment)
    known = [cache.known_digest(folder, file) for file in (case.image, case.label)] if plan.cache_dir else [None, None]
    record = cache.find(folder, cache.case_key(known[0], known[1], prepare)) if known[0] and known[1] else None
    stacked = tiff.is_tiff(case.image.name)
    try:
        header = stacks.check_headers(case) if stacked else _nifti_header(case, plan)
        shape = header.shape if stacked and not any(prepare.shape) else prepare.shape
        maps.check_shape(case.image, shape, want)
        takes, kept = _bytes(case, header, plan), _kept(case, header, plan)
        if quick:
            there = record is not None
            return Looked(
                case=case, header=header, lesion_mm3=record.lesion_mm3 if record else None, cached=there, bytes=takes,
                kept=kept, content=known[0] or "", label_values=record.label_values if record else (),
            )
        volume, contents, values = (_stack if stacked else _nifti)(case, plan, header)
    except DataError as error:
        return Looked(case=case, error=str(error))
    cached = bool(plan.cache_dir) and cache.find(folder, cache.case_key(*contents, prepare)) is not None
    return Looked(
        case=case, header=header, lesion_mm3=volume, cached=cached, bytes=takes, kept=kept, content=contents[0],
        label_values=values,
    )


def _nifti_header(case: Case, plan: Plan) -> Header:
    header = read_header(case.image)
    check_grids(case.image, header, case.label, read_header(case.label))
    try:
        resampled_shape(header.shape, header.spacing_mm, plan.experiment.prepare.spacing_mm)
    except DataError as error:
        raise DataError(f"{shown(case.image)}: {error}") from None
    return header


def _nifti(case: Case, _plan: Plan, header: Header) -> tuple[float, tuple[str, str], tuple[float, ...]]:
    """Both files read to their ends: how large the lesion is, mm³, the digests of both, and the label's values. Raises
    DataError."""
    image = read_raw(case.image)
    scaled(case.image, image)
    marks = read_raw(case.label)
    picked = lesions(case.label, marks)
    volume = float(picked.mask.sum(dtype="int64")) * header.voxel_mm3
    return volume, (image.sha256, marks.sha256), picked.values


def _stack(case: Case, plan: Plan, _header: Header) -> tuple[float, tuple[str, str], tuple[float, ...]]:
    """The same of TIFF, whose values are held against the experiment's classes; not filtered, which takes long and says
    nothing."""
    want = maps.wanted(plan.experiment)
    read = stacks.read(case, msgspec.structs.replace(plan.experiment.prepare, median=0), want)
    marked = float(maps.foreground(read.volume.label, want.ignore).sum(dtype="int64"))
    return marked, (digest(case.image), digest(case.label)), ()
