"""`python -P -m engine.training RUN_FOLDER`: train one run. Exit codes: 0 finished, 1 failed, 2 usage, 3 stopped."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from engine.errors import UsageError
from engine.training.console import TellingWriter
from engine.training.job import read
from engine.training.stop import Stop

if __name__ == "__main__":
    began = time.monotonic()
    os.umask(0o077)
    stop = Stop()
    stop.install()
    if len(sys.argv) != 2:
        print("usage: python -P -m engine.training RUN_FOLDER", file=sys.stderr)
        raise SystemExit(2)
    try:
        job = read(Path(sys.argv[1]).absolute())
    except UsageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    with TellingWriter(job.run.segment(job.attempt)) as journal:
        # GNU OpenMP's threads spin while they wait for each other. Where another program wants a core, a step on two
        # threads then takes 6 times as long (2.1 s instead of 0.3 s; measured with MeshNet-5 on two busy cores).
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # torch takes a second to import; by now signals are heard, bad folders refused and the journal is there.
        from engine.training.run import run

        code = run(job, journal, stop, began)
    raise SystemExit(code)
