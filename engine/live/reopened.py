"""A finished experiment that was given more runs: it is no longer over."""

from __future__ import annotations

from msgspec.structs import replace

from engine.counts import plural, some
from engine.journals.events import Verdict
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths


def reopened(state: ExperimentState, paths: ExperimentPaths) -> ExperimentState:
    """`state` as it is once runs were added to its queue after its end: stopped, for nothing begins them by itself.

    That a run has no result decides, not its records: of a long journal only the ends may have been read.
    """
    if state.phase != "finished" or state.plan.test is not None or state.ended is None:
        return state
    waiting = [run.key for run in state.runs if run.phase == "waiting" and not paths.run(*run.key.at).results.exists()]
    if not waiting:
        return state
    names = some([key.name for key in waiting])
    added = f"{plural(len(waiting), 'run')} {'was' if len(waiting) == 1 else 'were'} added"
    text = f"it had finished before {added}: {names}"
    verdict = Verdict(kind="added", text=text, advice="`steptop resume` trains what was added")
    return replace(state, phase="stopped", ended=replace(state.ended, text=text), verdict=verdict)
