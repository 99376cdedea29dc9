"""What one experiment can tell another: unit costs under a benchmark key, and which keys can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

from engine.config.experiment import Experiment, of_variant
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.config.run_keys import variants_of

# Three runs of one ARC configuration took 63.6, 64.3 and 69.2 h: 4.6 % apart (standard deviation).
BETWEEN_RUNS = 0.046
# Six runs of one kind of step, by themselves on two virtual cores: their means are 11 % apart.
BETWEEN_RUNS_ON_CPU = 0.11
# Of a network's table, what its steps' time depends on beside channels, levels and classes.
DETAILS = ("blocks", "aux", "mkdc", "layers", "heads")
# The parts of a key in their order, as they are called when they differ.
PARTS = ("model", "shape", "batch", "precision", "compilation", "device", "cache", "workers")


class KeyTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Measured unit costs of an earlier experiment under its benchmark key, seconds. None where it had none.

    `device_name`: as the key has it (engine.eta.devices). `quoted`: who says so, where nothing here has measured it.
    `scored`: what an item of each scoring was (engine.eta.work.scored_as), by span, and `windows` those of a whole
    case; what is not said there is taken to be as asked for. `paces`: of several variants together the seconds of a
    step of each, under the key it has by itself.
    """

    key: str
    device_name: str
    experiment: str
    steps: int
    step_seconds: float
    between_runs: float = BETWEEN_RUNS
    startup: float | None = None
    validate_item: float | None = None
    evaluate_item: float | None = None
    volume_item: float | None = None
    checkpoint: float | None = None
    gap: float | None = None
    closing: float | None = None
    device: str = ""
    quoted: str = ""
    scored: dict[str, str] = {}
    windows: float = 0.0
    paces: dict[str, float] = {}


def between_runs(device: str) -> float:
    """Relative standard deviation between runs of one configuration on such a device (cpu, cuda:0, mps)."""
    return BETWEEN_RUNS_ON_CPU if device == "cpu" else BETWEEN_RUNS


def between(means: Sequence[float], device: str) -> float:
    """Relative standard deviation between runs of these means; with few runs mostly what is usual on such a device."""
    usual = between_runs(device)
    if len(means) < 2:
        return usual
    mean = sum(means) / len(means)
    own = sum((value - mean) ** 2 for value in means)
    return sqrt((own / mean**2 + 2 * usual**2) / (len(means) - 1 + 2))


def training_key(experiment: Experiment, profile: Profile, device_name: str) -> str:
    """What is computed in a step, on what data, and on what: model, shape, batch, precision, device, and where samples
    come from unless that is the prepared volumes. How many processes load them is left out."""
    what = " ".join(experiment.command) or " with ".join(_computed(experiment))
    whole = experiment.patch.whole
    shape = "×".join(str(side) for side in (experiment.prepare.shape if whole else experiment.patch.shape))
    if experiment.task == "peptides":
        shape = "20 tokens"
    return "|".join(
        (
            what,
            shape,
            f"batch {profile['batch_size']}×{profile['accumulate_steps']}",
            str(profile["precision"]),
            ("compiled" if profile["compile"] else "eager")
            + (" recomputing" if profile["activation_checkpointing"] else "")
            + (" deterministic" if profile["deterministic"] else "")
            + (" channels-last" if profile["channels_last"] else ""),
            device_name,
            *([] if profile["cache"] == "disk" else [f"cache {profile['cache']}"]),
        )
    )


def _computed(experiment: Experiment) -> list[str]:
    """The network, with what it has otherwise than most; the terms of its loss, where it has some."""
    model = experiment.model
    others = {name: value for name in DETAILS if (value := getattr(model, name))}
    said = [name if value is True else f"{name} {value}" for name, value in others.items()]
    shape = "".join(f"-{each}" for each in model.multipliers)
    network = " ".join((f"{model.name}-{model.channels}{shape}/{model.classes}", *said))
    terms = [name if term.every == 1 else f"{name} every {term.every}" for name, term in experiment.loss.terms.items()]
    return [network, ", ".join(terms)] if terms else [network]


def benchmark_key(plan: Plan, device_name: str) -> str:
    """What a step's time depends on: model, shape, batch, precision, device, workers. Equal keys can be compared."""
    variants = variants_of(plan.runs)
    one = variants[0] if len(variants) == 1 else ""
    key = training_key(of_variant(plan.experiment, one), plan.profile, device_name)
    # A mean over several variants tells of the same ones together; of a trainer of one's own nothing else tells them.
    named = variants if len(variants) > 1 or plan.experiment.command else ()
    several = f"{', '.join(named)}: " if any(named) else ""
    beside = f" in each of {plan.slots} runs at once" if plan.slots > 1 else ""
    return f"{several}{key}|workers {plan.profile['num_workers']}{beside}"


def alone(plan: Plan, variant: str) -> Plan:
    """`plan` as if that variant were the only one: what its steps have in common with others of its key."""
    return msgspec.structs.replace(plan, runs=tuple(key for key in plan.runs if key.variant == variant))


def unlike(plan: Plan, device_name: str | None, timings: Sequence[KeyTiming]) -> str:
    """Why none of `timings` tells how long `plan` takes: what of the nearest one was another. '' without any."""
    if not timings:
        return ""
    wanted = [(timing, _parts(benchmark_key(plan, device_name or timing.device_name))) for timing in timings]
    apart = [(_apart(_parts(timing.key), own), timing) for timing, own in wanted]
    differs, nearest = min(apart, key=lambda pair: len(pair[0]))
    if not differs:
        return ""
    pairs = (f"{_named(name, there)} was measured, {_named(name, here)} was not" for name, there, here in differs)
    return f"nothing of this kind has run here: {', '.join(pairs)} (nearest: {nearest.experiment})"


def _parts(key: str) -> dict[str, str]:
    """A key taken apart from its end: a trainer's command may hold any character."""
    parts = key.split("|")
    found = {"workers": parts.pop()} if parts[-1].startswith("workers ") else {}
    found["cache"] = parts.pop() if parts[-1].startswith("cache ") else "cache disk"
    names = ("device", "compilation", "precision", "batch", "shape")
    for name in names:
        found[name] = parts.pop() if len(parts) > 1 else ""
    return found | {"model": "|".join(parts)}


def _apart(there: dict[str, str], here: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(name, there.get(name, ""), here.get(name, "")) for name in PARTS if there.get(name) != here.get(name)]


def _named(name: str, value: str) -> str:
    """`batch 2`, `device A100`: a value that does not say what it is gets its name before it."""
    value = value.removesuffix("×1") if name == "batch" else value
    return value if value.startswith((name, "cache ")) or name in ("model", "compilation") else f"{name} {value or '–'}"
