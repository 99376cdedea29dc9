"""The end of a trainer's log: what it died of stands in its last lines, not in an error that was caught long before."""

from __future__ import annotations

import re

LAST = 20
HEADER = "Traceback (most recent call last):"
WORKERS = "Original Traceback"
LINKS = ("The above exception was the direct cause", "During handling of the above exception")
# `torch.OutOfMemoryError: …`, `KeyError: 'dice'`, `MemoryError`.
RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)(?::|$)")
# The main process says that a worker is gone; what took it may be told before.
WORKER_GONE = re.compile(r"DataLoader worker \(pid.* exited unexpectedly")
WORKER_TAKEN = re.compile(r"DataLoader worker \(pid.* is killed by signal")


def last_traceback(tail: str) -> list[str]:
    """The traceback that the log ends with, and those that it was raised from; empty if it ends with none."""
    lines = [line for line in tail.splitlines() if line.strip()]
    heads = [at for at, line in enumerate(lines) if line.startswith(HEADER)]
    if not heads:
        return []
    first = heads[-1]
    for before in reversed(heads[:-1]):
        if not any(line.startswith(LINKS) for line in lines[before:first]):
            break
        first = before
    # What follows the exception is its own text, indented or a worker's traceback; a log that goes on for long is not.
    raised = next((at for at in range(heads[-1] + 1, len(lines)) if not lines[at][0].isspace()), len(lines))
    after = [line for line in lines[raised + 1 :] if not line[0].isspace()]
    return lines[first:] if len(after) <= LAST else []


def ending(tail: str) -> str:
    """The lines that tell of the end: the last traceback, or else the last lines from the last exception on."""
    lines = [line for line in tail.splitlines() if line.strip()]
    found = last_traceback(tail)
    if not found:
        found = lines[-LAST:]
        raised = [at for at, line in enumerate(found) if RAISED.match(line.strip())]
        # A worker's traceback stands in the text of the exception that it is told with.
        while len(raised) > 1 and any(line.startswith(WORKERS) for line in found[raised[-2] : raised[-1]]):
            raised.pop()
        found = found[raised[-1] :] if raised else found
    return "\n".join([*taken(tail, found), *found])


def taken(tail: str, found: list[str]) -> list[str]:
    """The last line before that says what took the worker, where `found` only says that it is gone."""
    text = "\n".join(found)
    if not WORKER_GONE.search(text) or WORKER_TAKEN.search(text):
        return []
    return [line for line in tail.splitlines() if WORKER_TAKEN.search(line)][-1:]
