"""`steptop check`: what would be trained and what that needs, said before anything is; exit code 2 if it cannot be."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

from engine.config import catalog, coupled
from engine.config.knob import shown
from engine.config.plan import Plan
from engine.config.run_keys import dimensions
from engine.config.sources import example, source_of
from engine.counts import plural
from engine.eta.forecast import Forecast
from engine.runs import launch
from engine.runs.expected import expect
from engine.text import clean
from engine.whatif.wished import Wish, judged
from tui import format as fmt
from tui.verbs.common import request_from, say

NOTHING_RAN = "not known yet: nothing has run here"
# An epoch is the least that is validated and compared: one that takes longer than this is said to be too long.
WISHED = Wish(6 * 3600.0, 8 * 3600.0)
# So many different shapes are listed; of more only the most frequent.
MANY, FEW = 8, 4
STEP = ("activations", "weights", "gradients", "optimizer", "averaged")


def check(options: argparse.Namespace) -> int:
    """Preflight: exit code 2 if it cannot be trained. Without data it says what is needed all the same."""
    request = request_from(options)
    plan = launch.plan_for(request, without_data=True)
    if plan.experiment.command:
        say("this experiment brings its own trainer; steptop has no volumes to check")
        return 0
    if not options.quick and sys.stderr.isatty():
        print("reading the data and adding up what a step takes of memory ...", file=sys.stderr)
    found, raw = launch.check(plan, quick=options.quick)
    if options.json:
        sys.stdout.write(raw.decode().strip() + "\n")
        return 0 if found.ok else 2
    for line in check_lines(plan, msgspec.json.decode(raw), catalog.about(options.experiment)):
        say(line)
    foreseen = expect(request, plan) if found.ok else None
    if found.ok:
        known = foreseen is not None and foreseen.experiment.seconds is not None
        say(
            f"how long: {_expected(foreseen)}"
            if known and foreseen
            else f"how long: {foreseen.text if foreseen else NOTHING_RAN}"
        )
    if foreseen is not None and (long := long_epoch(plan, foreseen)):
        say(f"warning: {long}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    for error in found.errors:
        print(f"error: {clean(error)}", file=sys.stderr)
    say("ready to train" if found.ok else f"{plural(len(found.errors), 'problem')}: nothing would be trained")
    return 0 if found.ok else 2


def long_epoch(plan: Plan, foreseen: Forecast) -> str:
    """That an epoch takes longer than eight hours, and how many steps would not; '' if it does not."""
    train = {rung.name: part for rung in foreseen.ladder for part in rung.parts if part.name == "train"}
    step, epoch = train.get("step"), train.get("epoch")
    if step is None or epoch is None:
        return ""
    return judged(round(epoch.times), plan.experiment.epochs, step.each, WISHED).text


def _expected(expected: Forecast) -> str:
    run, every = expected.run, expected.experiment
    return (
        f"a run {fmt.duration(run.seconds or 0)}, all {fmt.duration(every.seconds or 0)} "
        f"({fmt.duration(every.low or 0)} to {fmt.duration(every.high or 0)}); {every.basis}"
    )


def check_lines(plan: Plan, details: dict[str, Any], about: str = "") -> list[str]:
    """What would be trained, from the preflight's JSON. `about`: what the experiment's file says of itself."""
    runs, epochs = plural(len(plan.runs), "run"), plural(plan.experiment.epochs, "epoch")
    several = f" ({dimensions(plan.runs)})" if plan.experiment.variants else ""
    lines = [f"{plan.name}: {runs}{several} of {epochs}, profile {plan.profile.said}"]
    lines += [f"    {line}" for line in about.splitlines()]
    if details.get("data"):
        lines.append(f"trains on: {details['data']}")
    if plan.profile.basis:
        lines.append(f"profile {plan.profile.name}: {plan.profile.basis}")
    lines += [f"{knob} locked at {shown(lock.value)}: {lock.reason}" for knob, lock in plan.experiment.locks.items()]
    lines += [f"{name} {least.least:g} or more: {least.reason}" for name, least in plan.experiment.minimums.items()]
    if words := coupled.rule(plan.experiment.optimizer, plan.profile.knobs):
        lines.append(words)
    lines += _cases(plan, details)
    for fold in details.get("folds") or []:
        apart = f" (in {plural(fold.get('test') or 0, 'part')})" if "held_out" in fold else ""
        lines.append(
            f"fold {fold.get('fold')}: {_said(fold.get('train'))} train{_patches(fold)}, "
            f"{_said(fold.get('held_out', fold.get('test')))} test{apart}, "
            f"{plural(fold.get('steps_per_epoch') or 0, 'step')} per epoch"
        )
    for name in ("model", "device"):
        if details.get(name):
            lines.append(f"{name}: {', '.join(f'{key} {_said(value)}' for key, value in details[name].items())}")
    if details.get("disk"):
        sizes = (f"{key} {fmt.size(value)}" for key, value in details["disk"].items())
        lines.append(f"disk: {', '.join(sizes)}")
    if details.get("estimate"):
        parts = (f"{name} {fmt.size(details['estimate'][name])}" for name in STEP if details["estimate"].get(name))
        batch = details["estimate"].get("batch")
        where = _computes(plan, details)
        lines.append(f"one step of batch {batch}{where}, estimated without workspaces: {', '.join(parts)}")
    lines += list(details.get("budget") or [])
    if details.get("needs") and not example(plan.experiment):
        lines.append("what it needs as a whole:")
        lines += [f"    {need['name']}: {need['text']}" for need in details["needs"]]
    return lines


def _cases(plan: Plan, details: dict[str, Any]) -> list[str]:
    """How many there are, and what differs among them, in the words of their source."""
    if not details.get("subjects"):
        return []
    lines = [f"{source_of(plan.experiment).cases}: {_said(details['subjects'])}"]
    for name in ("shapes", "orientations", "acquisitions"):
        if details.get(name):
            lines.append(f"{name}: {_counted(details[name], name.removesuffix('s'))}")
    spreads = {"spacing, mm": details.get("spacings_mm")} | (details.get("spreads") or {})
    for label, spread in spreads.items():
        if spread:
            low, middle, high = (_said(spread[part]) for part in ("low", "middle", "high"))
            lines.append(f"{label}: {low} to {high}, median {middle}")
    if details.get("strata"):
        by = f" by {' × '.join(details['stratified_by'])}" if details.get("stratified_by") else ", not stratified"
        lines.append(f"held out per fold{by}")
        lines += [f"    {name}: {' '.join(_said(n) for n in counts)}" for name, counts in details["strata"].items()]
    return lines


def _patches(fold: dict[str, Any]) -> str:
    """How many samples an epoch takes of them, where that is more than one of each."""
    return f" ({fold['draws']:,} patches an epoch)" if fold.get("draws") else ""


def _computes(plan: Plan, details: dict[str, Any]) -> str:
    """` in fp32 on cpu`: half the bytes of a number are half its memory; `auto` is fp16 on a GPU of CUDA alone."""
    kind = (details.get("device") or {}).get("kind", "")
    asked = plan.profile["precision"]
    precision = asked if asked != "auto" else "fp16" if kind == "cuda" else "fp32"
    return f" in {precision} on {kind}" if kind else ""


def _counted(counts: dict[str, int], noun: str) -> str:
    """`RAS (201), LPS (12)`: the most frequent first; of many, how many more there are, and in how many volumes."""
    listed = sorted(counts.items(), key=lambda item: -item[1])
    shown = MANY if len(listed) <= MANY else FEW
    words = [f"{name} ({count:,})" for name, count in listed[:shown]]
    rest = listed[shown:]
    if rest:
        words.append(f"and {plural(len(rest), f'more {noun}')} ({sum(count for _, count in rest):,})")
    return ", ".join(words)


def _said(value: Any) -> str:
    """A figure with thousands separators and four digits that matter; anything else as it is."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
