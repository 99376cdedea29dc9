"""What a profile takes of RAM, /dev/shm and VRAM, part by part with its arithmetic, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import msgspec

from engine.config.knob import Value
from engine.memory import less
from engine.memory.footprint import Footprint, in_flight
from engine.memory.vram_budget import Part, Verdict, said, vram_parts

# A loader process without a dataset to speak of, torch 2.13 on Linux: what it does not share with the trainer, files
# left out. Least, usual, most. A spawned one imports torch anew.
FORKED = (6 << 20, 20 << 20, 120 << 20)
SPAWNED = (150 << 20, 170 << 20, 550 << 20)
# The trainer without its samples: Python and torch; with CUDA its libraries and context as well.
TRAINER = {"cpu": (300 << 20, 500 << 20, 1 << 30), "cuda": (2 << 30, 3 << 30, 5 << 30)}
# A worker holds the samples it collects and the batch it makes of them.
COPIES = 2
# Measured memory of the same processes again; of another number of them.
AGAIN, OTHERWISE = 0.05, 0.10
# Beyond this share the rest of the machine has too little.
TIGHT = 0.9
VAL_PREFETCH = 2

# Of what other processes leave of a GPU's memory: its context, fragmentation and a step larger than those measured.
VRAM_SHARE = 0.92
SHM = "/dev/shm"  # noqa: S108 - a name for people


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of memory, bytes. `limit` None: not known, nor then the verdict. `sentence`: the arithmetic."""

    name: str
    parts: tuple[Part, ...]
    limit: float | None
    verdict: Verdict
    sentence: str

    @property
    def low(self) -> float:
        return sum(part.low for part in self.parts)

    @property
    def bytes(self) -> float:
        return sum(part.bytes for part in self.parts)

    @property
    def high(self) -> float:
        return sum(part.high for part in self.parts)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """All three. `advice`: what takes less, where something is over or tight."""

    ram: Resource
    shm: Resource
    vram: Resource
    advice: str = ""

    @property
    def resources(self) -> tuple[Resource, ...]:
        return self.ram, self.shm, self.vram


def budget(knobs: Mapping[str, Value], known: Footprint) -> Budget:
    """What a training with all of these `knobs` takes."""
    free = "free" if known.shares == 1 else f"free for each of {known.shares} runs"
    ram = _resource("RAM", _ram(knobs, known), known.ram_free, free)
    shm = _resource(SHM, _shm(knobs, known), known.shm_free, free)
    limit, share = None, ""
    if known.vram_total is not None:
        limit = VRAM_SHARE * max(0, known.vram_total - known.vram_others)
        others = f" − {said(known.vram_others)} of others" if known.vram_others else ""
        share = f"usable ({100 * VRAM_SHARE:.0f} % of {said(known.vram_total)}{others})"
    parts = vram_parts(int(knobs["batch_size"]), known) if known.device == "cuda" else ()
    vram = _resource("VRAM", parts, limit, share)
    helps = less.host(knobs, known, ram.parts, (ram.verdict, shm.verdict), lambda other: _trainer(other, known))
    return Budget(ram=ram, shm=shm, vram=vram, advice="; ".join([*helps, *less.device(knobs, vram.verdict)]))


def refusal(knobs: Mapping[str, Value], known: Footprint) -> str:
    """Why these knobs must not be tried, with the arithmetic; '' if nothing is over."""
    made = budget(knobs, known)
    over = [f"{resource.name}: {resource.sentence}" for resource in made.resources if resource.verdict == "over"]
    return "; ".join([*over, made.advice]) if over else ""


# ---------------------------------------------------------------- host memory


def _ram(knobs: Mapping[str, Value], known: Footprint) -> tuple[Part, ...]:
    workers, item, batch = int(knobs["num_workers"]), known.sample_bytes, int(knobs["batch_size"])
    each = _worker(knobs, known)
    parts = [_trainer(knobs, known)]
    if workers:
        parts.append(each.times(workers, "worker"))
    waiting = in_flight(knobs, item)
    if workers:
        count = workers * int(knobs["prefetch_factor"])
        text = f"{count} {'batch' if count == 1 else 'batches'} on the way × {said(batch * item)}"
        parts.append(Part("batches", text, 0.0, waiting, waiting + batch * item, "modelled"))
    if knobs["pin_memory"] and known.device == "cuda":
        # Pinned memory is kept for the next batch and comes in powers of two.
        usual = max(waiting, batch * item)
        parts.append(Part("pinned", f"page-locked {said(usual)}", batch * item, usual, 2 * usual, "modelled"))
    if validating := int(knobs["val_num_workers"]):
        more = VAL_PREFETCH * validating * int(knobs["val_batch_size"]) * item
        part = _worker({**knobs, "cache": "disk"}, known).times(validating, "validation worker")
        parts.append(msgspec.structs.replace(part, name="validation", bytes=part.bytes + more, high=part.high + more))
    if known.growth and known.hours and knobs["cache"] != "ram":
        grown = min(known.growth * known.hours, known.growth_at_most or inf)
        text = f"growing {said(known.growth)}/h for {known.hours:.3g} h more"
        parts.append(Part("growth", text, 0.5 * grown, grown, 1.5 * grown, "measured here"))
    return tuple(parts)


def _volume(known: Footprint) -> int:
    """What cache = ram keeps of each: a whole volume, however small the patches."""
    return known.volume_bytes or known.sample_bytes


