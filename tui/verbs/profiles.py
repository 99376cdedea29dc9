"""profiles: how a training can be run, and every knob with its value, range and kind."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.config import catalog, knob_table
from engine.config.knob import Value, shown
from engine.config.profile import KNOBS, defaults, resolved
from engine.machine import cores
from engine.phase import tuned
from engine.runs.choice import AUTO
from tui.verbs.common import say


def profiles(options: argparse.Namespace) -> int:
    """All of them, or one with the value of every knob."""
    if options.profile is not None:
        return _one(options.profile, options.logs, options.json)
    entries = catalog.profiles()
    if options.json:
        listed = [
            {"name": e.name, "title": e.title, "path": str(e.path), "own": e.own, "problem": e.problem}
            for e in entries.values()
        ]
        return _json({"profiles": listed, "knobs": [knob_table.described(knob) for knob in KNOBS.values()]})
    width = max((len(name) for name in entries), default=0)
    for entry in entries.values():
        say(f"{entry.name:<{width}}  {entry.problem or entry.title}{'  (yours)' if entry.own else ''}")
    say()
    say("knobs (--set knob=value); whole numbers may follow the machine: cores, cores/2, cores-1, 2*gpus")
    for line in knob_table.lines():
        say(line)
    return 0


def _one(name: str, logs: Path, as_json: bool) -> int:
    machine = cores.machine()
    title, chosen = catalog.profile_named(name, machine=machine)
    values, texts = resolved(defaults() | chosen, machine)
    found = tuned.entries(logs) if Path(name).stem == AUTO else []
    if as_json:
        rows = [
            knob_table.described(knob)
            | {"value": values[knob.name], "scaled": texts.get(knob.name, ""), "set": knob.name in chosen}
            for knob in KNOBS.values()
        ]
        body = {"name": Path(name).stem, "title": title, "machine": machine.said, "knobs": rows}
        return _json(body | {"tuned": msgspec.to_builtins(found)})
    say(f"{Path(name).stem}: {title}" if title else Path(name).stem)
    say(f"on {machine.said}; * is set by the profile, the others are at their defaults")
    said = {name: f"{shown(value)}{_origin(name, chosen, texts)}" for name, value in values.items()}
    for line in knob_table.lines(said):
        say(line)
    for entry in found:
        say(f"{entry.key} on {entry.cores} cores: {entry.text}")
    return 0


def _origin(name: str, chosen: dict[str, Value], texts: dict[str, str]) -> str:
    if name not in chosen:
        return ""
    return f" * ({texts[name]})" if name in texts else " *"


def _json(body: dict[str, Any]) -> int:
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
    return 0
