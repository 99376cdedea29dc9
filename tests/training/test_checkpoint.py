"""Checkpoints survive kills, full disks and flipped bits, and nothing unverified is ever unpickled."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from engine.paths import RunPaths, read_json
from engine.training.checkpoint import CheckpointError, ConfigMismatch, Sidecar, Store, sidecar_of

HASH = "0123456789abcdef"

# Forks once per case, as a program of its own: torch is imported once. Each child saves generation 2 and dies.
SAVE_AND_DIE = """
import os, resource, signal, sys
from pathlib import Path
import torch
from engine.paths import RunPaths
from engine.training.checkpoint import Store

def save(folder, stage, limit):
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    die = lambda reached: os.kill(os.getpid(), 9) if reached == stage else None
    Store(RunPaths(folder), "0123456789abcdef", 2, after=die).save({"w": torch.full((5000,), 2.0), "n": 2}, 20, 2)

for line in sys.stdin:
    folder, stage, limit = line.split()
    child = os.fork()
    if not child:
        save(Path(folder), stage, int(limit))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def state(generation: int) -> dict[str, object]:
    return {"w": torch.full((5000,), float(generation)), "n": generation}


def store(folder: Path, **more: object) -> Store:
    folder.mkdir(exist_ok=True)
    return Store(RunPaths(folder), HASH, 1, **more)  # type: ignore[arg-type]


