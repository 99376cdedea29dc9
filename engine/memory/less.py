"""What would take less memory, of what a training has that does not fit or barely does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.config.knob import Value
from engine.memory.footprint import Footprint
from engine.memory.vram_budget import Part, Verdict, said

SHORT: tuple[Verdict, ...] = ("over", "tight")


def host(
    knobs: Mapping[str, Value],
    known: Footprint,
    parts: tuple[Part, ...],
    verdicts: tuple[Verdict, Verdict],
    trainer: Callable[[Mapping[str, Value]], Part],
) -> list[str]:
    """Of the RAM, whose `parts` they are, and of /dev/shm; `verdicts` of both. `trainer`: its part with other knobs."""
    ram, shm = (verdict in SHORT for verdict in verdicts)
    workers, less = int(knobs["num_workers"]), []
    if knobs["cache"] == "ram" and (ram or shm):
        less.append(f"cache = disk keeps no volumes in the {'workers' if workers else 'trainer'}")
    # Workers cannot give back what they do not have: the trainer must fit first.
    crowded = ram and (not workers or (known.ram_free is not None and trainer(knobs).bytes > known.ram_free))
    if crowded:
        less += _trainer({**knobs, "cache": "disk"}, known, trainer)
    if workers and (shm or (ram and not crowded)):
        ahead = shm or max(parts, key=lambda part: part.bytes).name == "batches"
        names = "a smaller prefetch_factor or fewer num_workers" if ahead else "fewer num_workers"
        less.append(f"{names} takes less{' of /dev/shm' if crowded else ''}")
    return less


def device(knobs: Mapping[str, Value], verdict: Verdict) -> list[str]:
    """Of a GPU's memory."""
    if verdict not in SHORT:
        return []
    batch = int(knobs["batch_size"])
    twice = 2 * int(knobs["accumulate_steps"])
    return [
        f"batch_size {batch // 2} with accumulate_steps {twice} is as large a step with half the activations"
        if batch > 1
        else "fp16 instead of fp32 halves activations"
    ]


def _trainer(
    knobs: Mapping[str, Value], known: Footprint, trainer: Callable[[Mapping[str, Value]], Part]
) -> list[str]:
    """What helps a trainer that has no room even without a worker; nothing where it would have, its cache on disk."""
    free, now = known.ram_free or 0, trainer(knobs).bytes
    if now <= free and int(knobs["num_workers"]):
        return []
    batch, steps = int(knobs["batch_size"]), int(knobs["accumulate_steps"])
    found = [f"the trainer alone takes {said(now)}, whatever num_workers is"] if now > free else []
    sizes = [size for size in range(batch - 1, 0, -1) if not batch % size]
    smaller = [(size, trainer({**knobs, "batch_size": size}).bytes) for size in sizes]
    helps = next(((size, left) for size, left in smaller if left < now and left <= free), None)
    if helps is not None:
        size, left = helps
        with_it = f"batch_size {size} with accumulate_steps {steps * batch // size}"
        return [*found, f"{with_it} is as large a step and takes {said(left)}"]
    least = smaller[-1][1] if smaller else now
    even = f"even batch_size 1 takes {said(least)}: " if least < now else ""
    here = known.device == "cpu" and known.estimate is not None
    ways = ["a smaller network", "smaller patches or volumes", "a GPU"] if here else []
    ways += ["fewer runs side by side"] if known.shares > 1 else []
    ways.append(f"more than {said(least)} of RAM free{' for each run' if known.shares > 1 else ''}")
    return [*found, f"{even}what helps is {' or '.join(filter(None, (', '.join(ways[:-1]), ways[-1])))}"]
