"""What a bench showed: what computing alone and loading alone would be, which of them is the limit, and whether the
three figures agree."""

from __future__ import annotations

from collections.abc import Sequence

from engine.counts import plural
from engine.figures import duration
from engine.machine.contention import DISTURBED_CORES
from engine.phase.measure import Measurement
from engine.phase.phases import PhaseResult
from engine.phase.ratio import ratio

# Together slower than the slower of both by more than this: they are in each other's way.
SHARED = 0.9


def conclusions(found: Sequence[PhaseResult]) -> tuple[str, ...]:
    """Sentences; none until the three parts are measured."""
    parts = {one.mode: one for one in found}
    if len(parts) != len(found):
        return ()
    train, resident, load = (parts[mode].measured if mode in parts else None for mode in ("train", "resident", "load"))
    if train is None or resident is None or load is None:
        return ()
    alone = f"Computing alone is {_pace(resident)}, loading alone {_pace(load)}"
    said = [
        f"{alone}; as it trains, both together, {_pace(train)}.",
        *_contradictions(train, resident, load, found),
    ]
    if len(said) == 1:
        said += [_waiting(train, resident), _limit(train, resident, load)]
    if unsteady := next((one.measured.unstable for one in found if one.measured and one.measured.unstable), ""):
        said.append(f"None of it is to be relied on: {unsteady}.")
    return tuple(said)


def _pace(found: Measurement) -> str:
    if not found.samples_low or found.samples_high == float("inf"):
        return f"{found.samples_per_second:.3g} samples/s (range not known)"
    return f"{found.samples_per_second:.3g} samples/s ({found.samples_low:.3g}–{found.samples_high:.3g})"


def _contradictions(
    train: Measurement, resident: Measurement, load: Measurement, found: Sequence[PhaseResult]
) -> list[str]:
    """A part alone cannot be slower than the whole."""
    slower = [
        name
        for name, part in (("Computing", resident), ("Loading", load))
        if ratio(train, part).verdict == "slower"
    ]
    if not slower:
        return []
    repeated = sum(one.repeated for one in found)
    worst = max((one.use.foreign_cores or 0.0 for one in found), default=0.0)
    why = "the parts are measured one after the other, and the machine was not as fast all the while"
    if worst > DISTURBED_CORES:
        why = f"other processes used up to {worst:.1f} cores in what counts"
        why += f", and {plural(repeated, 'visit')} had to be repeated" if repeated else ""
    names = " and ".join([slower[0], *(name.lower() for name in slower[1:])])
    return [
        f"{names} alone measured slower than training, which does all of it: that cannot be. "
        f"{why[0].upper()}{why[1:]}. No limit can be named from this; bench again on a quiet machine."
    ]


def _waiting(train: Measurement, resident: Measurement) -> str:
    """What loading adds to a sample that is only computed."""
    beside = ratio(train, resident)
    each = 1 / train.samples_per_second
    if beside.verdict != "faster":
        return (
            f"Of the {duration(each)} that a sample takes, computing is all of it as far as can be told: nothing is "
            "left for waiting that could be told from chance."
        )
    share = 1 - 1 / beside.value
    low, high = 1 - 1 / beside.low, 1 - 1 / beside.high
    return (
        f"Of the {duration(each)} that a sample takes, {duration(1 / resident.samples_per_second)} is computing; "
        f"{duration(share * each)} is left for waiting, {share:.0%} ({low:.0%} to {high:.0%})."
    )


def _limit(train: Measurement, resident: Measurement, load: Measurement) -> str:
    """Which of the two is slower, and by how much the other has room."""
    room = ratio(resident, load)
    if room.verdict == "not distinguishable":
        return "Neither is surely the limit: computing alone and loading alone are about as fast."
    name, other, slower, times = ("Computing", "loading", resident, room)
    if room.verdict == "slower":
        name, other, slower, times = ("Loading", "computing", load, ratio(load, resident))
    said = f"{name} is the limit: {other} alone is ×{times.value:.3g} ({times.low:.3g}–{times.high:.3g}) as fast as it"
    together = ratio(slower, train)
    if together.high < SHARED:
        return f"{said}; together they reach ×{together.value:.2f} of it, for they are in each other's way."
    return f"{said}, so much room has it."
