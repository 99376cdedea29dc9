"""A race of a few configurations in turns: who is out, when it is over, and who won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, exp, inf, log, sqrt

import msgspec

from engine.diagnosis.queueing import VARIES, Prediction
from engine.phase.measure import Measurement, merged, period
from engine.phase.ratio import Ratio, ratio
from engine.phase.space import Key, Knobs, cost, key
from engine.phase.spread import variance

VISIT_STEPS = 12
FEWEST_ROUNDS, MOST_ROUNDS = 2, 12
# Of the steps allowed, those for the race of all; the rest is for making sure of the gain.
RACE_SHARE = 0.75
PRECISION = 0.015
# Of those within 2 % of the best the cheapest is chosen.
NEAR = 0.02
# One visit each may only rule out what is slower by this much: two visits to one profile differ, too.
ONE_VISIT = 0.9
# The model's error from one configuration to another of a training, standard deviation: constant and varying items.
MODEL, MODEL_VARYING = 0.04, 0.08
Z95 = 1.96


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """After some rounds: the `next` contender to be visited, or None and the `winner`. `measured`: all visits counted.
    `out`: who was dropped and why. `why`: why it is over."""

    next: Knobs | None = None
    winner: Knobs | None = None
    measured: dict[Key, Measurement]
    out: dict[Key, str]
    rounds: int
    why: str = ""


def visit_steps(knobs: Knobs, varying: bool = False) -> int:
    """Of one visit: the step that holds the workers' start, a wave of warm-up and two blocks or more."""
    wave = period(knobs)
    blocks = max(2, ceil(VISIT_STEPS * (2 if varying else 1) / wave))
    return 1 + wave * (blocks + (wave > 1))


def standing(
    contenders: Sequence[Knobs],
    visits: Mapping[Key, Sequence[Measurement]],
    predictions: Mapping[Key, Prediction],
    budget: float,
    current: Knobs,
    varying: bool = False,
) -> Standing:
    """Round after round as far as `visits` go.

    `budget`: steps for all of it; a part is kept for a duel of the winner with `current`, over which its gain must be
    sure. `varying`: longer visits, because loading times vary.
    """
    racing, out, used = list(contenders), dict[Key, str](), 0
    shown: dict[Key, Measurement] = {}
    for number in range(1, MOST_ROUNDS + 1):
        if number > FEWEST_ROUNDS and used + price(racing, varying) > budget * (RACE_SHARE if len(racing) > 2 else 1):
            racing = _duel(racing, shown, predictions, current) or racing if len(racing) > 2 else racing
            if used + price(racing, varying) > budget:
                alive = [one for one in contenders if key(one) not in out]
                return _over(alive, shown, predictions, out, number - 1, "the steps allowed are used up")
        # There and back: what drifts meets all alike.
        order = racing if number % 2 else racing[::-1]
        missing = [one for one in order if len(visits.get(key(one), ())) < number]
        if missing:
            return Standing(next=missing[0], measured=shown, out=out, rounds=number - 1)
        used += price(racing, varying)
        shown |= {key(one): merged(visits[key(one)][:number]) for one in racing}
        racing, slower = _kept(racing, shown, number)
        out |= slower
        alive = [one for one in contenders if key(one) not in out]
        if len(alive) == 1:
            return _over(alive, shown, predictions, out, number, "all others that raced are slower")
        if number >= FEWEST_ROUNDS and _decided(racing, shown, predictions, current):
            why = f"what is left is known to ±{PRECISION:.1%} or can not be better by more than {NEAR:.0%}"
            return _over(alive, shown, predictions, out, number, why)
    return _over(alive, shown, predictions, out, MOST_ROUNDS, "more rounds would hardly tell")


def price(racing: Sequence[Knobs], varying: bool = False) -> int:
    """Steps of a round."""
    return sum(visit_steps(one, varying) for one in racing)


def _duel(
    racing: Sequence[Knobs], shown: Mapping[Key, Measurement], predictions: Mapping[Key, Prediction], current: Knobs
) -> list[Knobs]:
    """The one that would be chosen and the one in use, if it is not known whether that would be a gain; none if it is:
    what is left then goes to telling the rest apart."""
    chosen = _choice(racing, rates(racing, shown, predictions))
    if key(chosen) == key(current) or key(current) not in shown:
        return []
    foretold = predictions.get(key(current)), predictions.get(key(chosen))
    gain = believed(shown[key(current)], shown[key(chosen)], *foretold)
    return [chosen, current] if gain.low <= 1 and gain.precision > PRECISION else []