def _trainer(knobs: Mapping[str, Value], known: Footprint) -> Part:
    """The trainer with everything that its workers share with it, each page once."""
    loader, batch = known.loader, int(knobs["batch_size"])
    kept = known.samples * _volume(known) if knobs["cache"] == "ram" and not int(knobs["num_workers"]) else 0
    # Without a GPU the network and its step are in host memory.
    here = known.estimate if known.device == "cpu" else None
    step = here.activations / here.batch if here else 0.0
    if loader is not None:
        shared = loader.trainer + loader.workers * (loader.pss - loader.uss)
        size = max(shared, shared + (batch - loader.batch) * step) + kept
        text = f"trainer {said(size)}"
        return Part("trainer", text, (1 - AGAIN) * size, size, (1 + AGAIN) * size, "measured here")
    fixed = here.fixed if here else 0
    low, usual, high = (value + kept + fixed + batch * step for value in TRAINER[known.device])
    return Part("trainer", f"trainer {said(usual)}", low, usual, high, "modelled")


def _worker(knobs: Mapping[str, Value], known: Footprint) -> Part:
    """One loader process, what it shares with the trainer left out."""
    loader, workers = known.loader, int(knobs["num_workers"])
    forked = knobs["multiprocessing_context"] == "fork"
    held = COPIES * int(knobs["batch_size"]) * known.sample_bytes
    # Workers that begin anew keep what they are dealt in one epoch, the others in the end everything.
    volumes = known.samples if knobs["persistent_workers"] else -(-known.samples // max(1, workers))
    kept = volumes * _volume(known) if knobs["cache"] == "ram" else 0
    note = f", each keeping {'all ' if knobs['persistent_workers'] else ''}{volumes} volumes in the end" if kept else ""
    if loader is not None and loader.workers and (loader.context == "fork") == forked and loader.cached <= bool(kept):
        more = COPIES * (int(knobs["batch_size"]) - loader.batch) * known.sample_bytes
        size = max(loader.uss + more, loader.uss / 4)
        error = (AGAIN if workers == loader.workers else OTHERWISE) * size
        if not kept:
            return Part("worker", note, size - error, size, size + error, "measured here")
        # What it keeps already is in the reading, and cannot be told from the rest.
        rest = 0 if loader.cached else size
        return Part("worker", note, max(size, kept), max(size, rest + kept), size + kept, "modelled")
    low, usual, high = FORKED if forked else SPAWNED
    if loader is not None and loader.workers and not loader.cached:
        own = int(loader.uss)
        if forked:
            # Of what a spawned worker has, its copy of the dataset would be shared, what it gathered itself would not.
            usual, high = (low + max(low, own)) // 2, max(low, own)
        else:
            # What was shared, the dataset among it, would be copied: as much as the trainer holds, at most.
            low, usual, high = max(low, own), usual + own, usual + own + loader.trainer
    share = kept / max(1, workers) if knobs["persistent_workers"] else kept
    return Part("worker", note, low + held + share, usual + held + kept, high + held + kept, "modelled")


def _shm(knobs: Mapping[str, Value], known: Footprint) -> tuple[Part, ...]:
    """Batches travel through shared memory, all of them as soon as loading is faster than a step; the trainer may still
    hold the one before."""
    parts = []
    workers, batch = int(knobs["num_workers"]), int(knobs["batch_size"]) * known.sample_bytes
    if workers:
        ahead, waiting = int(knobs["prefetch_factor"]), in_flight(knobs, known.sample_bytes)
        text = f"{_count(workers, 'worker')} × {_count(ahead, 'batch')} ahead × {said(batch)}"
        parts.append(Part("batches", text, waiting, waiting, waiting + batch, "modelled"))
    if validating := int(knobs["val_num_workers"]):
        size = VAL_PREFETCH * validating * int(knobs["val_batch_size"]) * known.sample_bytes
        parts.append(Part("validation", f"validation's {said(size)}", 0.0, size, size, "modelled"))
    return tuple(parts)


# ---------------------------------------------------------------- words


def _resource(name: str, parts: tuple[Part, ...], limit: float | None, free: str) -> Resource:
    low, usual, high = (sum(getattr(part, field) for part in parts) for field in ("low", "bytes", "high"))
    known = all(part.basis != "unknown" for part in parts)
    verdict: Verdict = "unknown"
    if limit is not None and known:
        # What is only modelled refuses nothing unless its least is too much already.
        sure = all(part.basis == "measured here" for part in parts if part.bytes > 0.1 * usual)
        if (usual if sure else low) > limit:
            verdict = "over"
        else:
            verdict = "tight" if high > limit or usual > TIGHT * limit else "fits"
    words = " + ".join(part.text for part in parts) or "nothing"
    total = f" = {said(usual)}" if len(parts) > 1 or "×" in words else ""
    spread = f" ({said(low)} to {said(high)})" if high > 1.15 * usual or low < 0.85 * usual else ""
    of = f" of {said(limit)} {free}" if limit is not None else ""
    if not known:
        words, total, spread = " + ".join(part.text for part in parts), "", ""
    return Resource(
        name=name, parts=parts, limit=limit, verdict=verdict, sentence=words + total + spread + of + _marked(parts)
    )


def _marked(parts: tuple[Part, ...]) -> str:
    """What of it is not measured."""
    names: dict[str, list[str]] = {}
    for part in parts:
        if part.basis not in ("measured here", "unknown"):
            names.setdefault(part.basis, []).append(part.name)
    said = [basis if len(found) == len(parts) else f"{basis}: {', '.join(found)}" for basis, found in names.items()]
    return f" [{'; '.join(said)}]" if said else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"
