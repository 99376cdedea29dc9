"""Patches per second: steptop's loader beside MONAI's CacheDataset and PersistentDataset and a plain nibabel Dataset, on
the same heads, patch, batch, workers and augmentation. `python -m tests.benchmarks.loaders [--augment flips|full]`

First each one's first epoch, from .nii.gz files to its last patch. Then rounds: each loads for some seconds, turn and turn
about, every loader in a process of its own; steptop is compared with each in pairs of the same round. The time counts from the batch with which every worker
has delivered one, so that starting workers is left out. CPU is that of all processes, their start and end with them.
MONAI is needed by this alone: pip install -c constraints.txt -e '.[bench]'
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine.training.data.discover import Case
from tests.benchmarks import _rig
from tests.benchmarks._apart import Apart, Block, First
from tests.benchmarks._by_monai import Missing, Monai, known
from tests.benchmarks._by_nibabel import Nibabel
from tests.benchmarks._by_steptop import Steptop
from tests.benchmarks._pairs import Ratio, ratio, turns
from tests.benchmarks._same_patches import AUGMENTS, Contender, Looked, Work, heads, prepared_shape

OURS = "steptop"
CONTENDERS: dict[str, Callable[[Work], Contender]] = {
    OURS: Steptop,
    "monai-cache": lambda work: Monai(work, "MONAI CacheDataset, as in its tutorials", persistent=False, fast=False),
    "monai-cache-fast": lambda work: Monai(work, "MONAI CacheDataset, its fast way", persistent=False, fast=True),
    "monai-persistent": lambda work: Monai(work, "MONAI PersistentDataset, its fast way", persistent=True, fast=True),
    "nibabel": Nibabel,
}
TARGET = 2.0
# No block is shorter, in batches of each worker.
FEWEST = 4


def main() -> int:
    asked = arguments()
    try:
        if any(short.startswith("monai") for short in asked.only):
            known()  # before heads are written in vain
        with place(asked.data) as under:
            print(said(asked), flush=True)
            cases = heads(under, asked.subjects, asked.side)
            figures = {name: setting(name, asked, cases) for name in asked.augment}
    except Missing as error:
        print(
            f"{error}. The comparison needs MONAI, and nothing else of steptop does:\n"
            "    pip install -c constraints.txt -e '.[bench]'\n"
            f"or leave it out: --only {OURS} nibabel", file=sys.stderr,
        )
        return 2
    _rig.save(asked.json, figures)
    return 0 if figures and all(one["equal"] for one in figures.values()) else 1


def setting(name: str, asked: argparse.Namespace, cases: tuple[Case, ...]) -> dict[str, object]:
    """One kind of augmentation: everything about it printed, and its figures."""
    shape, spacing = prepared_shape(asked.side)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            cases, Path(folder), shape, spacing, tuple(asked.patch), asked.batch, asked.workers, AUGMENTS[name],
        )
        with ExitStack() as stack:
            runners = {short: stack.enter_context(Apart(CONTENDERS[short], work)) for short in asked.only}
            print(f"\n{name}: {', '.join(work.augment)}", flush=True)
            return told(*measured(runners, asked, work))


def measured(
    runners: dict[str, Apart], asked: argparse.Namespace, work: Work
) -> tuple[dict[str, str], dict[str, First], dict[str, list[Block]], dict[str, Looked]]:
    """Names, first epochs, the rounds' blocks and what the patches were like, of each."""
    unit = work.batch * max(1, work.workers)
    epoch = whole(asked.epoch * len(work.cases), unit)
    firsts = {short: runner.first(epoch) for short, runner in runners.items()}
    looks = {short: runner.look(2, epoch) for short, runner in runners.items()}
    counts = {
        short: whole(asked.seconds * runner.timed(3, FEWEST * unit).rate, unit, FEWEST)
        for short, runner in runners.items()
    }
    blocks: dict[str, list[Block]] = {short: [] for short in runners}
    for number in range(asked.rounds):
        for short in turns(list(runners), number):
            blocks[short].append(runners[short].timed(4 + number, counts[short]))
    return {short: runner.name() for short, runner in runners.items()}, firsts, blocks, looks


