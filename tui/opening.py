"""Open the dashboard on an experiment, a list of them, or a recording; the only place where textual is imported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import UsageError
from engine.live.replay import Replay
from engine.live.watch import Watch
from engine.paths import experiments_in
from engine.runs import launch
from tui.verbs.common import find, is_running, recording


def open_screen(options: argparse.Namespace) -> int:
    """`steptop`, `steptop open NAME`, `steptop replay FOLDER`."""
    # A name that is wrong is wrong with a terminal too: it is said first.
    recorded = recording(options.logs, options.folder) if options.verb == "replay" else None
    source = Replay(recorded, options.speed, options.at) if recorded is not None else None
    folder = find(options.logs, options.experiment) if options.verb == "open" else None
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError("the dashboard needs a terminal; `steptop status` says the same as text, `--json` as JSON")
    return show(options, folder if source is None else recorded, source)


def show(options: argparse.Namespace, folder: Path | None, source: Replay | None = None) -> int:
    """The dashboard until it is left; says afterwards that training goes on."""
    from tui.app import Options, SteptopApp
    from tui.recording import Recording

    if folder is not None and source is None and not options.readonly:
        launch.take_over(folder)
    chosen = Options(
        low_bandwidth=options.low_bandwidth,
        ascii=options.ascii,
        theme=options.theme,
        readonly=options.readonly or source is not None,
        interval=options.interval,
        recording=Recording(options.speed, source.begins, source.ends) if source is not None else None,
    )
    app = SteptopApp(
        logs=options.logs, folder=folder, source=source or (Watch(folder) if folder else None), options=chosen
    )
    app.run()
    running = [f for f in experiments_in(options.logs) if is_running(f)] if options.logs.is_dir() else []
    if source is None and running:
        print(f"training goes on ({', '.join(f.name for f in running)}); `steptop` brings this screen back")
    return app.return_code or 0
