"""Randomness that does not depend on who draws first: every seed is a function of run, epoch and sample.

So the same samples come in the same order whatever the number of workers, and a resumed run goes on exactly where the
interrupted one was. What is drawn in the training process itself (initial weights, dropout) comes from the global
generators, whose state goes into the checkpoint.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from numpy.random import Generator, default_rng


def seed_everything(seed: int) -> None:
    """The global generators of this process."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def permutation(seed: int, epoch: int, count: int, turn: int = 0) -> list[int]:
    """0 … count-1 in this epoch's order; `turn` counts how often the epoch has gone through the data already."""
    return [int(i) for i in default_rng((seed, epoch, turn) if turn else (seed, epoch)).permutation(count)]


def sample_generator(seed: int, epoch: int, index: int) -> Generator:
    """What a random transform of sample `index` draws from in this epoch."""
    return default_rng((seed, epoch, index))


def loader_generator(seed: int) -> torch.Generator:
    """For the DataLoader, which otherwise takes a number from torch's global generator at every epoch."""
    return torch.Generator().manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The global generators' states as tensors and plain numbers: `weights_only=True` loads nothing else."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
        "numpy": {
            "name": str(name), "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)), "position": int(position),
            "has_gauss": int(has_gauss), "cached": float(cached),
        },
        "python": {"version": version, "words": torch.tensor(words, dtype=torch.int64), "gauss": gauss},
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Undo everything drawn since `rng_state`. States of CUDA devices that are not here are left out."""
    torch.set_rng_state(state["torch"])
    for device, saved in enumerate(state["cuda"][: torch.cuda.device_count() if torch.cuda.is_available() else 0]):
        torch.cuda.set_rng_state(saved, device)
    saved = state["numpy"]
    keys = saved["keys"].numpy().astype(np.uint32)
    np.random.set_state((saved["name"], keys, saved["position"], saved["has_gauss"], saved["cached"]))
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
