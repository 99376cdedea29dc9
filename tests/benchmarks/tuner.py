"""The tuner against the exhaustive grid and other ways to search, with real DataLoaders. `python -m tests.benchmarks.tuner`

Target: within 5 % of the grid's best in at least 90 % of at least 12 workloads, with at most 15 % of the grid's steps.
The grid (39 configurations of 60 steps) is measured first; the tuner then measures what it asks for itself. The other
ways look their measurements up in the recorded grid, which flatters them: none of theirs is disturbed by another visit's
start. What each chose is measured once more, in turns with the grid's best, and that decides.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

from engine.phase.measure import Measurement, merged, period
from engine.phase.space import Finished, Key, Space, Trial, grid_of, key
from engine.phase.tune import decide
from tests.benchmarks._rig import CORES, Knobs, Run, Work, quiet_report, save, visit

WORKS = (
    Work("io", item=0.010, step=0.006, per_sample=0.001),
    Work("io, light step", item=0.012, step=0.002, per_sample=0.001),
    Work("io, heavy step", item=0.006, step=0.010, per_sample=0.003),
    Work("cpu", item=0.008, step=0.005, per_sample=0.001, io=0.0),
    Work("cpu, light step", item=0.008, step=0.002, per_sample=0.0005, io=0.0),
    Work("cpu, small", item=0.004, step=0.008, per_sample=0.002, io=0.0),
    Work("busy", item=0.007, step=0.005, per_sample=0.001, io=0.0, busy_trainer=True),
    Work("busy, io", item=0.008, step=0.006, per_sample=0.001, busy_trainer=True),
    Work("mixed", item=0.010, step=0.006, per_sample=0.001, io=0.5),
    Work("large", item=0.008, step=0.006, per_sample=0.001, megabytes=4.0),
    Work("heavy", item=0.008, step=0.005, per_sample=0.001, cv=1.0),
    Work("heavy, any order", item=0.008, step=0.005, per_sample=0.001, cv=1.0, in_order=False),
    Work("varying cpu", item=0.007, step=0.005, per_sample=0.001, io=0.0, cv=0.5),
)
GRID_STEPS = 60
CURRENT: Knobs = {"num_workers": 2, "prefetch_factor": 2, "batch_size": 1}
CHOICES = {"num_workers": (0, 1, 2, 3, 4), "prefetch_factor": (1, 2, 4), "batch_size": (1, 2, 4)}
RECHECKS = 3

Chosen = tuple[Knobs, int]


@dataclass
class Recorded:
    """A grid as it was measured, to be looked at by those who search it."""

    runs: dict[Key, Run]
    draw: random.Random

    @property
    def grid(self) -> list[Knobs]:
        return [run.knobs for run in self.runs.values()]

    def rate(self, knobs: Knobs, steps: int = GRID_STEPS) -> float:
        """Samples a second over so many steps of the record, from anywhere in it, whole waves."""
        run = self.runs[key(knobs)]
        wave = period(knobs)
        seconds = run.seconds[wave:]
        count = min(len(seconds), -(-steps // wave) * wave)
        start = self.draw.randrange(len(seconds) - count + 1)
        return int(knobs["batch_size"]) * count / sum(seconds[start : start + count])


# ---------------------------------------------------------------- other ways to search


def halving(record: Recorded) -> Chosen:
    """Successive halving: all by 8 steps, the better half by 16, … (Jamieson and Talwalkar 2016)."""
    alive, steps, used = record.grid, 8, 0
    while len(alive) > 1:
        used += steps * len(alive)
        alive = sorted(alive, key=lambda knobs: -record.rate(knobs, steps))[: max(1, len(alive) // 2)]
        steps = min(GRID_STEPS, 2 * steps)
    return alive[0], used


def randomly(record: Recorded) -> Chosen:
    """Ten at random, by all steps."""
    tried = record.draw.sample(record.grid, 10)
    return max(tried, key=record.rate), 10 * GRID_STEPS


def climbing(record: Recorded) -> Chosen:
    """From the profile in use to its best neighbour, 50 steps each, until none is better."""
    at, used = next(knobs for knobs in record.grid if _apart(knobs, CURRENT) == 0), 50
    here = record.rate(at, 50)
    while True:
        near = [knobs for knobs in record.grid if _apart(knobs, at) == 1]
        used += 50 * len(near)
        rates = [(record.rate(knobs, 50), index) for index, knobs in enumerate(near)]
        best, index = max(rates)
        if best <= here:
            return at, used
        here, at = best, near[index]


def rule_of_thumb(record: Recorded) -> Chosen:
    """Four workers, prefetch 2, the largest batch."""
    return CURRENT | {"num_workers": 4, "batch_size": 4}, 0


def default(record: Recorded) -> Chosen:
    """torch's: no workers, batch 1."""
    return CURRENT | {"num_workers": 0}, 0


