"""Trainers that start at once: a process that has imported torch forks a child for each. `python -m tests.training.nursery`

Importing torch takes two seconds, and these tests start some fifty trainers. Each is a process of its own all the same:
own session, real signals, real exit code. On stdin one JSON object a line, on stdout `born PID` and `gone PID CODE`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any


def live(order: dict[str, Any]) -> int:
    """The child: what `engine.training.__main__` does, with the journal's pace of the test's choosing."""
    began = time.monotonic()
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.chdir(order["folder"])
    os.environ["SABOTAGE"] = order["sabotage"]

    from pathlib import Path

    from engine.journals.journal import Writer
    from engine.training.job import read
    from engine.training.run import run
    from engine.training.stop import Stop

    stop = Stop()
    stop.install()
    exec(order["before"])
    if order["sabotage"]:
        import tests.training.sabotage  # noqa: F401
    job = read(Path(order["folder"]))
    with Writer(job.run.segment(job.attempt)) as journal:
        return run(job, journal, stop, began, line_seconds=order["line_seconds"])


def main() -> None:
    import torch

    import engine.training.run  # noqa: F401

    # The first optimizer imports another second's worth.
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())
    children: set[int] = set()
    buffer = b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            block = os.read(0, 1 << 16)
            if not block:
                return
            buffer += block
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            child = os.fork()
            if not child:
                code = 1
                try:
                    code = live(json.loads(line))
                except SystemExit as left:
                    code = int(left.code or 0)
                except BaseException:
                    import traceback

                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children.add(child)
            print("born", child, flush=True)
        for child in list(children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                children.remove(pid)
                print("gone", pid, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
