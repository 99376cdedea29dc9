"""Patches read from what was prepared once, against every sample prepared anew (`--set cache=none`), in pairs, in one
process: CPU seconds a sample, so that other work on the machine counts less. Arguments: sides of the volumes."""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from engine.config.experiment import Experiment, load
from engine.config.prepared import Subject
from engine.config.tables import Data
from engine.phase.student import quantile
from engine.training.augment import chain
from engine.training.data import maps, sheets
from engine.training.data.cases import prepare_case
from engine.training.data.discover import find
from engine.training.samples import Volumes, collate

EXPERIMENTS = Path(__file__).parents[2] / "engine" / "experiments"
SMALL, FULL = EXPERIMENTS / "vesuvius-small.toml", EXPERIMENTS / "vesuvius-surface.toml"
SIDES = (80, 160)
PAIRS = 8
# Of prepared samples, which take about a millisecond.
TIMES = 20
LEVEL = 0.95
PATCHES = 40


def main() -> int:
    experiment = load(SMALL)
    for side in [int(text) for text in sys.argv[1:]] or SIDES:
        with tempfile.TemporaryDirectory() as folder:
            data = msgspec.structs.replace(experiment.data, subjects=2, shape=(side, side, side))
            measure(msgspec.structs.replace(experiment, data=data), data, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        data = Data(source="sheets", subjects=2, shape=(160, 160, 160), ignore=2)
        full(msgspec.structs.replace(load(FULL), data=data), data, Path(folder))
    return 0


def full(experiment: Experiment, data: Data, under: Path) -> None:
    """Patches of the full experiment with all that is done to them."""
    subjects, _ = prepared_of(experiment, data, under)
    volumes = Volumes(
        subjects, 1, chain.build(experiment.augment), "disk", experiment.prepare, experiment.patch,
        maps.wanted(experiment),
    )
    seconds = sorted(spent(volumes, range(draw, draw + 1)) for draw in range(PATCHES))
    print(
        f"patches of {experiment.patch.shape} with every augmentation of vesuvius-surface: {statistics.fmean(seconds):.2f} s "
        f"of CPU (median {seconds[PATCHES // 2]:.2f}, most {seconds[-1]:.2f}), {PATCHES} patches"
    )


def prepared_of(experiment: Experiment, data: Data, under: Path) -> tuple[tuple[Subject, ...], float]:
    """Sheets written and prepared, and the CPU seconds that preparing one took."""
    want = maps.wanted(experiment)
    cases = find(msgspec.structs.replace(data, source="tiff"), sheets.write(data, under)).cases
    began = time.thread_time()
    subjects = tuple(
        Subject(
            id=case.id, folder=str(under / prepare_case(case, under, experiment.prepare, want).record.key),
            image_file=str(case.image), label_file=str(case.label),
        )
        for case in cases
    )
    return subjects, (time.thread_time() - began) / len(cases)


def measure(experiment: Experiment, data: Data, under: Path) -> None:
    subjects, preparing = prepared_of(experiment, data, under)
    want = maps.wanted(experiment)
    transform = chain.build(experiment.augment)
    anew, prepared = (
        Volumes(subjects, 1, transform, cache, experiment.prepare, experiment.patch, want) for cache in ("none", "disk")
    )
    ratios, seconds = [], []
    for pair in range(PAIRS):
        slow = spent(anew, range(pair, pair + 1))
        quick = spent(prepared, range(pair * TIMES, (pair + 1) * TIMES)) / TIMES
        ratios.append(math.log(slow / quick))
        seconds.append((slow, quick))
    middle, half = statistics.fmean(ratios), quantile(LEVEL, PAIRS - 1) * statistics.stdev(ratios) / math.sqrt(PAIRS)
    slow, quick = (statistics.fmean(each) for each in zip(*seconds, strict=True))
    print(
        f"volumes of {data.shape[0]}³, patches of {experiment.patch.shape[0]}³: anew {slow:.3f} s of CPU a sample, "
        f"prepared {quick * 1000:.1f} ms: ×{math.exp(middle):.0f} "
        f"(95 % {math.exp(middle - half):.0f} to {math.exp(middle + half):.0f}); preparing once {preparing:.2f} s a volume",
        flush=True,
    )


def spent(volumes: Volumes, draws: range) -> float:
    began = time.thread_time()
    for draw in draws:
        collate([volumes[1, draw]])
    return time.thread_time() - began


if __name__ == "__main__":
    sys.exit(main())
