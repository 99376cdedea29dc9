"""The same training on one GPU after the other: time, memory, sessions and cost of each."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

import msgspec

from engine.config.knob import Value
from engine.config.profile import defaults
from engine.diagnosis.consequences import Range
from engine.memory.budget import budget
from engine.memory.footprint import Estimate
from engine.memory.vram_budget import Verdict
from engine.whatif.hardware import Gpu, Price
from engine.whatif.known import Known
from engine.whatif.scaling import SAME, Quoted, Scaling, quoted, scaling
from engine.whatif.session_limits import Fitting, Session, fitting
from engine.whatif.what_if import Question, Times, no_claim, shape_of, times

GIB = 1 << 30
HOUR = 3600.0
TOO_SMALL = "a step does not fit into its memory"
# Times nearer than this are as good as equal.
ALIKE = 0.04


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole experiment. None without a price, or without a time; `text` says which."""

    low: float | None = None
    high: float | None = None
    currency: str = ""
    as_of: str = ""
    source: str = ""
    text: str = ""


class HardwareRow(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. `here`: the one it was measured on. `speed`: how many times as fast as there a step is. `memory`:
    whether a step fits, with its arithmetic in `memory_text`; `too_small`: it does not, so no time, session or cost is
    offered. `why`: what the times rest on, or why there are none."""

    name: str
    gpu: Gpu | None
    here: bool
    times: Times
    speed: Range = Range()
    memory: Verdict = "unknown"
    memory_text: str = ""
    sessions: tuple[Fitting, ...] = ()
    money: Money = Money()
    why: str = ""
    measured: bool = False
    too_small: bool = False

    @property
    def known(self) -> bool:
        return self.times.experiment.value is not None


def table(
    known: Known,
    question: Question,
    gpus: Sequence[Gpu],
    sessions: Sequence[Session] = (),
    stated: Sequence[Quoted] = (),
    others: Sequence[Known] = (),
    estimate: Estimate | None = None,
) -> tuple[HardwareRow, ...]:
    """The machine it was measured on, then `gpus`: those that are known fastest first, the others as they come.

    `others`: the same training measured on other machines, which then need no model.
    """
    first = row(known, question, known.gpu, sessions, estimate=estimate)
    found = [
        row(known, question, gpu, sessions, stated, others, estimate)
        for gpu in gpus
        if known.gpu is None or gpu.name != known.gpu.name
    ]
    found.sort(key=_order)
    return (first, *found)


def _order(row: HardwareRow) -> tuple[bool, bool, int, float]:
    """What is known first, the fastest, and of those that are about as fast the cheapest; then what is too small."""
    seconds = row.times.experiment.value or 0.0
    about = round(log(seconds) / ALIKE) if seconds > 0 else 0
    return not row.known, not row.too_small, about, row.money.low if row.money.low is not None else inf


def row(
    known: Known,
    question: Question,
    gpu: Gpu | None,
    sessions: Sequence[Session] = (),
    stated: Sequence[Quoted] = (),
    others: Sequence[Known] = (),
    estimate: Estimate | None = None,
) -> HardwareRow:
    """One GPU; None: a device that is not in the sheet, which is the one it was measured on."""
    here = gpu is None or (known.gpu is not None and gpu.name == known.gpu.name)
    own = times(known, question)
    there, ground = own, own.why
    measured = here
    if not here:
        assert gpu is not None
        twin = next((one for one in others if one.gpu is not None and one.gpu.name == gpu.name), None)
        if twin is not None and twin.batch == int((known.knobs | question.knobs)["batch_size"]):
            there, ground, measured = times(twin, question), f"measured on it: {twin.name}", True
        else:
            ratio = _ratio(known, question, gpu, stated)
            there = times(known, question, ratio)
            ground = there.why
    name = gpu.name if gpu is not None else known.device_name or known.device.upper()
    memory, text = memory_fits(known, gpu, known.knobs | question.knobs, estimate)
    small = memory == "over" and not (measured and _as_it_ran(known, question))
    if small and there.experiment.value is not None:
        there, ground = no_claim(TOO_SMALL), TOO_SMALL
    side = devices_used(known, question)
    called = gpu.name if gpu else ""
    offered = [one for one in sessions if here or not one.here]
    fits = tuple(fitting(one, called, there.longest, there.experiment, side) for one in offered)
    return HardwareRow(
        name=name,
        gpu=gpu,
        here=here,
        times=there,
        speed=_speed(own, there, here) if not small else Range(),
        memory=memory,
        memory_text=text,
        sessions=fits,
        money=cost(known, question, gpu, there) if not small else Money(text=TOO_SMALL),
        why=_why(ground, own, there, here),
        measured=measured,
        too_small=small,
    )


def _as_it_ran(known: Known, question: Question) -> bool:
    """Whether a step is what was measured, so that it fitted whatever a sheet says."""
    return all(known.knobs.get(name, value) == value for name, value in question.knobs.items())


def _ratio(known: Known, question: Question, gpu: Gpu, stated: Sequence[Quoted]) -> Scaling:
    batch = int((known.knobs | question.knobs)["batch_size"])
    mine = next((one for one in stated if one.gpu == gpu.name), None)
    return quoted(mine, batch) if mine is not None else scaling(known.gpu, gpu, known.precision, known.device)


def _speed(own: Times, there: Times, here: bool) -> Range:
    if own.step.value is None or not there.step.value or not there.step.low or not there.step.high:
        return Range()
    if here:
        return Range(1.0, 1.0, 1.0, SAME.why)
    value = own.step.value
    return Range(value / there.step.value, value / there.step.high, value / there.step.low, there.step.basis)


def _why(ground: str, own: Times, there: Times, here: bool) -> str:
    """What holds it back there, before what the figure rests on."""
    if here or own.step.value is None or there.step.value is None:
        return ground
    factor = own.step.value / there.step.value
    waits = {
        "loader": "it waits for the same loader",
        "cores": "it waits for the same cores",
        "loading in the trainer": "it loads in the trainer as before",
    }.get(there.limit)
    return f"{waits}: {factor:.1f}×; {ground}" if waits else ground


# ---------------------------------------------------------------- memory


def memory_fits(
    known: Known, gpu: Gpu | None, knobs: dict[str, Value], estimate: Estimate | None = None
) -> tuple[Verdict, str]:
    """Whether a step fits into the GPU's memory, and the arithmetic."""
    if gpu is None:
        return "unknown", "its memory is not in the sheet"
    if gpu.vram_gb is None:
        return "unknown", "it shares the machine's memory"
    seen = msgspec.structs.replace(
        known.footprint,
        device="cuda",
        vram_total=round(gpu.vram_gb * GIB),
        vram_others=0,
        estimate=known.footprint.estimate or estimate,
    )
    vram = budget(defaults() | knobs, seen).vram
    return vram.verdict, vram.sentence


# ---------------------------------------------------------------- cost


def devices_used(known: Known, question: Question) -> int:
    """How many GPUs are taken: those that are asked for, else those of the training that is known."""
    return min(max(question.gpus, len(known.plan.devices)), max(1, len(shape_of(known, question).runs)))


def cost(known: Known, question: Question, gpu: Gpu | None, there: Times) -> Money:
    """All GPUs for as long as the experiment takes."""
    price: Price | None = gpu.price if gpu is not None else None
    if price is None:
        return Money(text="no price known; ./hardware.toml takes one")
    low, high = there.experiment.low, there.experiment.high
    if low is None or high is None:
        return Money(currency=price.currency, as_of=price.as_of, source=price.source, text="no time known")
    count = devices_used(known, question)
    return Money(
        low=count * low / HOUR * price.low,
        high=count * high / HOUR * price.high,
        currency=price.currency,
        as_of=price.as_of,
        source=price.source,
        text=f"{price.low:g} to {price.high:g} {price.currency} a GPU-hour, {price.source}, {price.as_of}",
    )
