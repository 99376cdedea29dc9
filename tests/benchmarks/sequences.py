"""A million sequences from a file to batches. `python -m tests.benchmarks.sequences [COUNT]`

CPU seconds of this process: reading and checking the FASTA file, sorting and writing the array, the first batch of an epoch
(its order included), and each further batch of 256, in the trainer itself.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from engine.config.experiment import from_table, resolve_profile
from engine.config.tables import Data
from engine.training.data import peptides, sequences, tokens
from engine.training.loader import Feed
from engine.training.rows import Rows, whole

COUNT, BATCH, BATCHES = 1_000_000, 256, 2_000


def write_fasta(file: Path, count: int) -> None:
    found = peptides.drawn(Data(source="peptides", subjects=count))
    with file.open("w") as out:
        for number, text in enumerate(tokens.texts(found.tokens)):
            out.write(f">peptide {number}\n{text}\n")


def main() -> dict[str, float]:
    """The figures, printed and returned."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    told: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fasta(folder / "p.fasta", count)
        began, wall = time.process_time(), time.perf_counter()
        found = sequences.read(folder / "p.fasta")
        told["read_seconds"] = time.process_time() - began
        began = time.process_time()
        record = tokens.store(folder, "key", found, 20, 42)
        told["store_seconds"] = time.process_time() - began
        told["both_wall_seconds"] = time.perf_counter() - wall
        told["megabytes"] = sum(path.stat().st_size for path in (folder / "key").iterdir()) / 1e6
        del found

        rows = Rows(folder / "key", *record.held_out(0))
        experiment = from_table({"task": "peptides", "data": {"source": "peptides"}, "model": {"name": "denoiser", "diffusion_steps": 1}}, "b")
        profile, _ = resolve_profile(experiment, "b", "", {}, {"num_workers": 0, "batch_size": BATCH, "pin_memory": False})
        feed = Feed(rows, profile, 1, "cpu", len(rows), whole)
        began = time.process_time()
        batches = feed.epoch(1)
        next(batches)
        told["first_batch_seconds"] = time.process_time() - began
        each = []
        for _ in range(min(BATCHES, len(rows) // BATCH - 1)):
            began = time.thread_time()
            next(batches)
            each.append(time.thread_time() - began)
        told["batch_microseconds"] = statistics.median(each) * 1e6
        told["batch_microseconds_p90"] = statistics.quantiles(each, n=10)[-1] * 1e6
        feed.close()
    for name_, value in told.items():
        print(f"{name_:<24} {value:10.3f}")
    return told


if __name__ == "__main__":
    main()
