"""Calling the user to the screen: a bell, and a desktop notification where the terminal is known to understand one.

Only fixed words are sent: no name, path or message of a training reaches the terminal this way.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.live.slowdowns import slowdowns
from tui.messages import View
from tui.settings import Alerts
from tui.words import ENDED

BELL = "\a"
WORDS = {
    "finished": "training finished",
    "stopped": "training stopped",
    "failed": "training failed",
    "lost": "training lost",
    "stalled": "training stalled",
    "drift": "steps have become slower",
    "at_risk": "a limit is at risk: not all runs will be done",
}
# Screens within the terminal swallow such sequences, or print them.
MULTIPLEXED = ("screen", "tmux")
# OSC 9 is iTerm2's, OSC 777 rxvt's: what the terminal calls itself -> which of them it takes.
PROGRAMS = {"iTerm.app": "9", "WezTerm": "777", "ghostty": "777"}
TERMS = {"xterm-kitty": "9", "xterm-ghostty": "777", "foot": "777", "foot-extra": "777", "rxvt-unicode": "777",
         "rxvt-unicode-256color": "777"}  # fmt: skip


def news(before: View | None, after: View) -> list[str]:
    """What has happened between two looks that a user wants to be called for."""
    if before is None or before.state.folder != after.state.folder:
        return []
    old, new = before.state, after.state
    found: list[str] = []
    if new.phase in ENDED and old.phase not in ENDED:
        found.append(new.phase)
    if new.stalled_seconds and not old.stalled_seconds:
        found.append("stalled")
    known = {run.key.at: run for run in old.runs}
    going = [new.runs[place] for place in new.under_way] or [run for run in (new.run,) if run is not None]
    if any(slowdowns(run).keys() - slowdowns(known[run.key.at]).keys() for run in going if run.key.at in known):
        found.append("drift")
    tight, was = after.allowance, before.allowance
    if tight is not None and tight.tight and was is not None and was.fit is not None and not was.tight:
        found.append("at_risk")
    return found


def sequence(event: str, environ: Mapping[str, str], how: Alerts) -> str:
    """What is sent to the terminal; '' for nothing."""
    if how == "off" or event not in WORDS:
        return ""
    code = protocol(environ) if how == "desktop" else ""
    text = f"steptop: {WORDS[event]}"
    return BELL + {"9": f"\x1b]9;{text}\x1b\\", "777": f"\x1b]777;notify;steptop;{WORDS[event]}\x1b\\"}.get(code, "")


def protocol(environ: Mapping[str, str]) -> str:
    """9, 777, or '' where the terminal is not known to take either."""
    term = environ.get("TERM", "")
    if environ.get("TMUX") or environ.get("STY") or term.split("-")[0] in MULTIPLEXED:
        return ""
    if environ.get("LC_TERMINAL") == "iTerm2":
        return "9"
    return PROGRAMS.get(environ.get("TERM_PROGRAM", ""), TERMS.get(term, ""))
