"""What an experiment needs as a whole: data and where they go, memory, disk, packages. Told before anything of it runs.

Figures are those of the plan at hand; memory of a GPU is told on a machine without one, too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import msgspec

from engine.config.experiment import Experiment
from engine.config.plan import Plan
from engine.config.sources import example, source_of
from engine.counts import plural
from engine.memory.budget import Budget, budget
from engine.memory.footprint import Estimate, Footprint, checkpoint_bytes
from engine.sizes import said
from engine.training import topo_score
from engine.training.data import cache, maps
from engine.training.data.nifti import sides

TOPOLOGY = "pip install 'steptop[topology]'"


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: of what, in a word; `text`: how much of it, where, and how that is known."""

    name: str
    text: str


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One that only some experiments need. `module`: what Python imports."""

    title: str
    module: str
    install: str

    @property
    def there(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


# What a term of a loss, or a figure, cannot do without.
TERMS: Mapping[str, Package] = {"top_loss": Package(title="GUDHI", module="gudhi", install=TOPOLOGY)}
FIGURES: Mapping[str, Package] = {
    "topo_score": Package(title=topo_score.PACKAGE, module=topo_score.PACKAGE, install=topo_score.INSTALL),
}


def needs(
    plan: Plan, told: Footprint, disk: Mapping[str, int], folds: Sequence[Mapping[str, int]] = (),
    on_gpu: Estimate | None = None,
) -> tuple[Need, ...]:
    """In the order one sees to them. `disk`, `folds`: as a report has them, empty where the data are not known.
    `on_gpu`: a step's memory there, where the plan would train without one."""
    elsewhere = None
    if on_gpu is not None:
        there = msgspec.structs.replace(told, device="cuda", estimate=on_gpu, vram_total=None, vram_others=0)
        elsewhere = budget(plan.profile.knobs, there)
    rows = (
        ("data", _data(plan)),
        ("disk", "; ".join(_disk(plan, disk, told.estimate or on_gpu))),
        ("GPU memory", _vram(plan, told, elsewhere)),
        ("RAM", _ram(plan, told, elsewhere)),
        ("time", _time(plan, folds)),
        ("packages", "; ".join(_packages(plan.experiment))),
    )
    return tuple(Need(name=name, text=text) for name, text in rows if text)


def _data(plan: Plan) -> str:
    source = source_of(plan.experiment)
    if made := example(plan.experiment):
        return f"{made}; nothing is to be given"
    option = "--data FILE" if source.file else "--data DIR"
    return f"{plan.data_dir or option}: {source.wanted}; {source.form}"


def _disk(plan: Plan, disk: Mapping[str, int], estimate: Estimate | None) -> Iterator[str]:
    there = disk.get("prepared", 0)
    if disk:
        found = f", {said(there)} of it there already" if there else ""
        yield f"{said(disk.get('needed', 0) + there)} of prepared data in {plan.cache_dir or 'the cache'}{found}"
    elif plan.experiment.task == "segmentation":
        yield _each(plan.experiment)
    if (size := checkpoint_bytes(estimate)) is not None:
        runs, kept = len(plan.runs), plan.experiment.checkpoints.keep
        # The newest ones, and final.pt; the next one is written before an old one goes.
        yield (
            f"{said(runs * (kept + 1) * size)} of checkpoints in the logs folder ({plural(runs, 'run')} × {kept + 1} × "
            f"{said(size)})"
        )


def _each(experiment: Experiment) -> str:
    """What one volume takes once it is prepared, before there is any."""
    want, prepare = maps.wanted(experiment), experiment.prepare
    if any(prepare.shape):
        size = maps.kept_bytes(prepare.shape, cache.CONFORMED, want, 0)
        many = experiment.data.subjects
        every = f", {said(many * size)} for {many:,} of them" if many else ""
        return f"{said(size)} a prepared volume of {sides(prepare.shape)}{every}"
    shape = (320, 320, 320)
    size = maps.kept_bytes(shape, "|u1", want, 0)
    return f"{size / prod(shape):.0f} bytes a voxel of every volume once prepared, {said(size)} of {sides(shape)}"


def _vram(plan: Plan, told: Footprint, elsewhere: Budget | None) -> str:
    if told.device == "cuda":
        made = budget(plan.profile.knobs, told)
    elif elsewhere is not None:
        made = elsewhere
    else:
        return ""
    batch, asked = int(plan.profile["batch_size"]), str(plan.profile["precision"])
    precision = "fp16" if asked == "auto" else asked
    note = "" if told.device == "cuda" else "; there is no GPU here to measure it on"
    return f"a step of batch {batch} in {precision}: {made.vram.sentence}{note}"


def _ram(plan: Plan, told: Footprint, elsewhere: Budget | None) -> str:
    made = elsewhere or budget(plan.profile.knobs, told)
    return f"beside a GPU: {made.ram.sentence}" if elsewhere is not None else made.ram.sentence


def _time(plan: Plan, folds: Sequence[Mapping[str, int]]) -> str:
    """How many steps there are: what one takes is measured, not told beforehand."""
    known = {fold["fold"]: fold["steps_per_epoch"] for fold in folds}
    each = [known.get(key.fold, int(plan.profile["steps_per_epoch"])) for key in plan.runs]
    epochs, runs = plan.experiment.epochs, plural(len(plan.runs), "run")
    count = f"{epochs * sum(each):,} steps in all, " if all(each) else ""
    return f"{count}{runs} of {plural(epochs, 'epoch')}; `steptop bench` measures how long a step takes here"


def packages(experiment: Experiment) -> tuple[tuple[str, Package], ...]:
    """What needs each optional package, and the package."""
    terms = [(f"[loss.terms.{name}]", TERMS[name]) for name in experiment.loss.terms if name in TERMS]
    return (*terms, *((f"figure {name}", FIGURES[name]) for name in experiment.figures if name in FIGURES))


def absent(experiment: Experiment) -> tuple[str, ...]:
    """What cannot be computed here, and how it could."""
    return tuple(
        f"{what} needs {package.title}, which is not installed: {package.install}, or leave it out"
        for what, package in packages(experiment) if not package.there
    )


def _packages(experiment: Experiment) -> Iterator[str]:
    for what, package in packages(experiment):
        yield f"{package.title} for {what}, {_state(package)}"
    for name, package in FIGURES.items():
        if experiment.figures and name not in experiment.figures:
            yield f"{package.title} if {name} is added to figures, {_state(package)}"


def _state(package: Package) -> str:
    return "installed" if package.there else f"not installed: {package.install}"
