"""How an experiment ended, in one sentence: the supervisor's last line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from engine.config.run_keys import RunKey
from engine.counts import plural
from engine.journals.events import Outcome, Verdict
from engine.journals.limit_events import LimitReached
from engine.limit.limits import GO_ON


class Result(NamedTuple):
    """What there is when nothing more is begun. `done`: complete runs of `total`; `promised`: how many runs a launch
    was to do at most, 0 for all, and `finished_here`, how many it has done; `last`: how the last run of this launch
    ended; `clean`: nothing of it is left running."""

    total: int
    done: int
    failed: Sequence[RunKey] = ()
    stopped: bool = False
    reached: LimitReached | None = None
    promised: int = 0
    finished_here: int = 0
    last: Verdict | None = None
    clean: bool = True


def ending(result: Result) -> tuple[Outcome, str, Verdict | None]:
    """Its outcome, the sentence, and why, where that is a limit."""
    done, total, failed = result.done, result.total, result.failed
    runs = f"{done} of {plural(total, 'run')}"
    left = "; nothing of it is left running" if result.clean else ""
    some_failed = f", {len(failed)} failed ({failed[0].name})" if failed else ""
    if result.reached is not None and done < total:
        why = _by_limit(result.reached, result.last)
        return "stopped", f"{why.text}: {runs} finished{some_failed}{left}", why
    if result.stopped:
        return "stopped", f"stopped as asked: {runs} finished{some_failed}{left}", None
    if failed:
        names = ", ".join(key.name for key in failed[:3])
        return "failed", f"{len(failed)} of {plural(total, 'run')} failed ({names}); {done} finished{left}", None
    if done < total and 0 < result.promised <= result.finished_here:
        ran = plural(result.finished_here, "run")
        return "stopped", f"stopped after {ran} as asked at launch: {done} of {total} finished{left}", None
    if done < total:
        return "stopped", f"{runs} finished{left}", None
    every = f"all {plural(total, 'run')}" if total > 1 else "its one run"
    return "finished", f"{every} finished{left}", None


def _by_limit(reached: LimitReached, last: Verdict | None) -> Verdict:
    if last is not None and last.kind == "limit":
        return last
    if not reached.begun:
        late = reached.needed > reached.left
        why = "the next run would end too late" if late else "too little is left for another run"
        text = f"stopped for its {reached.text}: {why}"
    else:
        text = f"stopped at its {reached.text}"
    return Verdict(kind="limit", text=text, advice=GO_ON)


def with_limit(verdict: Verdict, reached: LimitReached | None) -> Verdict:
    """The verdict of a trainer that was stopped, with the limit as its reason."""
    if reached is None or verdict.kind != "user_stop":
        return verdict
    text = verdict.text.replace("stopped as asked", f"stopped at its {reached.text}", 1).replace(" after", ", after", 1)
    return msgspec.structs.replace(verdict, kind="limit", text=text, advice=GO_ON)
