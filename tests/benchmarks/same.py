"""How often the same profile, measured twice, is called different. `python -m tests.benchmarks.same`

Target: at most 5 % of at least 200 comparisons. Real DataLoaders; each configuration is visited again and again with a
loader of its own, and disjoint visits are compared as the tuner would: A, B, B, A, … None is measured again for what
other processes did, unlike in a real phase: a comparison has to stand it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import median

from engine.phase.measure import Measurement, merged
from engine.phase.race import visit_steps
from engine.phase.ratio import ratio
from tests.benchmarks._rig import FOREIGN_CORES, Knobs, Work, once, quiet_report, save

WORKS = (
    Work("io", item=0.010, step=0.006, per_sample=0.001),
    Work("cpu", item=0.008, step=0.005, per_sample=0.001, io=0.0),
    Work("busy", item=0.006, step=0.005, per_sample=0.001, io=0.0, busy_trainer=True),
    Work("heavy", item=0.010, step=0.006, per_sample=0.001, cv=1.0),
)
CONFIGURATIONS: tuple[Knobs, ...] = (
    {"num_workers": 0, "prefetch_factor": 1, "batch_size": 2},
    {"num_workers": 1, "prefetch_factor": 2, "batch_size": 1},
    {"num_workers": 2, "prefetch_factor": 2, "batch_size": 2},
    {"num_workers": 3, "prefetch_factor": 1, "batch_size": 1},
    {"num_workers": 4, "prefetch_factor": 4, "batch_size": 4},
)
# Visits of each side of a comparison; 24 visits give 12, 6 and 4 comparisons that share none.
ROUNDS = (1, 2, 3)
VISITS = 24


@dataclass(frozen=True)
class Compared:
    work: str
    knobs: Knobs
    rounds: int
    ratio: float
    precision: float
    different: bool


def compared(work: Work, knobs: Knobs, visits: list[Measurement], rounds: int) -> list[Compared]:
    """Visits 0, 3, 4, 7, … against 1, 2, 5, 6, …, `rounds` of each at a time."""
    found = []
    for start in range(0, len(visits) - 2 * rounds + 1, 2 * rounds):
        chunk = visits[start : start + 2 * rounds]
        a = [chunk[i] for i in range(2 * rounds) if i % 4 in (0, 3)]
        b = [chunk[i] for i in range(2 * rounds) if i % 4 in (1, 2)]
        said = ratio(merged(a), merged(b))
        found.append(
            Compared(work.name, knobs, rounds, said.value, said.precision, said.verdict != "not distinguishable")
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go, every comparison's")
    parser.add_argument("--visits", type=int, default=VISITS, help="to each of the 20 configurations")
    options = parser.parse_args()
    everything: list[Compared] = []
    foreign = []
    for work in WORKS:
        for knobs in CONFIGURATIONS:
            steps = visit_steps(knobs, varying=work.cv > 0)
            runs = [once(work, knobs, steps, seed=number) for number in range(options.visits)]
            foreign += [run.foreign for run in runs]
            visits = [run.measurement() for run in runs]
            everything += [one for rounds in ROUNDS for one in compared(work, knobs, visits, rounds)]
        print(
            f"{work.name:<8} "
            + "   ".join(_line([c for c in everything if c.work == work.name and c.rounds == r], r) for r in ROUNDS),
            flush=True,
        )
    print("all      " + "   ".join(_line([c for c in everything if c.rounds == r], r) for r in ROUNDS))
    print(f"all      {_line(everything, 0)}")
    print(
        f"median of other processes: {median(foreign):.2f} cores, above {FOREIGN_CORES} in {sum(f > FOREIGN_CORES for f in foreign)} of {len(foreign)} visits"
    )
    print(quiet_report())
    save(options.json, [asdict(one) for one in everything])


def _line(some: list[Compared], rounds: int) -> str:
    called = sum(one.different for one in some)
    share = called / len(some)
    error = 1.96 * sqrt(max(share * (1 - share), 0.25 / len(some)) / len(some))
    name = f"{rounds} visit{'s' if rounds > 1 else ''}" if rounds else "together"
    return f"{name}: {called} of {len(some)} called different ({share:.1%} ± {error:.1%}), median ±{median(one.precision for one in some):.1%}"


if __name__ == "__main__":
    main()