def told(
    names: dict[str, str], firsts: dict[str, First], blocks: dict[str, list[Block]], looks: dict[str, Looked]
) -> dict[str, object]:
    rates = {short: [block.rate for block in of] for short, of in blocks.items()}
    ratios = {short: ratio(rates[OURS], rates[short]) for short in names if short != OURS} if OURS in names else {}
    print(f"{'':42} first epoch: ready, whole, patches/s    warm patches/s   CPU ms a patch   steptop is")
    for short, name in names.items():
        begun, warm = firsts[short], statistics.median(rates[short])
        cpu = statistics.median(block.cpu for block in blocks[short]) * 1e3
        print(
            f"{name:42} {begun.ready:12.1f} s {begun.seconds:6.1f} s {begun.patches / begun.seconds:8.1f} {warm:19.1f}"
            f" {cpu:16.1f}   {ratios.get(short, '')}"
        )
    best = max(ratios, key=lambda short: statistics.median(rates[short]), default="")
    if best:
        print(f"the best of them: {names[best]}; steptop is {ratios[best]} as fast, target {TARGET:g}")
    print(f"{'':42} image                 label                patches   with a lesion   voxels of one   image from, to")
    for short, name in names.items():
        look = looks[short]
        print(
            f"{name:42} {look.image:21} {look.label:20} {look.patches:7} {look.lesions:13.0%} {look.voxels:15.2%}"
            f"   {look.low:.2f} {look.high:.2f}"
        )
    equal = len({(look.image, look.label) for look in looks.values()}) == 1
    if not equal:
        print("these are not the same patches: the figures above compare nothing")
    foreign = statistics.fmean(block.foreign for of in blocks.values() for block in of)
    print(f"other processes took {foreign:.2f} of {_rig.CORES} cores meanwhile", flush=True)
    return {
        "equal": equal, "best": best, "foreign": foreign, "rates": rates,
        "ratios": {short: Ratio._asdict(one) for short, one in ratios.items()},
        "first": {short: one._asdict() for short, one in firsts.items()},
        "cpu": {short: [block.cpu for block in of] for short, of in blocks.items()},
        "looks": {short: look._asdict() for short, look in looks.items()},
    }


def whole(patches: float, unit: int, fewest: int = 1) -> int:
    """So many patches that every worker has as many whole batches, `fewest` at least."""
    return unit * max(fewest, round(patches / unit))


@contextmanager
def place(asked: Path | None) -> Iterator[Path]:
    """Where the heads are: a folder that is kept, or one that is not."""
    if asked is not None:
        yield asked
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def said(asked: argparse.Namespace) -> str:
    sides = "×".join(map(str, asked.patch))
    return (
        f"{asked.subjects} heads of about {asked.side}³ voxels, patches of {sides}, batches of {asked.batch}, "
        f"{asked.workers} workers, {asked.rounds} rounds of {asked.seconds:g} s each"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loaders", description=__doc__.split("\n\n")[0])
    parser.add_argument("--augment", nargs="+", choices=list(AUGMENTS), default=list(AUGMENTS))
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--data", type=Path, help="folder for the heads; they are written once and kept")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--side", type=int, default=144, help="voxels of a head")
    parser.add_argument("--patch", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each in a round")
    parser.add_argument("--epoch", type=int, default=4, help="patches of each head in a first epoch")
    asked = parser.parse_args()
    least = int(asked.side * 0.8)
    if max(asked.patch) > least:
        parser.error(f"--patch {max(asked.patch)}: the smallest head has {least} voxels a side; a smaller one, or --side")
    return asked


if __name__ == "__main__":
    sys.exit(main())
