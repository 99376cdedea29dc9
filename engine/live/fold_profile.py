"""How a change of profile, and a visit of a test, are folded and said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.knob import Value, shown
from engine.journals.events import Begin, Level, PhaseEnded, ProfileChanged, Steps
from engine.live import conditions, pace, spike_lines
from engine.live.conditions import Anew, Former
from engine.live.sentences import say
from engine.live.state import PROFILES, TESTED, RunState, Tested
from engine.machine import contention


def changed_profile(run: RunState, record: ProfileChanged) -> RunState:
    """Another profile from here on: its pace is a new one."""
    new = msgspec.structs.replace
    if record.error:
        text = f"profile {record.name} was not taken up: {record.error}"
        return new(run, taken=record, sentences=say(run, record.t, text, "warn"))
    begin = run.begin
    if begin is not None:
        workers, batch = record.knobs.get("num_workers"), record.knobs.get("batch_size")
        begin = new(
            begin,
            num_workers=workers if isinstance(workers, int) else begin.num_workers,
            batch_size=batch if isinstance(batch, int) else begin.batch_size,
            knobs=record.knobs,
        )
    if not record.changed:
        return new(run, taken=record, begin=begin, recent=())
    values = ", ".join(f"{name} = {shown(record.knobs.get(name))}" for name in record.changed)
    text = f"profile {record.name} since step {record.step + 1:,}: {values}"
    text += f" (it stood still for {record.seconds:.2g} s)"
    held = run.tested or (Tested(name="as it was", knobs=record.knobs | record.former, lines=run.recent),)
    fresh = Tested(
        name=record.name,
        knobs=record.knobs,
        changed=record.changed,
        step=record.step,
        t=record.t,
        seconds=record.seconds,
    )
    paced = pace.rewound(run.pace, record.step)
    return new(
        run,
        taken=record,
        begin=begin,
        recent=(),
        rare=spike_lines.begun(run.rare),
        tested=(*held, fresh)[-PROFILES:],
        pace=paced,
        anew=Anew(paced.attempt, record.step, "with this profile"),
        formers=formers(run, paced.attempt, record.step, record.knobs | record.former),
        sentences=say(run, record.t, text),
    )


def begun_anew(run: RunState, begin: Begin) -> Anew:
    """Since when its steps are what they are, once an attempt has begun: since then, if it trains with another profile
    or on another device than the one before it."""
    if run.begin is None or conditions.alike(run.begin, begin):
        return run.anew
    words = "with this profile" if conditions.same_device(run.begin, begin) else "on this device"
    return Anew(pace.rewound(run.pace, begin.resumed_from_step).attempt, begin.resumed_from_step, words)


def relaunched(run: RunState, begin: Begin) -> tuple[Tested, ...]:
    """The profiles that it has had, once an attempt has begun: that of the attempt, where it is another one than a
    change while it trained had left behind. Where it writes none down, it goes on with that."""
    if not run.tested or not begin.knobs or begin.knobs == run.tested[-1].knobs:
        return run.tested
    last = run.tested[-1].knobs
    changed = tuple(name for name, value in begin.knobs.items() if value != last.get(name))
    name = next((one.name for one in run.tested if one.knobs == begin.knobs), f"attempt {begin.attempt}")
    fresh = Tested(name=name, knobs=begin.knobs, changed=changed, step=begin.resumed_from_step, t=begin.t)
    return (*run.tested, fresh)[-PROFILES:]


def formers(run: RunState, until: int, step: int, knobs: dict[str, Value] | None = None) -> tuple[Former, ...]:
    """The conditions that a run has had, those that it has until then included, which is after `step`. `knobs`: its
    own, where its attempt wrote none down."""
    if run.begin is None:
        return run.formers
    begin = run.begin if run.begin.knobs or not knobs else msgspec.structs.replace(run.begin, knobs=knobs)
    return (*run.formers, Former(begin, run.anew.attempt, until, max(0, step - run.anew.step)))[-PROFILES:]


def with_lines(tested: tuple[Tested, ...], lines: Sequence[Steps]) -> tuple[Tested, ...]:
    """The present profile with what was written of it."""
    if not tested or len(tested[-1].lines) >= TESTED:
        return tested
    held = tested[-1]
    return (*tested[:-1], msgspec.structs.replace(held, lines=(*held.lines, *lines)[:TESTED]))


def visited(record: PhaseEnded) -> tuple[str, Level]:
    name = f"phase {record.phase + 1} ({record.name})"
    if record.verdict.kind != "ok":
        return f"{name}: {record.verdict.text}", "bad"
    if record.repeated:
        others = contention.said(record.use.foreign_cores, record.use.foreign_gpu)
        return f"{name} is repeated: {others} meanwhile", "warn"
    seconds, samples = sum(record.seconds), sum(record.samples)
    pace = f": {samples / seconds:.3g} samples/s" if seconds and samples else ""
    return f"{name}, round {record.round + 1}, {len(record.seconds)} steps{pace}", "info"
