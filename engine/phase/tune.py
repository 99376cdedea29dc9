"""The tuner: probe, fit, race. A pure function from what has been measured to what to measure next, or the answer.

Two probes give a model of the training (engine.diagnosis.workload), the model ranks every configuration
(engine.diagnosis.queueing), and only the best few race (engine.phase.race). Against grids of real loaders:
tests/benchmarks/tuner.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from engine.counts import plural
from engine.diagnosis.queueing import VARIES, Prediction, predict
from engine.diagnosis.workload import fit
from engine.phase.measure import Measurement, merged, period
from engine.phase.race import FEWEST_ROUNDS, RACE_SHARE, Standing, price, standing, visit_steps
from engine.phase.ratio import Ratio, ratio
from engine.phase.space import (
    Cost,
    Finished,
    Key,
    Knobs,
    Limits,
    Measure,
    Ranked,
    Space,
    Trial,
    beyond,
    cost,
    key,
    said,
)

# A grid of no more configurations is measured whole.
SMALL = 10
PROBES = 2
PROBE_STEPS = 24
FINALISTS = 3
# The cheapest within this of the model's best races, too, whatever its place.
CHEAPEST_WITHIN = 0.03
# What the model puts so far behind does not race: its error from one configuration to another is half of that.
HOPELESS = 0.12
WORTH = 0.015


def decide(space: Space, done: Sequence[Trial], limits: Limits) -> Measure | Finished:
    """The next measurement, or the answer. `done`: every trial so far, in order, failed ones included.

    A configuration that `limits` refuses is never measured, nor one that takes at least what a failed one took.
    """
    out = {key(knobs): _refused(knobs, done, limits) for knobs in space.grid}
    allowed = [knobs for knobs in space.grid if not out[key(knobs)]]
    good = [trial for trial in done if trial.measurement is not None]
    if not allowed:
        return Finished(best=space.current, why="nothing in the grid is within the limits", ranking=_listed(space, out))
    small = len(allowed) <= SMALL
    if not small and len(good) < PROBES:
        return _probe(space, allowed, good)
    probes = [] if small else [t.measurement for t in good[:PROBES] if t.measurement is not None]
    workload = fit(probes, space.cores) if probes else None
    predictions = {key(knobs): predict(workload, knobs) for knobs in allowed} if workload else {}
    varying = workload is not None and workload.load_cv > VARIES
    before = sum(trial.steps for trial in done if trial.failed) + sum(trial.steps for trial in good[:PROBES])
    budget = inf if small else space.steps - before
    contenders = list[Knobs](allowed) if small else finalists(allowed, predictions)
    if key(space.current) not in map(key, contenders) and not _refused(space.current, done, limits):
        if workload:
            predictions[key(space.current)] = predict(workload, space.current)
        contenders = [*_affordable(contenders, space.current, budget, varying), space.current]
    visits: dict[Key, list[Measurement]] = {}
    for trial in good[len(probes) :]:
        if trial.measurement is not None:
            visits.setdefault(key(trial.knobs), []).append(trial.measurement)
    race = standing(contenders, visits, predictions, budget, space.current, varying)
    if race.next is not None:
        why = f"round {race.rounds + 1} of the race of {len(contenders)}"
        return Measure(knobs=dict(race.next), steps=visit_steps(race.next, varying), why=why)
    everything: dict[Key, list[Measurement]] = {}
    for trial in good:
        if trial.measurement is not None:
            everything.setdefault(key(trial.knobs), []).append(trial.measurement)
    measured = {name: merged(each) for name, each in everything.items()}
    return _finished(space, done, race, predictions, out, measured)


def finalists(allowed: Sequence[Knobs], predictions: dict[Key, Prediction]) -> list[Knobs]:
    """The cheapest within 3 % of the model's best, and the best FINALISTS of the rest that come near it: the cheapest
    first among what it calls equal, of the same workers and batch another only if that is to be worth it."""
    rate = {key(one): predictions[key(one)].samples_per_second for one in allowed}
    best = max(rate.values())

    def place(one: Knobs) -> tuple[int, Cost]:
        return round(100 * (1 - rate[key(one)] / best)), cost(one)

    chosen = [min((one for one in allowed if rate[key(one)] >= (1 - CHEAPEST_WITHIN) * best), key=cost)]
    for one in sorted(allowed, key=place):
        if len(chosen) > FINALISTS or rate[key(one)] < (1 - HOPELESS) * best:
            break
        if not any(_alike(one, held) and rate[key(one)] < (1 + WORTH) * rate[key(held)] for held in chosen):
            chosen.append(one)
    return chosen


def _alike(a: Knobs, b: Knobs) -> bool:
    return all(a.get(name) == b.get(name) for name in ("num_workers", "batch_size"))


def _affordable(contenders: list[Knobs], current: Knobs, budget: float, varying: bool) -> list[Knobs]:
    """As many of the first as can be visited FEWEST_ROUNDS times."""
    while len(contenders) > 1 and FEWEST_ROUNDS * price([*contenders, current], varying) > RACE_SHARE * budget:
        contenders = contenders[:-1]
    return contenders


def _probe(space: Space, allowed: Sequence[Knobs], good: Sequence[Trial]) -> Measure:
    """First two workers at the current batch size: they show what handing over takes if they keep up. Then one at the
    batch size farthest from it, in nobody's way: what loading takes, and computing with the batch size."""
    batches = sorted({int(one.get("batch_size", 1)) for one in allowed})
    now = int(space.current.get("batch_size", 1))
    first = min(batches, key=lambda batch: abs(batch - now))
    if not good:
        return _as_probe(allowed, first, 2, "probe: what computing and handing over take")
    other = max(batches, key=lambda batch: (abs(batch - first), batch))
    return _as_probe(
        allowed, other, 1, "probe: what loading takes" + (", at another batch size" if other != first else "")
    )


