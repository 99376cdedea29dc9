"""What is in the queue of a folder that is there already, once a command asks for runs of its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from engine.config.knob import shown
from engine.config.plan import Plan
from engine.config.profile import KNOBS, Profile
from engine.config.run_keys import RunKey
from engine.counts import plural
from engine.errors import UsageError
from engine.runs.requeue import At, words

Queue: TypeAlias = tuple[RunKey, ...]
# So many runs are named in a sentence, and so many in a command to be typed.
NAMED, TYPED = 3, 8


class Joined(NamedTuple):
    """`runs`: all of the folder and of the command. `added`: those the folder did not have. `left_out`: those it had of
    variants that are gone from the experiment's file, or set something else by now: nobody could go on with them."""

    runs: Queue
    added: Queue = ()
    left_out: Queue = ()

    @property
    def said(self) -> str:
        text = f"; added to its queue: {_named(self.added)}" if self.added else ""
        gone = f"; left out: {_named(self.left_out)} (the experiment's file has another variant of that name, or none)"
        return text + (gone if self.left_out else "")


def joined(
    name: str, held: Plan, wanted: Plan, finished: Collection[At], some: bool = False, reorder: bool = False
) -> Joined:
    """The queue of the folder `name`, which `held` is the plan of, with what `wanted` asks for behind it. `some`: the
    command names runs; else it asks for the experiment, whatever the folder has of it. `reorder`: in the order of
    `wanted`.

    Raises UsageError, with a command for each wish there may be, where runs that are not `finished` would be trained or
    lost although others were named.
    """
    asked = {key.at for key in wanted.runs}
    known, now = held.experiment.variants, wanted.experiment.variants
    left_out = tuple(
        key for key in held.runs
        if key.at not in asked and key.variant
        and (key.variant not in now or key.variant not in known or known[key.variant].set != now[key.variant].set)
    )
    kept = tuple(key for key in held.runs if key not in left_out)
    there = {key.at for key in kept}
    added = tuple(key for key in wanted.runs if key.at not in there)
    unasked = [key for key in kept if key.at not in asked and key.at not in finished]
    if unasked and some:
        raise UsageError(_choices(name, unasked, wanted.runs, added, finished))
    if reorder:
        return Joined((*(key for key in kept if key.at not in asked), *wanted.runs), added, left_out)
    return Joined((*kept, *added), added, left_out)


def beyond(name: str, held: Plan, wanted: Plan) -> str:
    """How what `wanted` asks for and the queue of a training under way lacks gets into that; '' where it lacks
    nothing."""
    there = {key.at for key in held.runs}
    more = tuple(key for key in wanted.runs if key.at not in there)
    return f"; its queue stays as it is, `{_command(name, add=more)}` adds what is asked for here" if more else ""


def otherwise(name: str, held: Plan, wanted: Profile, asked: Iterable[str]) -> str:
    """How the knobs that are `asked` for get into a training under way, which keeps its own; '' where it has them."""
    other = {knob: f"{knob}={shown(wanted[knob])}" for knob in asked if held.profile[knob] != wanted[knob]}
    if not other:
        return ""
    living = [text for knob, text in other.items() if KNOBS[knob].live and not held.experiment.command]
    fixed = ", ".join(text for text in other.values() if text not in living)
    said = "; its profile stays as it is"
    if living:
        options = " ".join(f"--set {text}" for text in living)
        said += f", `steptop change {name} {options}` sets what is asked for here"
    return said + (f"; {fixed}: stop it first, then the same command" if fixed else "")


def _choices(
    name: str, unasked: Sequence[RunKey], asked: Sequence[RunKey], added: Sequence[RunKey], finished: Collection[At]
) -> str:
    verb = "is" if len(unasked) == 1 else "are"
    lines = [
        f"{name} has {plural(len(unasked), 'run')} to do that {verb} not asked for here ({_named(unasked)}): "
        "nothing was changed. What shall become of them?",
        f"  go on with all that {name} has: `steptop resume {name}`",
    ]
    if added:
        lines.append(f"  those first, then what is asked for here: `{_command(name, add=added)}`, then resume")
    if any(key.at not in finished for key in asked):
        lines.append(f"  only what is asked for here: `{_command(name, add=added, skip=unasked)}`, then resume")
    lines.append("  a folder of its own for what is asked for here: the same with another --name")
    return "\n".join(lines)


def _command(name: str, **options: Iterable[RunKey]) -> str:
    """`steptop queue NAME --add 1,0 --skip 0,1`; of many runs of an option only how each is written."""
    typed = [f"steptop queue {name}"]
    for option, keys in options.items():
        each = [f"--{option} {','.join(filter(None, (key.variant, str(key.fold), str(key.restart))))}" for key in keys]
        typed += each[:TYPED] + ([f"… and so on for {len(each) - TYPED} more"] if len(each) > TYPED else [])
    return " ".join(typed)


def _named(keys: Sequence[RunKey]) -> str:
    """The first few by name."""
    more = len(keys) - NAMED
    return ", ".join(words(key.at) for key in keys[:NAMED]) + (f" and {more} more" if more > 0 else "")
