"""How well a grid of profiles is foretold from two probes, with real DataLoaders. `python -m tests.benchmarks.predict`

Target: mean absolute error of a step's time at most 5 %, of heavy-tailed items 9 %. 39 configurations a workload:
workers 0–4, prefetch 1, 2, 4, batch 1, 2, 4. The probes are visits of their own: two workers at batch 1, one at batch 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, quantiles

import msgspec

from engine.diagnosis.queueing import Workload, predict
from engine.diagnosis.workload import fit
from engine.phase.measure import Measurement
from tests.benchmarks._rig import CORES, FOREIGN_CORES, Knobs, Run, Work, grid, quiet_report, save, visit

WORKS = {
    "io": Work("io", item=0.020, step=0.012, per_sample=0.002),
    "cpu": Work("cpu", item=0.015, step=0.010, per_sample=0.001, io=0.0),
    "busy": Work("busy", item=0.012, step=0.008, per_sample=0.002, io=0.0, busy_trainer=True),
    "mixed": Work("mixed", item=0.015, step=0.008, per_sample=0.001, io=0.5, busy_trainer=True, megabytes=2.0),
    "heavy": Work("heavy", item=0.015, step=0.008, per_sample=0.001, cv=1.0),
    "heavy any order": Work("heavy any order", item=0.015, step=0.008, per_sample=0.001, cv=1.0, in_order=False),
}
STEPS = 60
# As many samples at every batch size, and whole epochs of them: what varies is the queue, not the items.
HEAVY_SAMPLES = 120
PROBE_STEPS = 48
VARYING = 0.3


@dataclass(frozen=True)
class Told:
    """One configuration: seconds a step."""

    knobs: Knobs
    measured: float
    predicted: float
    low: float
    high: float
    foreign: float
    tries: int

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1

    @property
    def clean(self) -> bool:
        return self.foreign <= FOREIGN_CORES


def probes(work: Work) -> list[Run]:
    two: Knobs = {"num_workers": 2, "prefetch_factor": 2, "batch_size": 1, "in_order": work.in_order}
    one: Knobs = two | {"num_workers": 1, "batch_size": 4}
    many = HEAVY_SAMPLES if work.cv > VARYING else PROBE_STEPS
    return [visit(work, two, many), visit(work, one, PROBE_STEPS)]


def steps_of(work: Work, knobs: Knobs, steps: int) -> int:
    return max(steps, HEAVY_SAMPLES // int(knobs["batch_size"])) if work.cv > VARYING else steps


def told(work: Work, workload: Workload, steps: int) -> Iterable[Told]:
    for knobs in grid(in_order=work.in_order):
        run = visit(work, knobs, steps_of(work, knobs, steps))
        said = predict(workload, knobs)
        yield Told(
            knobs, run.measurement().step_seconds, said.step_seconds, said.low, said.high, run.foreign, run.tries
        )


def summary(name: str, all_told: list[Told]) -> dict[str, float | str | int]:
    errors = [abs(one.error) for one in all_told]
    clean = [abs(one.error) for one in all_told if one.clean]
    return {
        "workload": name,
        "configurations": len(errors),
        "mape_percent": 100 * mean(errors),
        "p90_percent": 100 * quantiles(errors, n=10)[-1],
        "worst_percent": 100 * max(errors),
        "in_range_percent": 100 * mean(one.low <= one.measured <= one.high for one in all_told),
        "clean": len(clean),
        "clean_mape_percent": 100 * mean(clean) if clean else float("nan"),
        "repeated": sum(one.tries > 1 for one in all_told),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", default=list(WORKS), help=f"of {', '.join(WORKS)}")
    parser.add_argument("--json", type=Path, help="where the figures go, every configuration's")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every configuration (default %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="a line for every configuration")
    options = parser.parse_args()
    print(
        f"{'workload':<16} {'n':>3} {'MAPE':>6} {'p90':>6} {'worst':>6} {'in 90 %':>8} {'clean':>6} {'MAPE':>6} {'repeated':>9}"
    )
    everything = []
    for name in options.works:
        work = WORKS[name]
        seen = probes(work)
        measurements: list[Measurement] = [run.measurement() for run in seen]
        workload = fit(measurements, CORES)
        rows = []
        for one in told(work, workload, options.steps):
            rows.append(one)
            if options.verbose:
                print(
                    f"  w{one.knobs['num_workers']} p{one.knobs['prefetch_factor']} b{one.knobs['batch_size']}"
                    f"  {one.measured * 1e3:7.2f} ms  {one.predicted * 1e3:7.2f}  {one.error:+6.1%}  foreign {one.foreign:.2f}",
                    flush=True,
                )
        said = summary(name, rows)
        everything.append(
            {
                **said,
                "work": asdict(work),
                "workload_fitted": msgspec.to_builtins(workload),
                "probes": msgspec.to_builtins(measurements),
                "told": [asdict(one) for one in rows],
            }
        )
        print(
            f"{name:<16} {said['configurations']:3d} {said['mape_percent']:5.1f}% {said['p90_percent']:5.1f}% "
            f"{said['worst_percent']:5.1f}% {said['in_range_percent']:7.0f}% {said['clean']:6d} "
            f"{said['clean_mape_percent']:5.1f}% {said['repeated']:9d}",
            flush=True,
        )
    print(quiet_report())
    save(options.json, everything)


if __name__ == "__main__":
    main()
