"""How well the end is foretold: `python -m tests.benchmarks.forecast [--recorded] [--calibrate]`.

Simulated runs of every kind, and the recorded real trainings of tests/fixtures/recorded_runs, are forecast at every
percent of their steps with what could be known then. Errors are of the total at a tenth of the steps, beside what tqdm,
rich, a mean since the start and Auto3DSeg's formula say at the same moment; the ranges are looked at from 2 % on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from msgspec.structs import replace as changed

from engine.eta.calibration import Calibration, Residual, calibrated, quantiles, residual, stage_of
from engine.eta.earlier import Earlier
from engine.eta.forecast import forecast
from engine.eta.lessons import timing_of
from engine.eta.replayed import foretold, residuals as residuals_of
from engine.journals.events import Sample, Steps
from engine.journals.journal import read
from engine.live.fold_run import fold_run
from engine.live.replay import Replay
from engine.live.state import ExperimentState, new_run
from engine.paths import ExperimentPaths
from tests.benchmarks._others import TOOLS, step_times
from tests.fixtures.recorded import unpack
from tests.traces import experiment_state, trace

KINDS = ("stationary", "cold_epoch", "early_shift", "bursts", "spikes")
# What begins long after the forecast is unknowable then: lines of their own, and no targets.
LATER = ("creep", "late_shift")
# From so many percent on what happens early has happened; calibration begins there.
KNOWABLE = {"early_shift": 8, "cold_epoch": 12}
AT = 10
FROM = 2
# Others used more than this part of the cores: what they did is in the steps.
COMPANY = 0.4
# A tenth of a recorded run as long as this is half a minute: more than the stretches over which two cores' pace wanders.
LONG_SECONDS = 300.0
# Earlier experiments whose steps took so many times as long.
SLOWER = {1.0: "after itself", 1.3: "after a slower one", 2.0: "after one twice as slow"}


@dataclass(frozen=True)
class Seen:
    """One moment of one run. `error`: of the total, relative; `tools`: those of others."""

    percent: int
    error: float
    inside: bool
    width: float
    residual: Residual | None
    tools: dict[str, float | None]


@dataclass(frozen=True)
class Replayed:
    """One run: its moments from the first percent on. `seconds`: what it took, of a recorded one."""

    kind: str
    name: str
    seen: tuple[Seen, ...]
    seconds: float = 0.0

    def at(self, percent: int = AT) -> Seen:
        return min(self.seen, key=lambda one: abs(one.percent - percent))

    @property
    def error(self) -> float:
        return abs(self.at().error)

    @property
    def held(self) -> bool:
        return self.at().inside

    def tool(self, name: str) -> float:
        error = self.at().tools.get(name)
        return float("nan") if error is None else abs(error)

    @property
    def tqdm(self) -> float:
        return self.tool("tqdm")

    @property
    def coverage(self) -> float:
        counted = [one for one in self.seen if one.percent >= FROM]
        return sum(one.inside for one in counted) / len(counted)


def replay(kind: str, seed: int, percents: Iterable[int] = (AT,), earlier: Earlier | None = None) -> Replayed:
    """One simulated run, cut at `percents` of its steps."""
    records, truth, recipe = trace(kind, seed)
    times = step_times(records)
    empty = changed(experiment_state(recipe, []), earlier=earlier or Earlier())
    run, done, seen = new_run(empty.runs[0].key), 0, []
    for percent in percents:
        due = max(1, round(percent / 100 * recipe.steps))
        cut = next(i for i in range(done, len(records)) if isinstance(r := records[i], Steps) and r.step >= due) + 1 \
            if run.step < due else done
        run, done = fold_run(run, records[done:cut]), cut
        last = records[done - 1]
        state = changed(empty, runs=(run,), now=last.t, now_monotonic=last.m)
        said = forecast(state)
        assert said.run.seconds is not None and said.run.low is not None and said.run.high is not None
        gone, left = last.t - truth.started, truth.ended - last.t
        stage = stage_of(run.step / recipe.steps, said.warming)
        others = {
            name: None if (more := tool(times, run.step)) is None else (gone + more) / truth.seconds - 1
            for name, tool in TOOLS.items()
        } if percent == AT else {}
        seen.append(Seen(
            percent=percent, error=(gone + said.run.seconds) / truth.seconds - 1,
            inside=said.run.low <= left <= said.run.high,
            width=(said.run.high - said.run.low) / 2 / truth.seconds,
            residual=residual("run", stage, said.run.seconds, said.run.sigma, left, gone, f"{kind}/{seed}"),
            tools=others,
        ))
    return Replayed(kind, f"{kind}/{seed}", tuple(seen))


def replay_recorded(folder: Path, earlier: Earlier | None = None) -> list[Replayed]:
    """Every finished run of a recorded experiment; `kind` says whether it had the machine to itself."""
    found = [one for one in foretold(folder, earlier=earlier) if one.rung == "run"]
    kind = "beside others" if company(folder) > COMPANY else "recorded"
    folders = {run.key.name: ExperimentPaths(folder).run(*run.key.at) for run in ended(folder).runs}
    runs = []
    for name in dict.fromkeys(one.run for one in found):
        own = [one for one in found if one.run == name]
        times = step_times(read(folders[name.rsplit("/", 1)[1]].segment(1)))
        tenth = min(own, key=lambda one: abs(one.percent - AT))
        seen = []
        for one in own:
            tools: dict[str, float | None] = {}
            if one is tenth:
                for tool, says in TOOLS.items():
                    more = says(times, one.step)
                    tools[tool] = None if more is None else (one.gone + more) / one.true_total - 1
            width = (one.high - one.low) / 2 / one.true_total
            seen.append(Seen(one.percent, one.error, one.inside, width, one.residual, tools))
        runs.append(Replayed(kind, f"{folder.name} {name.rsplit('/', 1)[1]}", tuple(seen), own[0].true_total))
    return runs


def line(kind: str, done: Sequence[Replayed]) -> str:
    """A line of the table: errors at a tenth (median, 90th percentile), how often the range held from 2 % on."""
    columns = [_pair([one.error for one in done])]
    columns += [_pair([one.tool(name) for one in done]) for name in TOOLS]
    held = sum(one.coverage for one in done) / len(done)
    wide = median(one.at().width for one in done)
    return f"{kind:<24} {len(done):5d}   {'   '.join(columns)}   {held:6.1%}   ±{wide:.1%}"


def _pair(errors: Sequence[float]) -> str:
    ordered = sorted(error for error in errors if error == error)
    if not ordered:
        return f"{'–':>15}"
    return f"{100 * median(ordered):6.1f} ({100 * ordered[int(0.9 * len(ordered))]:6.1f})"


def head() -> str:
    return f"{'kind':<24} {'runs':>5}   {'steptop':>15}   {'   '.join(f'{name:>15}' for name in TOOLS)}   in 90 %   width"


def company(folder: Path) -> float:
    """The part of the machine's cores that others used while it trained."""
    seen = [one for one in read(ExperimentPaths(folder).machine) if isinstance(one, Sample) and one.own_cpu > 0]
    return sum(max(0.0, one.cpu - one.own_cpu) for one in seen) / max(1, sum(one.cores for one in seen))