def two_generations(folder: Path) -> RunPaths:
    for generation in (1, 2):
        assert not store(folder).save(state(generation), 10 * generation, generation).error
    return RunPaths(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    written = store(tmp_path).save({"w": torch.rand(3, 4), "deep": {"list": [1, 2.5, None, "x"]}}, 7, 1)
    assert written.verified
    assert (written.file, written.bytes) == ("step-00000007.pt", (tmp_path / "step-00000007.pt").stat().st_size)
    loaded = store(tmp_path).load()
    assert loaded is not None
    assert (loaded.step, loaded.file, loaded.passed_over) == (7, "step-00000007.pt", ())
    assert loaded.state["deep"] == {"list": [1, 2.5, None, "x"]}
    described = read_json(tmp_path / "step-00000007.json", Sidecar)
    assert described is not None
    assert (described.config_hash, described.epoch, described.torch) == (HASH, 1, str(torch.__version__))
    assert (read_json(tmp_path / "latest.json", dict) or {})["file"] == "step-00000007.pt"


def test_checkpoints_are_for_their_owner_only(tmp_path: Path) -> None:
    two_generations(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_nothing_there_is_nothing_loaded(tmp_path: Path) -> None:
    assert store(tmp_path).load() is None


def test_the_two_newest_and_the_final_one_stay(tmp_path: Path) -> None:
    every = store(tmp_path)
    for step in (10, 20, 30):
        every.save(state(step), step, 1)
    every.save(state(40), 40, 1, final=True)
    assert [name for name in names(tmp_path) if name.endswith(".pt")] == [
        "final.pt", "step-00000020.pt", "step-00000030.pt",
    ]
    assert "step-00000010.json" not in names(tmp_path)
    loaded = store(tmp_path).load()
    assert loaded is not None
    assert (loaded.file, loaded.step) == ("final.pt", 40)


STAGES = ("written", "verified", "described", "named", "pointed")


def test_a_kill_at_any_stage_or_byte_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    size = (two_generations(tmp_path / "size").checkpoint(20)).stat().st_size
    limits = [1, 511, 4095, 4096, *range(size // 12, size, size // 12), size - 100, size - 1]
    cases = [(f"stage-{stage}", stage, 0) for stage in STAGES] + [(f"byte-{n}", "-", n) for n in limits]
    for name, _, _ in cases:
        store(tmp_path / name).save(state(1), 10, 1)
    driver = subprocess.run(
        [sys.executable, "-P", "-c", SAVE_AND_DIE], text=True, capture_output=True, timeout=120, check=True,
        input="".join(f"{tmp_path / name} {stage} {limit}\n" for name, stage, limit in cases),
    )
    codes = [int(line) for line in driver.stdout.split()]
    for (name, stage, limit), code in zip(cases, codes, strict=True):
        assert code == (-9 if not limit else -25), (name, driver.stderr)
        loaded = store(tmp_path / name).load()
        assert loaded is not None, name
        assert loaded.passed_over == (), name
        assert loaded.state["n"] == (2 if stage in ("named", "pointed") else 1), name
        assert loaded.state["w"].unique().tolist() == [float(loaded.state["n"])], name
        assert not [left for left in names(tmp_path / name) if ".tmp." in left], name
        assert not [left for left in names(tmp_path / name) if left == "step-00000020.json" and loaded.state["n"] == 1]


def test_flipped_bits_are_noticed_and_the_older_checkpoint_is_taken(tmp_path: Path) -> None:
    run = two_generations(tmp_path)
    whole = run.checkpoint(20).read_bytes()
    for place in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        run.checkpoint(20).write_bytes(damaged)
        loaded = store(tmp_path).load()
        assert loaded is not None
        assert loaded.state["n"] == 1, place
        assert "contents have changed" in loaded.passed_over[0]


def test_a_truncated_checkpoint_is_noticed_at_every_length(tmp_path: Path) -> None:
    run = two_generations(tmp_path)
    whole = run.checkpoint(20).read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        run.checkpoint(20).write_bytes(whole[:length])
        loaded = store(tmp_path).load()
        assert loaded is not None
        assert loaded.state["n"] == 1
        assert f"{length} bytes instead of {len(whole)}" in loaded.passed_over[0]


@pytest.mark.parametrize("damage", ["missing", "half", "empty", "binary"])
def test_a_checkpoint_without_its_digest_does_not_count(tmp_path: Path, damage: str) -> None:
    run = two_generations(tmp_path)
    sidecar = sidecar_of(run.checkpoint(20))
    text = sidecar.read_bytes()
    if damage == "missing":
        sidecar.unlink()
    else:
        sidecar.write_bytes({"half": text[: len(text) // 2], "empty": b"", "binary": bytes(range(256))}[damage])
    loaded = store(tmp_path).load()
    assert loaded is not None
    assert loaded.state["n"] == 1
    assert "digest" in loaded.passed_over[0]


def test_if_no_checkpoint_is_whole_it_says_so_and_does_not_begin_anew(tmp_path: Path) -> None:
    run = two_generations(tmp_path)
    for step in (10, 20):
        run.checkpoint(step).write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints") as caught:
        store(tmp_path).load()
    assert "move the folder away" in str(caught.value)


def test_another_configuration_s_checkpoint_is_refused(tmp_path: Path) -> None:
    two_generations(tmp_path)
    with pytest.raises(ConfigMismatch, match="another configuration"):
        Store(RunPaths(tmp_path), "fedcba9876543210", 2).load()


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.file}'",)


@pytest.mark.parametrize("digest", ["right", "wrong"])
def test_a_hostile_pickle_is_never_executed(tmp_path: Path, digest: str) -> None:
    run = two_generations(tmp_path)
    canary = tmp_path / "canary"
    torch.save({"w": Canary(canary)}, run.checkpoint(20))
    if digest == "right":
        old = read_json(sidecar_of(run.checkpoint(20)), Sidecar)
        forged = run.checkpoint(20).read_bytes()
        assert old is not None
        new = msgspec.structs.replace(old, size=len(forged), sha256=hashlib.sha256(forged).hexdigest())
        sidecar_of(run.checkpoint(20)).write_bytes(msgspec.json.encode(new))
    loaded = store(tmp_path).load()
    assert loaded is not None
    assert loaded.state["n"] == 1
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary works"


def test_a_symlink_in_place_of_a_checkpoint_is_not_followed(tmp_path: Path) -> None:
    run = two_generations(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere.pt"
    run.checkpoint(20).rename(elsewhere)
    run.checkpoint(20).symlink_to(elsewhere)
    loaded = store(tmp_path / "run").load()
    assert loaded is not None
    assert loaded.state["n"] == 1


# A disk that is full after so many bytes, by the process's own file size limit.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from engine.paths import RunPaths
from engine.training.checkpoint import Store

folder = Path(sys.argv[1])
store = Store(RunPaths(folder), "0123456789abcdef", 1)
store.save({"n": 1, "w": torch.ones(5000)}, 10, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
print(store.save({"n": 2, "w": torch.ones(5000)}, 20, 2).error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(repr(store.save({"n": 3, "w": torch.ones(5000)}, 30, 3).error))
"""


def test_a_full_disk_is_told_keeps_the_old_checkpoint_and_later_writes_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", FULL_DISK, str(tmp_path)], text=True, capture_output=True, timeout=60, check=True
    )
    full, later = done.stdout.splitlines()
    assert full == "File too large"
    assert later == "''"
    assert names(tmp_path) == [
        "latest.json", "step-00000010.json", "step-00000010.pt", "step-00000030.json", "step-00000030.pt",
    ]


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    two_generations(tmp_path)
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        dead = tmp_path / "step-00000030.pt.tmp.4194303"
        other = tmp_path / f"step-00000030.pt.tmp.{living.pid}"
        foreign = tmp_path / "process.json.tmp.4194303.abc"
        for file in (dead, other, foreign):
            file.write_bytes(b"half")
        store(tmp_path).load()
        assert not dead.exists()
        assert other.exists()
        assert foreign.exists(), "the supervisor's files are its own business"
    finally:
        living.kill()
        living.wait()