def _as_probe(allowed: Sequence[Knobs], batch: int, workers: int, why: str) -> Measure:
    def distance(one: Knobs) -> tuple[int, int, int, int]:
        count = int(one.get("num_workers", 0))
        ahead = abs(int(one.get("prefetch_factor", 2)) - 2)
        return abs(int(one.get("batch_size", 1)) - batch), int(count == 0), abs(count - workers), ahead

    knobs = min(allowed, key=distance)
    wave = period(knobs)
    return Measure(knobs=dict(knobs), steps=1 + wave * -(-PROBE_STEPS // wave), why=why)


def _refused(knobs: Knobs, done: Sequence[Trial], limits: Limits) -> str:
    for trial in done:
        if trial.failed and beyond(knobs, trial):
            return trial.failed if key(knobs) == key(trial.knobs) else f"takes no less than what failed: {trial.failed}"
    return limits(knobs)


# ---------------------------------------------------------------- the answer


def _finished(
    space: Space,
    done: Sequence[Trial],
    race: Standing,
    predictions: dict[Key, Prediction],
    out: dict[Key, str],
    measured: dict[Key, Measurement],
) -> Finished:
    """`measured`: of all visits that count, probes too. The words and the ranking have their figures from there, as the
    table of phases has."""
    assert race.winner is not None
    now = measured.get(key(space.current))
    best, gain = race.winner, None
    if key(best) != key(space.current) and now is not None:
        gain = ratio(now, measured[key(best)])
    words, over = said(best, space.grid), f"Stopped after {plural(race.rounds, 'round')}: {race.why}."
    range_said = f"×{gain.value:.2f} ({gain.low:.2f} to {gain.high:.2f})" if gain is not None else ""
    if key(best) == key(space.current):
        why = f"The profile in use is kept: {_why_kept(best, race, measured, space)}."
    elif gain is None:
        why = f"{words}: the cheapest within 2 % of the best; the profile in use could not be measured."
    elif gain.low <= 1:
        what = "was chosen by measurement and model" if gain.value >= 1 else "is cheaper"
        why = f"The profile in use is kept: {words} {what}, but at {range_said} its samples/s is no sure gain."
        best = space.current
    else:
        why = f"{words}: {range_said} the samples/s of the profile in use, "
        why += f"the cheapest within 2 % of the best{_beside(best, measured, space)}."
    return Finished(
        best=dict(best),
        why=f"{why} {over}",
        gain=gain,
        steps=sum(trial.steps for trial in done),
        ranking=_listed(space, out | _slower(best, race, measured), predictions, measured),
    )


def _slower(best: Knobs, race: Standing, measured: dict[Key, Measurement]) -> dict[Key, str]:
    """Who fell out of the race, by the figures that the ranking shows beside it."""
    said, mine = {}, measured.get(key(best))
    for name, why in race.out.items():
        beside = ratio(mine, measured[name]) if mine is not None else None
        said[name] = why if beside is None else "slower in the race, though not by all its visits together"
        if beside is not None and beside.high < 1:
            said[name] = f"{1 - beside.value:.0%} slower ({1 - beside.high:.0%} to {1 - beside.low:.0%})"
    return said


def _why_kept(best: Knobs, race: Standing, measured: dict[Key, Measurement], space: Space) -> str:
    """Why nothing else is taken, though another may have the higher figure."""
    faster = _fastest(best, measured)
    if faster is None:
        return "none that was measured is faster"
    rival, ahead = faster
    name = said(dict(rival), space.grid)
    if rival in race.out:
        return f"{name} has the higher figure by all visits together, but fell out of the race"
    if ahead.low > 1:
        return f"{name} measured ×{ahead.value:.2f} as fast, but by its visits and the model together it is within 2 %"
    return f"{name} measured ×{ahead.value:.2f} ({ahead.low:.2f} to {ahead.high:.2f}), which may be chance"


def _beside(best: Knobs, measured: dict[Key, Measurement], space: Space) -> str:
    """What has a higher figure than the one that is taken; '' if nothing has."""
    faster = _fastest(best, measured)
    if faster is None:
        return ""
    rival, ahead = faster
    times = f"×{ahead.value:.2f} ({ahead.low:.2f} to {ahead.high:.2f})"
    return f"; {said(dict(rival), space.grid)}, {times} of that, takes more"


def _fastest(best: Knobs, measured: dict[Key, Measurement]) -> tuple[Key, Ratio] | None:
    """What has a higher figure than `best`, the highest, and how many times as much."""
    mine = measured.get(key(best))
    if mine is None:
        return None
    rival = max(measured, key=lambda name: measured[name].samples_per_second)
    if measured[rival].samples_per_second <= mine.samples_per_second:
        return None
    return rival, ratio(mine, measured[rival])


def _listed(
    space: Space,
    out: dict[Key, str],
    predictions: dict[Key, Prediction] | None = None,
    measured: dict[Key, Measurement] | None = None,
) -> tuple[Ranked, ...]:
    """Measured ones first, then by the model, then what is out of the question."""
    everything = {key(knobs): dict(knobs) for knobs in (*space.grid, space.current)}
    ranked = [
        Ranked(
            knobs=knobs,
            predicted=(predictions or {}).get(name),
            measured=(measured or {}).get(name),
            out=out.get(name, ""),
        )
        for name, knobs in everything.items()
    ]

    def place(one: Ranked) -> tuple[bool, float]:
        rate = one.measured or one.predicted
        return one.measured is None, -rate.samples_per_second if rate else 0.0

    return tuple(sorted(ranked, key=place))