def _apart(a: Knobs, b: Knobs) -> int:
    return sum(abs(list(values).index(a[name]) - list(values).index(b[name])) for name, values in CHOICES.items())


OTHERS: dict[str, Callable[[Recorded], Chosen]] = {
    "successive halving": halving,
    "random 10×60": randomly,
    "hill climbing": climbing,
    "4 workers, batch 4": rule_of_thumb,
    "torch's default": default,
}


# ---------------------------------------------------------------- this one


def tuned(work: Work, grid: tuple[Knobs, ...]) -> tuple[Finished, int]:
    """What the tuner says after measuring for itself, and how many visits that took."""
    space = Space(grid=grid, current=dict(CURRENT, in_order=work.in_order), cores=CORES)
    done: list[Trial] = []
    while True:
        said = decide(space, done, lambda _knobs: "")
        if isinstance(said, Finished):
            return said, len(done)
        run = visit(work, said.knobs, said.steps, said.mode, seed=len(done) + 100)
        done.append(Trial(knobs=said.knobs, steps=said.steps, mode=said.mode, measurement=run.measurement()))


def rechecked(work: Work, chosen: dict[Key, Knobs]) -> dict[Key, Measurement]:
    """Each configuration measured again, in turns."""
    visits: dict[Key, list[Measurement]] = {name: [] for name in chosen}
    for number in range(RECHECKS):
        for name in list(chosen) if number % 2 else list(chosen)[::-1]:
            visits[name].append(visit(work, chosen[name], GRID_STEPS, seed=number + 500).measurement())
    return {name: merged(some) for name, some in visits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", default=[work.name for work in WORKS])
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    ways = ["tuner", *OTHERS]
    regrets: dict[str, list[float]] = {way: [] for way in ways}
    shares: dict[str, list[float]] = {way: [] for way in ways}
    everything = []
    print(f"{'workload':<18} {'best':<10} " + " ".join(f"{way:>20}" for way in ways))
    for work in (work for work in WORKS if work.name in options.works):
        grid = grid_of(dict(CURRENT, in_order=work.in_order), CHOICES)
        record = Recorded({key(knobs): visit(work, knobs, GRID_STEPS) for knobs in grid}, random.Random(1))
        answer, visits = tuned(work, grid)
        found: dict[str, Chosen] = {"tuner": (answer.best, answer.steps)}
        for way, search in OTHERS.items():
            knobs, steps = search(record)
            found[way] = dict(knobs, in_order=work.in_order), steps
        top = sorted(record.grid, key=lambda knobs: -record.rate(knobs))[:3]
        again = rechecked(work, {key(knobs): knobs for knobs in [*top, *(knobs for knobs, _ in found.values())]})
        best = max(again, key=lambda name: again[name].samples_per_second)
        row = {}
        for way, (knobs, steps) in found.items():
            regrets[way].append(1 - again[key(knobs)].samples_per_second / again[best].samples_per_second)
            shares[way].append(steps / (GRID_STEPS * len(grid)))
            row[way] = {"knobs": knobs, "steps": steps, "regret": regrets[way][-1]}
        print(
            f"{work.name:<18} {_short(again[best].knobs):<10} "
            + " ".join(f"{_short(found[way][0]):>10} {regrets[way][-1]:8.1%} " for way in ways),
            flush=True,
        )
        everything.append({"work": asdict(work), "ways": row, "why": answer.why, "visits": visits, "grid": len(grid)})
    print(f"\n{'way':<20} {'within 5 %':>10} {'median':>8} {'mean':>8} {'worst':>8} {'steps of the grid':>18}")
    for way in ways:
        some = regrets[way]
        print(
            f"{way:<20} {mean(r <= 0.05 for r in some):10.0%} {median(some):8.1%} {mean(some):8.1%} {max(some):8.1%} {mean(shares[way]):18.1%}"
        )
    print(quiet_report())
    save(options.json, everything)


def _short(knobs: Knobs) -> str:
    return f"w{knobs['num_workers']} p{knobs['prefetch_factor']} b{knobs['batch_size']}"


if __name__ == "__main__":
    main()
