"""report: what was measured, written down as Markdown, HTML or JSON."""

from __future__ import annotations

import argparse
import sys

from engine.errors import UsageError
from engine.live.watch import Watch
from tui.verbs.common import find, say


def report(options: argparse.Namespace) -> int:
    """Markdown on stdout, or a file."""
    from engine.report import build, files, render_markdown

    if options.json and options.output is not None:
        raise UsageError("--json prints to stdout; -o writes Markdown or HTML: leave one of them out")
    path = files.checked(options.output) if options.output is not None else None
    made = build.report_of(Watch(find(options.logs, options.experiment)).poll(), options.logs)
    if path is not None:
        for file in files.write(made, path):
            say(f"written: {file}")
    elif options.json:
        sys.stdout.write(files.as_json(made).decode())
    else:
        sys.stdout.write(render_markdown.render(made))  # every piece of it is cleaned
    return 0
