"""Where a step goes: seconds and share of every span, and what that means, in words."""

from __future__ import annotations

from collections.abc import Sequence

from engine.diagnosis.bottleneck import Bottleneck, Share
from engine.journals.events import SPANS
from engine.live.spikes import Spike, briefly, said, spikes
from tui.format import duration, percent
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.details import beside_lines
from tui.widgets.line import Line, block, width_of
from tui.widgets.panel import Panel

NAME, NUMBERS = 11, 17
# Limits that can be lifted, and the span that shows each. Computing is what a training is for.
OTHER = 0.1
# Shown first where not every span has a row; another that takes this share of a step is shown instead of the least.
ESSENTIAL = ("data", "backward", "forward", "optimizer", "loss", "h2d", "other")
MUCH = 0.25
LIMITS = {"loader": "data", "storage": "data", "memory": "data", "copy": "h2d", "host": "other"}
ALARMS = (*LIMITS, "validation")


def where_lines(view: View, width: int, height: int) -> list[Line]:
    """Spans in the order they happen (small ones together), then the headline and the advice in full."""
    limit = view.bottleneck
    if not limit.shares:
        return [[(limit.headline, "label")], *_said(limit.advice, "label", width, 2)]
    text = _said(limit.headline, headline_role(limit), width, 2 if height > 4 else 1)
    if height == 1:
        return text
    advice = _said(limit.advice, "label", width, 2 if height > 6 else 1)
    loads, rare = _loads(view), _spikes(view)
    room = height - len(text) - len(advice)
    if room < 3:
        return [_one_line(limit, width), *text, *advice] if room > 0 else [*text, *advice]
    # Loading has its line, but not at the price of the last span's.
    keep = 1 if loads and room > 3 and room != len(SPANS) else 0
    keep += len(rare) if room - keep - len(rare) > 3 else 0
    rows = _rows(limit.shares, room - keep, LIMITS.get(limit.kind))
    lines = [_share(share, limit, width) for share in rows]
    if loads and len(lines) + len(text) + len(advice) < height:
        lines.append(loads)
    lines += rare[: max(0, height - len(lines) - len(text) - len(advice))]
    if len(lines) + len(text) + len(advice) < height:
        lines.append([])
    lines = [*lines, *text, *advice]
    run = view.state.run
    for more in (_shown_by(limit, width), _no_help(limit, width), beside_lines(run) if run is not None else []):
        room = height - len(lines) - 1
        if more and room >= 2:
            lines += [[], *more[:room]]
    return lines


def _shown_by(limit: Bottleneck, width: int) -> list[Line]:
    if not limit.evidence:
        return []
    sure = [] if limit.kind in ("balanced", "unknown") else [f"this is {limit.confidence}"]
    return _listed("shown by", [*limit.evidence, *sure], width)


def _no_help(limit: Bottleneck, width: int) -> list[Line]:
    return _listed("no help", limit.useless, width)


def _listed(name: str, items: Sequence[str], width: int) -> list[Line]:
    return [
        [(f"{'' if at else name:<{NAME}}", "faint"), (line, "label")]
        for at, line in enumerate(part for item in items for part in wrapped(item, width - NAME, 2))
    ]


def headline_role(limit: Bottleneck) -> str:
    return "alarm" if limit.kind in ALARMS else "label" if limit.kind == "unknown" else "number"


def _rows(shares: tuple[Share, ...], room: int, guilty: str | None) -> list[Share]:
    """Every span in its own fixed row. Where room is short, the same few each time, so that no row jumps as shares
    change; only the span that holds it back, or is much of a step, takes the place of the last of them."""
    other = [share for share in shares if share.name == "other" and share.share >= OTHER]
    spans = [share for share in shares if share.name != "other"]
    if len(spans) + len(other) <= room:
        return [*spans, *other]
    order = sorted(shares, key=lambda s: (s.name != guilty, s.share < MUCH, ESSENTIAL.index(s.name)))
    kept = order[: max(1, room - 1)]
    rest = order[len(kept) :]
    together = Share("the rest", sum(s.seconds for s in rest), sum(s.share for s in rest))
    return [*(share for share in shares if share in kept), together]


def _share(share: Share, limit: Bottleneck, width: int) -> Line:
    guilty = LIMITS.get(limit.kind) == share.name
    room = width - NAME - NUMBERS
    return [
        (f"{share.name:<{NAME}}"[:NAME], "bad" if guilty else "label"),
        *block(share.share, room, "badbar" if guilty else "bar"),
        (duration(share.seconds).rjust(NUMBERS - 7), "text"),
        (percent(share.share).rjust(7), "alarm" if guilty else "number"),
    ]


def _one_line(limit: Bottleneck, width: int) -> Line:
    """A few spans beside one another, in their order."""
    line: Line = []
    for share in _rows(limit.shares, 5, LIMITS.get(limit.kind))[:-1]:
        guilty = LIMITS.get(limit.kind) == share.name
        part: Line = [
            ("   " if line else "", "text"),
            (f"{share.name} ", "bad" if guilty else "label"),
            (duration(share.seconds), "text"),
            (f" {percent(share.share)}", "alarm" if guilty else "number"),
        ]
        if width_of(line) + width_of(part) <= width:
            line += part
    return line


def _loads(view: View) -> Line:
    seconds, run = view.bottleneck.load_seconds, view.state.run
    if not seconds:
        return []
    workers = run.begin.num_workers if run is not None and run.begin is not None else 0
    where = (
        f"in each of {workers} workers" if workers > 1 else "in the one worker" if workers else "in the trainer itself"
    )
    return [
        ("loading", "label"),
        (" " * (NAME - 7), "text"),
        (duration(seconds), "number"),
        (f" a sample, {where}", "label"),
    ]


def _spikes(view: View) -> list[Line]:
    """Terms of the loss that count at an interval."""
    run = view.state.run
    found = spikes(run) if run is not None else ()
    return [_spike(one) for one in found]


def _spike(one: Spike) -> Line:
    return [(said(one, duration(one.seconds)), "label")]


def _said(text: str, role: str, width: int, lines: int) -> list[Line]:
    return [[(line, role)] for line in wrapped(text, width, lines)]


class WherePanel(Panel):
    """What holds it back."""

    TITLE = "Where a step goes"
    NUMBER = 3
    HELP = (
        "The mean step of late, in parts: data (waiting for the loader), h2d (copying to the GPU), forward, loss, "
        "backward, optimizer.\n"
        "On a GPU the parts are measured with CUDA events, without holding it up. loading is measured inside the "
        "workers and comes with every batch.\n"
        "every 4th step: how much longer one takes that computes a term of the loss with every = 4 in its file.\n"
        "With room (enter): what shows the limit, what will not help, and the time beside the steps."
    )

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        seconds = view.bottleneck.step_seconds
        title, lines = duration(seconds) if seconds else "", where_lines(view, width, height)
        rare = spikes(view.state.run) if view.state.run is not None else ()
        if rare and _spike(rare[0]) not in lines:
            title += f" · {briefly(rare[0], duration(rare[0].seconds))}"
        self.entitle(title)
        return lines
