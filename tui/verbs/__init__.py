"""What each verb of the command line does; a function from parsed options to an exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tui.verbs import (
    changing,
    checking,
    estimating,
    launching,
    limiting,
    logs,
    profiles,
    queueing,
    replaying,
    reporting,
    results,
    showing,
    testing,
)

VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": launching.run,
    "check": checking.check,
    "status": showing.status,
    "replay": replaying.replay,
    "bench": testing.bench,
    "phases": testing.run_phases,
    "tune": testing.tune,
    "compare": testing.compare,
    "estimate": estimating.estimated,
    "change": changing.change,
    "limit": limiting.limit,
    "queue": queueing.queue,
    "stop": launching.stop,
    "resume": launching.resume,
    "results": results.results,
    "report": reporting.report,
    "logs": logs.logs,
    "experiments": showing.experiments,
    "profiles": profiles.profiles,
}

# Those that start, stop or change something.
WRITING = frozenset(("run", "bench", "phases", "tune", "change", "stop", "resume"))
