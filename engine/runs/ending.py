"""How an experiment ended, in one sentence: the supervisor's last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from engine.config.run_keys import RunKey, variants_of
from engine.counts import plural, some
from engine.journals.events import Outcome, Verdict
from engine.journals.limit_events import LimitReached
from engine.limit.limits import GO_ON

# A reason that is longer has lines of its own on every screen, below the last line.
REASON_LETTERS = 120


class Result(NamedTuple):
    """What there is when nothing more is begun. `done`: complete runs of `total`; `promised`: how many runs a launch
    was to do at most, 0 for all, and `finished_here`, how many it has done; `last`: how the last run of this launch
    ended; `why`: how the failed ones did, the newest last; `given_up`: runs that were not started, as others of their
    variant failed; `clean`: nothing of it is left running."""

    total: int
    done: int
    failed: Sequence[RunKey] = ()
    stopped: bool = False
    reached: LimitReached | None = None
    promised: int = 0
    finished_here: int = 0
    last: Verdict | None = None
    why: Sequence[Verdict] = ()
    given_up: Sequence[RunKey] = ()
    clean: bool = True


def ending(result: Result) -> tuple[Outcome, str, Verdict | None]:
    """Its outcome, the sentence, and why, where that is a limit."""
    done, total, failed = result.done, result.total, result.failed
    runs = f"{done} of {plural(total, 'run')}"
    names = some([key.name for key in failed])
    left = _not_started(result.given_up) + ("; nothing of it is left running" if result.clean else "")
    some_failed = f", {len(failed)} failed ({names})" if failed else ""
    if result.reached is not None and done < total:
        limit = _by_limit(result.reached, result.last)
        return "stopped", f"{limit.text}: {runs} finished{some_failed}{left}", limit
    if result.stopped:
        return "stopped", f"stopped as asked: {runs} finished{some_failed}{left}", None
    if failed:
        said = f"{len(failed)} of {plural(total, 'run')} failed"
        # Of a single run its own verdict says it all.
        why = _reason(result.why, said) if total > 1 else None
        if why is not None and len(why.text) <= REASON_LETTERS:
            said = why.text + ("" if why.sure else ", which is not certain")
        return "failed", f"{said} ({names}); {done} finished{left}", why
    if done < total and 0 < result.promised <= result.finished_here:
        ran = plural(result.finished_here, "run")
        return "stopped", f"stopped after {ran} as asked at launch: {done} of {total} finished{left}", None
    if done < total:
        return "stopped", f"{runs} finished{left}", None
    every = f"all {plural(total, 'run')}" if total > 1 else "its one run"
    return "finished", f"{every} finished{left}", None


def _reason(why: Sequence[Verdict], said: str) -> Verdict | None:
    """The commonest of the verdicts `why`, of several the newest, behind what is `said` of the runs; None of none."""
    if not why:
        return None
    times = Counter(one.text for one in why)
    chosen = max(reversed(why), key=lambda one: times[one.text])
    if len(times) > 1:
        count = times[chosen.text]
        said += f", {count} of them" if count > 1 else ", the last of them"
    return msgspec.structs.replace(chosen, text=f"{said}: {chosen.text}")


def _not_started(given_up: Sequence[RunKey]) -> str:
    each = [f"{sum(key.variant == name for key in given_up)} of {name}" for name in variants_of(given_up)]
    return f"; not started: {', '.join(each)}" if each else ""


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