def _over(
    racing: Sequence[Knobs],
    shown: dict[Key, Measurement],
    predictions: Mapping[Key, Prediction],
    out: dict[Key, str],
    rounds: int,
    why: str,
) -> Standing:
    return Standing(
        winner=_choice(racing, rates(racing, shown, predictions)), measured=shown, out=out, rounds=rounds, why=why
    )


def _kept(racing: Sequence[Knobs], shown: Mapping[Key, Measurement], number: int) -> tuple[list[Knobs], dict[Key, str]]:
    """Without those that are slower than the fastest, surely."""
    leader = max(racing, key=lambda one: shown[key(one)].samples_per_second)
    kept, out = [], {}
    for one in racing:
        against = ratio(shown[key(leader)], shown[key(one)])
        if one is not leader and against.high < (1.0 if number >= FEWEST_ROUNDS else ONE_VISIT):
            out[key(one)] = f"{1 - against.value:.0%} slower ({1 - against.high:.0%} to {1 - against.low:.0%})"
        else:
            kept.append(one)
    return kept, out


def rates(
    racing: Sequence[Knobs], shown: Mapping[Key, Measurement], predictions: Mapping[Key, Prediction]
) -> dict[Key, float]:
    """Samples per second as measured, drawn towards what the model says of them as far as the measurement is noisy.

    The model's error common to all contenders is taken out first. Without it the luckiest of several noisy
    measurements wins, which is seldom the best.
    """
    known = {key(one): shown[key(one)] for one in racing}
    spreads = {name: one.spread() for name, one in known.items()}
    model = MODEL_VARYING if any((one.load_cv or 0.0) > VARIES for one in known.values()) else MODEL
    noise = {name: variance(one).value if one is not None else 1.0 for name, one in spreads.items()}
    off = {
        name: log(one.samples_per_second / predictions[name].samples_per_second)
        for name, one in known.items()
        if name in predictions
    }
    weights = {name: 1 / (noise[name] + model**2) for name in off}
    common = sum(off[name] * weights[name] for name in off) / sum(weights.values()) if off else 0.0
    found = {}
    for name, one in known.items():
        trust = model**2 / (model**2 + noise[name]) if name in off else 1.0
        foretold = log(predictions[name].samples_per_second) + common if name in off else 0.0
        found[name] = exp(trust * log(one.samples_per_second) + (1 - trust) * foretold)
    return found


def believed(a: Measurement, b: Measurement, first: Prediction | None, second: Prediction | None) -> Ratio:
    """How many times faster `b` is than `a`, by measurement and model together: few visits leave a wide interval by
    themselves, and what the model says of the two is known to be off by no more than MODEL each.

    Both weigh by the inverse of their variances; a measurement's half interval counts as 1.96 standard deviations, so
    that one of few visits weighs as little as Student's t gives it. Without predictions the measured ratio.
    """
    seen = ratio(a, b)
    if first is None or second is None:
        return seen
    varying = max(a.load_cv or 0.0, b.load_cv or 0.0) > VARIES
    model = 2 * (MODEL_VARYING if varying else MODEL) ** 2
    foretold = log(second.samples_per_second / first.samples_per_second)
    noise = (log(seen.high / seen.value) / Z95) ** 2 if seen.low > 0 else inf
    weight = 1 / model + 1 / noise
    value = (foretold / model + log(seen.value) / noise) / weight
    half = Z95 / sqrt(weight)
    low, high = exp(value - half), exp(value + half)
    return Ratio(exp(value), low, high, "faster" if low > 1 else "slower" if high < 1 else "not distinguishable")


def _choice(racing: Sequence[Knobs], rate: Mapping[Key, float]) -> Knobs:
    """The cheapest of those nearly as fast as the fastest."""
    best = max(rate[key(one)] for one in racing)
    return min((one for one in racing if rate[key(one)] >= (1 - NEAR) * best), key=cost)


def _decided(
    racing: Sequence[Knobs],
    shown: Mapping[Key, Measurement],
    predictions: Mapping[Key, Prediction],
    current: Knobs | None,
) -> bool:
    """Whether no further round could matter to the choice, nor to whether it is a gain."""
    chosen = _choice(racing, rates(racing, shown, predictions))
    for one in racing:
        if one is chosen:
            continue
        against = ratio(shown[key(chosen)], shown[key(one)])
        slow_enough = 1 - NEAR if cost(one) < cost(chosen) else 1 + NEAR
        if current is not None and key(one) == key(current):
            slow_enough = 1.0
        if against.precision > PRECISION and against.high >= slow_enough:
            return False
    return True
