"""A what-if in words: ranges, cells of the hardware table, options; for the terminal and for the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from engine.config.run_keys import dimensions
from engine.diagnosis.consequences import Range
from engine.whatif.both import Both
from engine.whatif.hardware import Gpu
from engine.whatif.hardware_table import HardwareRow, Money
from engine.whatif.known import Known
from engine.whatif.session_limits import Fitting
from engine.whatif.what_if import Question, shape_of
from engine.whatif.wish import Granted
from tui.format import DASH, duration, plural, significant

UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001))
MEMORY = {"fits": "fits", "tight": "tight", "over": "too big", "unknown": DASH}
TURNED = {"steps_per_epoch": "steps an epoch", "epochs": "epochs", "restarts": "restarts"}
# What the GPU's compute or bandwidth figures stand on matters for a time; its watts do not.
COUNTS = ("bandwidth_gb_s", "fp32_tflops", "tf32_tflops", "tensor_tflops", "vram_gb")


def between(one: Range) -> str:
    """`43–51 d`, `6.1–8.2 h`, `17–19 s`: both ends in one unit, as many digits as tell them apart."""
    if one.low is None or one.high is None:
        return DASH
    if one.high <= 0:
        return "0 s"
    unit, size = next(((u, s) for u, s in UNITS if one.high >= (2 * s if s >= 60 else s)), UNITS[-1])
    low, high = one.low / size, one.high / size
    places = 0 if high >= 9.95 else 1
    words = [f"{value:,.{places}f}" for value in (low, high)]
    return f"{words[0]} {unit}" if words[0] == words[1] else f"{words[0]}–{words[1]} {unit}"


def middle(one: Range) -> str:
    """The figure itself: `47d`, `18.1 s`."""
    return duration(one.value)


def speed(one: Range) -> str:
    return DASH if one.value is None else f"{significant(one.value, 2)}×"


def amount(value: float) -> str:
    """Two digits that matter: `820`, `3,700`, `0.24`."""
    if value <= 0:
        return "0"
    places = 1 - math.floor(math.log10(value))
    return f"{round(value, places):,.{max(0, places)}f}"


def money(one: Money) -> str:
    """`820–3,700 USD`."""
    if one.low is None or one.high is None:
        return DASH
    low, high = amount(one.low), amount(one.high)
    return f"{low} {one.currency}" if low == high else f"{low}–{high} {one.currency}"


def doubtful(gpu: Gpu | None) -> tuple[str, ...]:
    """Quoted figures of it that nobody confirmed and that its row rests on."""
    return tuple(name for name in COUNTS if gpu is not None and name in gpu.unconfirmed)


def name_of(row: HardwareRow) -> str:
    return f"{row.name}?" if doubtful(row.gpu) else row.name


def session_words(fits: Sequence[Fitting], room: int = 200) -> str:
    """How many sessions the whole takes where the GPU is offered, the fewest first, as many as fit into `room` cells:
    `Kaggle 19×, Colab free 56×`."""
    offered = [one for one in fits if one.run != "not offered" and one.sessions is not None]
    said = ""
    for one in sorted(offered, key=lambda one: one.sessions or 0):
        weeks = f" in {one.weeks:,} weeks" if one.weeks is not None and one.weeks > 1 else ""
        more = f"{one.session} {one.sessions:,}×{weeks}"
        if said and len(said) + 2 + len(more) > room:
            break
        said = f"{said}, {more}" if said else more
    return said


def heading(known: Known) -> str:
    """What is asked about: an experiment to be launched, or the folder with what it trains, `m (quickstart)`."""
    if known.asked:
        return Path(known.asked).stem if known.asked.endswith(".toml") else known.asked
    trained = known.plan.experiment_name
    return trained if known.name == trained else f"{known.name} ({trained})"


def asked_words(known: Known, question: Question) -> str:
    """`30 runs (3 folds × 10 restarts) of 50 epochs of 148 steps, batch 1`."""
    shape = shape_of(known, question)
    steps = sorted(set(shape.steps.values()))
    many = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,}–{steps[-1]:,}" if steps else "no"
    knobs = known.knobs | question.knobs
    said = f"{plural(len(shape.runs), 'run')} ({dimensions(shape.runs)})"
    said += f" of {plural(shape.epochs, 'epoch')} of {many} steps, batch {knobs['batch_size']}"
    said += f", {plural(int(knobs['num_workers']), 'worker')}" if known.workload is not None else ""
    said += f", {question.gpus} GPUs side by side" if question.gpus > 1 else ""
    said += f", {question.cores} cores" if question.cores is not None and question.cores != known.cores else ""
    return said + (", what is left of them" if question.rest else "")


def both_words(told: Both) -> tuple[str, str]:
    """Of a training that has begun, what the rows below are of, and the other answer: nobody shall take one for the
    other."""
    whole, left = f"all of it, from its first step: {_amount(told.whole)}", f"what is left of it: {_amount(told.left)}"
    if told.rest:
        return f"asked for {left}", f"{whole}; without --rest that is asked for"
    return f"asked for {whole}", f"{left}; --rest asks for that"


def _amount(one: Range) -> str:
    if one.value is None:
        return f"no claim ({one.basis.removeprefix('no claim: ')})" if one.basis else "no claim"
    return "nothing" if one.value <= 0 else f"{middle(one)} ({between(one)})"


def wish_words(one: Granted) -> str:
    """What would have to be turned for something to take as long as wished."""
    wished = between(Range(None, one.wish.low, one.wish.high)) + (f" on {one.hardware}" if one.hardware else "")
    if one.now.value is None:
        return f"wish {wished}: {one.text}"
    now = f"{one.wish.what} takes {duration(one.now.value)} as asked"
    if one.least is None or one.most is None:
        return f"wish {wished}: {one.text} ({now})"
    many = f"{one.least:,}" if one.least == one.most else f"{one.least:,} to {one.most:,}"
    return f"wish {wished}: {many} {TURNED[one.turned]} (an {now})".replace("(an run", "(a run")


def measured_words(known: Known) -> str:
    """`18.1 s a step on A100-80 SXM, 12 cores: measured here, 850 steps`."""
    warming = ", warming up" if known.warming and not known.step.basis.startswith("warming") else ""
    return f"{duration(known.step.mean)} a step on {known.machine}: {known.step.basis}{warming}"