def recorded(experiments: Sequence[Path], learnt: bool = False) -> list[Replayed]:
    """The recorded trainings; `learnt`: each with ranges from the residuals of all the others."""
    done: list[Replayed] = []
    found = {one: residuals_of(foretold(one)) for one in experiments} if learnt else {}
    for experiment in experiments:
        others = [left for other, own in found.items() if other != experiment for left in own]
        done += replay_recorded(experiment, Earlier(calibration=calibrated(others)) if learnt else None)
    return done


def after(experiments: Sequence[Path]) -> list[tuple[str, list[Replayed]]]:
    """The recorded trainings with earlier ones to go by: real ones of their key, and their own time as if it had been
    measured on a machine or at a moment that was slower."""
    known = {folder: timing_of(ended(folder)) for folder in experiments}
    found: dict[str, list[Replayed]] = {}
    for experiment, own in known.items():
        if own is None:
            continue
        for other, timing in known.items():
            if timing is not None and other != experiment and timing.key == own.key:
                kind = "after a crowded one" if company(other) > COMPANY else "after one alike"
                found.setdefault(kind, []).extend(replay_recorded(experiment, Earlier(timings=(timing,))))
        for factor, kind in SLOWER.items():
            slower = changed(own, step_seconds=factor * own.step_seconds)
            found.setdefault(kind, []).extend(replay_recorded(experiment, Earlier(timings=(slower,))))
    return sorted(found.items())


def ended(folder: Path) -> ExperimentState:
    """The last moment of a recording."""
    replay = Replay(folder)
    return replay.state_at(replay.ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, *LATER])
    parser.add_argument("--recorded", action="store_true", help="only the recorded real trainings")
    parser.add_argument("--calibrate", action="store_true", help="print engine.eta.calibration.BUILT_IN as measured")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    print("error of the total at 10 % of the steps, %: median (p90)\n" + head(), flush=True)
    residuals: list[Residual] = []
    if not options.recorded:
        with get_context("fork").Pool(options.jobs) as pool:
            for kind in options.kinds:
                seeds = range(options.first, options.first + options.runs)
                one = partial(replay, kind, percents=range(1, 101), earlier=plain() if options.calibrate else None)
                done = pool.map(one, seeds, chunksize=5)
                print(line(kind, done), flush=True)
                if kind in KINDS:
                    knowable = (one for run in done for one in run.seen if one.percent >= KNOWABLE.get(kind, FROM))
                    residuals += [one.residual for one in knowable if one.residual is not None]
    if options.calibrate:
        groups: dict[str, list[float]] = {}
        for one in residuals:
            groups.setdefault(f"{one.rung}/{one.stage}", []).append(one.score)
        for name, scores in sorted(groups.items()):
            print(f'    "{name}": Factor({quantiles(scores).low:.2f}, {quantiles(scores).high:.2f}),  # {len(scores):,}')
    if not options.calibrate:
        with tempfile.TemporaryDirectory() as folder:
            experiments = unpack(Path(folder))
            done = recorded(experiments)
            for run in done:
                print(line(run.name[:40], [run]))
            calm = [run for run in done if run.kind == "recorded"]
            groups = {
                f"{LONG_SECONDS / 60:.0f} min and more": [run for run in calm if run.seconds >= LONG_SECONDS],
                "shorter": [run for run in calm if run.seconds < LONG_SECONDS],
                "beside others": [run for run in done if run.kind == "beside others"],
            }
            for name, some in groups.items():
                if some:
                    print(line(name, some))
            print(line("all recorded", done))
            print(line("… learnt", recorded(experiments, learnt=True)))
            for kind, runs in after(experiments):
                print(line(kind, runs))


def plain() -> Earlier:
    """Ranges of the normal distribution: what calibration starts from."""
    return Earlier(calibration=calibrated([]) or Calibration())


if __name__ == "__main__":
    sys.exit(main())
